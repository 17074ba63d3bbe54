"""MFCC frames of a track for the speaker-recognition baselines, out of its cached log-mel."""

import librosa
import numpy as np

from common.errors import InputError
from data_prep.mel import FrontEnd, mfcc

DELTA_WIDTH = 9  # frames, of librosa's smoothed difference


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
    magnitude = np.maximum(10.0 ** mel.astype(np.float64) - 1, 0) / gain
    energy = np.square(magnitude).sum(axis=1)
    return (energy > 0) & (energy >= energy.max() * 10 ** (-level_range / 10))
