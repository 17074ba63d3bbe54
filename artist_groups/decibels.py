"""Input scaling for the agf2018 networks: decibels, standardised in each mel band."""

import numpy as np

from common import cli
from common.errors import InputError
from common.parallel import map_in_threads
from data_prep.mel import SILENCE, mel_magnitudes
from data_prep.mel_cache import MelCache


def to_decibels(log_mel: np.ndarray, gain: float) -> np.ndarray:
    """Convert log-mels, log10(1 + gain * mel), to magnitudes in decibels, at least -100 dB."""
    return 20 * np.log10(np.maximum(mel_magnitudes(log_mel.astype(np.float64), gain), SILENCE))


def band_statistics(cache: MelCache, track_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute each band's mean and standard deviation in decibels over all frames of some tracks.

    Both are (n_mels,) float64. A constant band has a standard deviation of 1.
    """
    length = cache.length[cache.rows(track_ids)]
    if not length.any():
        raise InputError(f"{cache.path}: none of these tracks has a frame; make the cache again")
    levels = _levels_of_float16(cache.front_end.gain)
    # Sum levels relative to one frame, so that rounding gives a constant band no variance.
    origin = levels[cache[track_ids[np.argmax(length > 0)]][0].view(np.uint16)]

    def sum_track(track: str) -> np.ndarray:
        level = levels[cache[track].view(np.uint16)] - origin
        return np.stack([level.sum(axis=0), np.square(level).sum(axis=0)])

    total = np.zeros((2, cache.front_end.n_mels))
    sums = map_in_threads(sum_track, track_ids)
    sums = cli.progress_bar(sums, total=len(track_ids), desc="levels", unit="track")
    for track, sums_of_track in zip(track_ids, sums, strict=True):
        if not np.isfinite(sums_of_track).all():
            raise InputError(
                f"{cache.path}: {track!r} contains NaN or infinite values; rebuild the mel cache"
            )
        total += sums_of_track
    mean, squares = total / length.sum()
    std = np.sqrt(np.maximum(squares - mean**2, 0))
    return mean + origin, np.where(std > 0, std, 1)


def _levels_of_float16(gain: float) -> np.ndarray:
    """Return the decibels of all float16 log-mels, indexed by their bits: a look-up is faster."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(np.isfinite(values), to_decibels(values, gain), np.nan)
