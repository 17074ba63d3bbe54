"""MFCC frames computed from cached log-mels, for the speaker recognition baselines."""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from scipy import fft

from common import cli
from common.arrays import concatenate_on_disk
from common.errors import InputError
from common.parallel import map_in_threads
from data_prep import failures
from data_prep.mel import SILENCE, FrontEnd, mel_magnitudes
from data_prep.mel_cache import MelCache

_RANGE = 80.0  # decibels below the loudest band of a track at which quieter bands are clipped
DELTA_WIDTH = 9  # number of frames used by librosa's smoothed difference


@dataclass(frozen=True)
class MfccSettings:
    """Parameters of MFCC frames; arxiv2017 uses 20 coefficients and no deltas.

    Attributes
    ----------
    coefficients
        Number of coefficients, at most n_mels.
    deltas
        Whether to append the first difference over time (librosa's, over 9 frames), which
        is computed before any frames are dropped.
    level_range
        Range in decibels below the loudest frame: frames whose energy, the sum of the
        squared mel bands, is below this range are dropped, as are all frames of digital
        silence. None keeps all frames.
    """

    coefficients: int = 20
    deltas: bool = False
    level_range: float | None = None

    def to_dict(self) -> dict:
        """Return the parameters as JSON values."""
        return dataclasses.asdict(self)

    @property
    def dimensions(self) -> int:
        """Number of values per frame."""
        return self.coefficients * (2 if self.deltas else 1)


@dataclass(frozen=True)
class TrackFrames:
    """MFCC frames of a set of tracks, memory-mapped from an unnamed file."""

    frames: np.ndarray  # (total, dimensions) float32
    track_id: np.ndarray  # (tracks,) str, ids of the tracks that have frames
    start: np.ndarray  # (tracks + 1,) int64; track i occupies frames[start[i] : start[i + 1]]
    failed: dict[str, str]  # {track_id: reason} for the tracks without frames

    @classmethod
    def from_cache(
        cls, cache: MelCache, track_ids: np.ndarray, settings: MfccSettings, folder: Path
    ) -> "TrackFrames":
        """Compute the MFCC frames of cached tracks; the unnamed file is made in `folder`."""
        cache.rows(track_ids)  # raises InputError
        used, failed = [], {}

        def frames_of(track: str) -> np.ndarray:
            try:
                return np.ascontiguousarray(mfcc_frames(cache[track], cache.front_end, settings))
            except InputError as error:
                raise InputError(f"{cache.path}: {track!r}: {error}") from error

        def usable_frames() -> Iterator[np.ndarray]:
            computed = map_in_threads(frames_of, track_ids)
            with cli.progress_bar(computed, total=len(track_ids), desc="MFCC", unit="track") as bar:
                for track, frames in zip(track_ids, bar, strict=True):
                    if len(frames):
                        used.append(track)
                        yield frames
                    else:
                        failed[track] = failures.SILENT
            if not used:
                raise InputError(
                    f"{cache.path}: none of {len(track_ids)} tracks has a frame that is loud "
                    "enough; use a larger --level-range, or omit it"
                )

        frames, start = concatenate_on_disk(usable_frames(), folder)
        return cls(frames, np.array(used, object), start, failed)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the (frames, dimensions) array of each track."""
        for first, stop in zip(self.start, self.start[1:], strict=False):
            yield self.frames[first:stop]


def mfcc_frames(
    mel: np.ndarray, front_end: FrontEnd | None = None, settings: MfccSettings | None = None
) -> np.ndarray:
    """Compute the MFCCs of one track (arxiv2017: 20, the first of which represents the level).

    First, the compression log10(1 + 10 * mel) is undone. The mel bands are then converted
    to decibels as in librosa: relative to 1, with lower limits at -100 dB and at 80 dB
    below the loudest band of the track. The coefficients are the first values of an
    orthonormal DCT-II over the bands. Since the papers' mel bands are sums of magnitudes
    rather than powers, decibels are 20 log10(mel), and the values differ from those of
    `librosa.feature.mfcc`.

    Parameters
    ----------
    mel
        (frames, n_mels), as returned by `data_prep.mel.log_mel`, float16 or float32.
    front_end, settings
        Front end that `mel` was made with, and MFCC parameters; both default to the papers'.

    Returns
    -------
    (kept frames, settings.dimensions) float32.

    Raises
    ------
    InputError
        If `mel` is not finite, or has fewer than 9 frames and deltas are requested.

    Examples
    --------
    >>> mfcc_frames(cache["blues.00000"], cache.front_end).shape
    (1291, 20)
    """
    gain, settings = (front_end or FrontEnd()).gain, settings or MfccSettings()
    decibels = _mel_decibels(mel, gain)
    if not np.isfinite(decibels).all():
        raise InputError("log-mel: contains NaN or infinite values; rebuild the mel cache")
    if settings.deltas and len(mel) < DELTA_WIDTH:
        raise InputError(
            f"log-mel: {len(mel)} frames, but deltas need {DELTA_WIDTH}; remove this track"
        )
    if not len(mel):
        return np.zeros((0, settings.coefficients), np.float32)
    np.maximum(decibels, decibels.max() - np.float32(_RANGE), out=decibels)
    coefficients = fft.dct(decibels, axis=1, norm="ortho")[:, : settings.coefficients]
    frames = np.ascontiguousarray(coefficients)
    if settings.deltas:
        difference = librosa.feature.delta(frames, width=DELTA_WIDTH, axis=0)
        frames = np.concatenate([frames, difference.astype(np.float32)], axis=1)
    if settings.level_range is None:
        return frames
    energy = np.square(mel_magnitudes(mel.astype(np.float64), gain)).sum(axis=1)
    return frames[(energy > 0) & (energy >= energy.max() * 10 ** (-settings.level_range / 10))]


def _mel_decibels(mel: np.ndarray, gain: float) -> np.ndarray:
    """Return the level of each mel band in dB, not clipped to a range; NaN if it is not finite.

    A float16 has only 65,536 values, so the levels of a cached log-mel are looked up in a table.
    """
    if mel.dtype == np.float16:
        return np.take(_decibel_table(gain), mel.view(np.uint16))
    return _decibels(mel.astype(np.float32), gain)


@functools.cache
def _decibel_table(gain: float) -> np.ndarray:
    return _decibels(np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32), gain)


def _decibels(mel: np.ndarray, gain: float) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        magnitudes = mel_magnitudes(mel, gain)
        decibels = librosa.amplitude_to_db(magnitudes, ref=1.0, amin=SILENCE, top_db=None)
    return np.where(np.isfinite(mel), decibels, np.nan).astype(np.float32)
