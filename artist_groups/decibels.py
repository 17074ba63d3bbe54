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
    """Compute the mean and standard deviation of each band over all frames of the given tracks.

    Returns
    -------
    mean, std
        (n_mels,) float64, in decibels. A constant band has a standard deviation of 1.

    Raises
    ------
    InputError
        If a track is missing from the cache or contains NaN or infinity, or if no track has any
        frames.
    """
    length = cache.length[cache.rows(track_ids)]
    if not length.any():
        raise InputError(f"{cache.path}: none of these tracks has a frame; make the cache again")
    levels = _levels_of_float16(cache.front_end.gain)
    # Sum levels relative to one frame, so that rounding gives a constant band no variance.
    origin = levels[cache[track_ids[np.argmax(length > 0)]][0].view(np.uint16)]

    def sum_track(track: str) -> tuple[np.ndarray, np.ndarray]:
        level = levels[cache[track].view(np.uint16)] - origin
        return level.sum(axis=0), np.square(level).sum(axis=0)

    total = np.zeros((2, cache.front_end.n_mels))
    sums = cli.progress_bar(
        map_in_threads(sum_track, track_ids), total=len(track_ids), desc="levels", unit="track"
    )
    for track, of_track in zip(track_ids, sums, strict=True):
        if not np.isfinite(of_track).all():
            raise InputError(
                f"{cache.path}: {track!r} contains NaN or infinity; make the mel cache again"
            )
        total += of_track
    mean, squares = total / length.sum()
    std = np.sqrt(np.maximum(squares - mean**2, 0))
    return mean + origin, np.where(std > 0, std, 1)


def _levels_of_float16(gain: float) -> np.ndarray:
    """Return a table (65536,) float64 of decibels, indexed by the bits of a float16 log-mel.

    Table look-up is faster than computing the decibels of every value.
    """
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    levels = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        levels[finite] = to_decibels(values[finite], gain)
    return levels
