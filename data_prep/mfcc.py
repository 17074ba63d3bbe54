"""MFCC frames computed from cached log-mels, for the speaker recognition baselines."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

from common import cli
from common.arrays import concatenate_on_disk
from common.errors import InputError
from common.parallel import map_in_threads
from data_prep.mel import SILENCE, FrontEnd, mel_magnitudes
from data_prep.mel_cache import MelCache

DELTA_WIDTH = 9  # number of frames used by librosa's smoothed difference
SILENT = "has no frame that is loud enough; it may be silent"


@dataclass(frozen=True)
class MfccSettings:
    """Parameters of `mfcc_frames`; arxiv2017 uses 20 coefficients and no deltas."""

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

    def frames(self, mel: np.ndarray, front_end: FrontEnd) -> np.ndarray:
        """Return the `mfcc_frames` of one track, computed with these parameters."""
        return mfcc_frames(mel, front_end, **self.to_dict())


@dataclass(frozen=True)
class TrackFrames:
    """MFCC frames of a set of tracks, memory-mapped from an unnamed file.

    Attributes
    ----------
    frames
        (total, dimensions) float32.
    track_id
        (tracks,) str, ids of the tracks that have frames.
    start
        (tracks + 1,) int64; track i occupies frames[start[i] : start[i + 1]].
    failed
        {track_id: reason} for the tracks without frames.
    """

    frames: np.ndarray
    track_id: np.ndarray
    start: np.ndarray
    failed: dict[str, str]

    @classmethod
    def from_cache(
        cls, cache: MelCache, track_ids: np.ndarray, settings: MfccSettings, folder: Path
    ) -> "TrackFrames":
        """Compute the MFCC frames of cached tracks.

        Parameters
        ----------
        cache
            Mel cache that contains the tracks.
        track_ids
            (n,) str, ids of the tracks to process.
        settings
            MFCC parameters.
        folder
            Folder for the unnamed file, on a disk with enough free space.

        Raises
        ------
        InputError
            If a track is missing or contains NaN or infinity, or if no track has any frames.
        """
        cache.rows(track_ids)  # raises InputError
        used, failed = [], {}

        def frames_of(track: str) -> np.ndarray:
            try:
                return np.ascontiguousarray(settings.frames(cache[track], cache.front_end))
            except InputError as error:
                raise InputError(f"{cache.path}: {track!r}: {error}") from error

        def usable_frames() -> Iterator[np.ndarray]:
            computed = map_in_threads(frames_of, track_ids)
            with cli.progress_bar(
                computed, total=len(track_ids), desc="MFCC", unit="track"
            ) as progress:
                for track, frames in zip(track_ids, progress, strict=True):
                    if len(frames):
                        used.append(track)
                        yield frames
                    else:
                        failed[track] = SILENT
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
    mel: np.ndarray,
    front_end: FrontEnd | None = None,
    *,
    coefficients: int = 20,
    deltas: bool = False,
    level_range: float | None = None,
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
    front_end
        Front end that `mel` was made with; defaults to that of the papers.
    coefficients
        Number of coefficients, at most n_mels.
    deltas
        Whether to append the first difference over time (librosa's, over 9 frames), which
        is computed before any frames are dropped.
    level_range
        Range in decibels below the loudest frame: frames whose energy, the sum of the
        squared mel bands, is below this range are dropped, as are all frames of digital
        silence. None keeps all frames.

    Returns
    -------
    (kept frames, coefficients) float32, twice as wide with `deltas`.

    Raises
    ------
    InputError
        If `mel` contains NaN or infinity, or has fewer than 9 frames and `deltas` is set.

    Examples
    --------
    >>> mfcc_frames(cache["blues.00000"], cache.front_end).shape
    (1291, 20)
    """
    front_end = front_end or FrontEnd()
    if not np.isfinite(mel).all():
        raise InputError("log-mel: contains NaN or infinity; make the mel cache again")
    if deltas and len(mel) < DELTA_WIDTH:
        raise InputError(
            f"log-mel: {len(mel)} frames, but deltas need {DELTA_WIDTH}; remove this track"
        )
    if not len(mel):
        return np.zeros((0, coefficients), np.float32)
    magnitudes = mel_magnitudes(mel.astype(np.float32), front_end.gain)
    decibels = librosa.amplitude_to_db(magnitudes, ref=1.0, amin=SILENCE, top_db=80.0)
    frames = librosa.feature.mfcc(S=decibels.T, n_mfcc=coefficients).T.astype(np.float32)
    if deltas:
        difference = librosa.feature.delta(frames, width=DELTA_WIDTH, axis=0)
        frames = np.concatenate([frames, difference.astype(np.float32)], axis=1)
    return frames if level_range is None else frames[_loud(mel, front_end.gain, level_range)]


def _loud(mel: np.ndarray, gain: float, level_range: float) -> np.ndarray:
    energy = np.square(mel_magnitudes(mel.astype(np.float64), gain)).sum(axis=1)
    return (energy > 0) & (energy >= energy.max() * 10 ** (-level_range / 10))
