"""MFCC frames of tracks for the speaker-recognition baselines, out of their cached log-mels."""

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
from data_prep.mel import FrontEnd, mel_magnitudes, mfcc
from data_prep.mel_cache import MelCache

DELTA_WIDTH = 9  # frames, of librosa's smoothed difference
SILENT = "has no frame that is loud enough; it may be silent"


@dataclass(frozen=True)
class MfccSettings:
    """What `mfcc_frames` takes beside the track; arxiv2017 has 20 coefficients and no more."""

    coefficients: int = 20
    deltas: bool = False
    level_range: float | None = None

    def to_dict(self) -> dict:
        """The settings as JSON values."""
        return dataclasses.asdict(self)

    @property
    def dimensions(self) -> int:
        """Of a frame."""
        return self.coefficients * (2 if self.deltas else 1)

    def frames(self, mel: np.ndarray, front_end: FrontEnd) -> np.ndarray:
        """`mfcc_frames` of one track, (kept frames, dimensions) float32."""
        return mfcc_frames(mel, front_end, **self.to_dict())


@dataclass(frozen=True)
class TrackFrames:
    """The MFCC frames of tracks, mapped from a file without a name (`arrays.end_to_end`).

    Attributes
    ----------
    frames
        (total, dimensions) float32.
    track_id
        (tracks,) str, those that have frames.
    start
        (tracks + 1,) int64: track i has frames[start[i] : start[i + 1]].
    failed
        {track_id: reason} of the others.
    """

    frames: np.ndarray
    track_id: np.ndarray
    start: np.ndarray
    failed: dict[str, str]

    @classmethod
    def from_cache(
        cls, cache: MelCache, track_ids: np.ndarray, settings: MfccSettings, folder: Path
    ) -> "TrackFrames":
        """Make them from a cache; `folder` is where the disk has room.

        Raises
        ------
        InputError
            A track that the cache lacks, or one with NaN or infinity; no frame at all.
        """
        cache.rows(track_ids)  # all are there
        kept, failed = [], {}

        def loud() -> Iterator[np.ndarray]:
            made = map_in_threads(lambda track: _frames_of(cache, track, settings), track_ids)
            with cli.progress_bar(
                made, total=len(track_ids), desc="MFCC", unit="track"
            ) as progress:
                for track, frames in zip(track_ids, progress, strict=True):
                    if len(frames):
                        kept.append(track)
                        yield frames
                    else:
                        failed[track] = SILENT
            if not kept:
                raise InputError(
                    f"{cache.path}: none of {len(track_ids)} tracks has a frame that is loud "
                    "enough; raise --level-range, or leave it out"
                )

        frames, start = concatenate_on_disk(loud(), folder)
        return cls(frames, np.array(kept, object), start, failed)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The (frames, dimensions) of one track after the other."""
        for first, after in zip(self.start, self.start[1:], strict=False):
            yield self.frames[first:after]


def _frames_of(cache: MelCache, track: str, settings: MfccSettings) -> np.ndarray:
    try:
        return np.ascontiguousarray(settings.frames(cache[track], cache.front_end))
    except InputError as error:
        raise InputError(f"{cache.path}: {track!r}: {error}") from error


def mfcc_frames(
    mel: np.ndarray,
    front_end: FrontEnd | None = None,
    *,
    coefficients: int = 20,
    deltas: bool = False,
    level_range: float | None = None,
) -> np.ndarray:
    """Frame-wise MFCCs of one track (arxiv2017: 20 of them), the first being the level.

    The coefficients are those of `data_prep.mel.mfcc`: the compression
    log10(1 + 10 * mel) is undone; the mel bands are put in decibels as librosa
    does, relative to 1, floored at -100 dB and at 80 dB below the track's loudest
    band; then the first values of an orthonormal DCT-II over the bands are taken.
    The papers' mel is a sum of magnitudes, not of powers, so decibels are
    20 log10(mel) here; librosa's own `mfcc` starts from powers, and its values differ.

    Parameters
    ----------
    mel
        (frames, n_mels) as from `data_prep.mel.log_mel`, float16 or float32.
    front_end
        What `mel` was made with; the papers' by default.
    coefficients
        How many, at most n_mels.
    deltas
        Put the first difference over time (librosa's, over 9 frames) beside them.
    level_range
        Decibels: leave out the frames whose energy, the sum of squared mel bands,
        lies more than this below the loudest frame's. None keeps all. A track of
        digital silence then has no frame left. Differences are taken before.

    Returns
    -------
    (kept frames, coefficients) float32, twice as wide with `deltas`.

    Raises
    ------
    InputError
        `mel` holds NaN or infinity, or fewer than 9 frames with `deltas`.
    """
    front_end = front_end or FrontEnd()
    if not np.isfinite(mel).all():
        raise InputError("log-mel: holds NaN or infinity; make the mel cache again")
    if deltas and len(mel) < DELTA_WIDTH:
        raise InputError(
            f"log-mel: {len(mel)} frames, deltas need {DELTA_WIDTH}; leave this track out"
        )
    if not len(mel):
        return np.zeros((0, coefficients), np.float32)
    frames = mfcc(mel, front_end, coefficients)
    if deltas:
        difference = librosa.feature.delta(frames, width=DELTA_WIDTH, axis=0)
        frames = np.concatenate([frames, difference.astype(np.float32)], axis=1)
    return frames if level_range is None else frames[_loud(mel, front_end.gain, level_range)]


def _loud(mel: np.ndarray, gain: float, level_range: float) -> np.ndarray:
    """(frames,) bool: within `level_range` dB of the loudest frame, and not silent."""
    energy = np.square(mel_magnitudes(mel.astype(np.float64), gain)).sum(axis=1)
    return (energy > 0) & (energy >= energy.max() * 10 ** (-level_range / 10))
