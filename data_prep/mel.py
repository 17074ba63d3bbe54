"""The papers' audio front end, which turns a waveform into a log-compressed mel-spectrogram."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.parallel import one_blas_thread
from data_prep import audio
from data_prep.decoding import SID_MODELS, Decoded, decode, decode_array
from data_prep.resampling import RESAMPLERS

SILENCE = 1e-5  # lower limit for mel magnitudes converted to decibels, -100 dB
SEGMENT = 129  # frames, about 3 s: input length of the 1-D CNN (ismir2018 section 4)
# Older records do not name these parameters. These values are left out, so that they stay equal.
_UNRECORDED = {"resampler": "soxr_hq", "normalise": "none", "sid_model": SID_MODELS[0]}
_BLOCK = 256  # number of frames transformed at a time, which fit in the CPU cache


@dataclass(frozen=True)
class FrontEnd:
    """Parameters of the log-mel-spectrogram (ismir2018 section 4 and the published code)."""

    sample_rate: int = audio.SAMPLE_RATE
    n_fft: int = 1024  # length of the Hann window, in samples
    hop: int = 512  # distance between frames, in samples
    n_mels: int = 128  # Slaney-style, area-normalised filters from 0 Hz to half the sample rate
    gain: float = 10.0  # of the compression log10(1 + gain * mel)
    pad_mode: str = "reflect"  # at both ends, librosa's default in 2017
    # Number of frames kept per track; None keeps all. The published code kept the first 1,291
    # of the 1,292 frames of a 30 s clip.
    max_frames: int | None = 1291
    resampler: str = RESAMPLERS[0]  # of audio at other sample rates, see `data_prep.resampling`
    normalise: str = audio.NORMALISATIONS[0]  # "peak" scales each track to a peak of 1
    sid_model: str = SID_MODELS[0]  # sound chip of tunes of the Commodore 64

    def to_dict(self) -> dict:
        """Return the parameters as JSON values for provenance records."""
        values = dataclasses.asdict(self)
        return {k: value for k, value in values.items() if (k, value) not in _UNRECORDED.items()}

    @classmethod
    def of(
        cls,
        whole_tracks: bool,
        resampler: str | None = None,
        normalise: str | None = None,
        sid_model: str | None = None,
    ) -> "FrontEnd":
        """Return the front end that options ask for; None stands for the default."""
        for name, value, known in (
            ("resampler", resampler, RESAMPLERS),
            ("normalise", normalise, audio.NORMALISATIONS),
            ("sid_model", sid_model, SID_MODELS),
        ):
            if value is not None and value not in known:
                raise InputError(f"{name}: {value!r} is unknown; use {' or '.join(known)}")
        return cls(
            max_frames=None if whole_tracks else cls.max_frames,
            resampler=resampler or cls.resampler,
            normalise=normalise or cls.normalise,
            sid_model=sid_model or cls.sid_model,
        )

    @classmethod
    def from_dict(cls, values: dict) -> "FrontEnd":
        """Return the front end of a provenance record; raise `TypeError` for unknown names."""
        return cls(**{**_UNRECORDED, **values})

    @property
    def max_seconds(self) -> float | None:
        """Seconds of audio needed for `max_frames` frames, with a margin; None if unlimited."""
        if self.max_frames is None:
            return None
        return (self.max_frames * self.hop + 2 * self.n_fft) / self.sample_rate


def log_mel(waveform: np.ndarray, front_end: FrontEnd | None = None) -> np.ndarray:
    """Compute log10(1 + 10 * mel) of a waveform's magnitude spectrum.

    Parameters
    ----------
    waveform
        (n,) float32, mono, at the front end's sample rate, n > n_fft / 2.
    front_end
        Front-end parameters; defaults to those of the papers.

    Returns
    -------
    (frames, n_mels) float32 with frames = min(1 + n // hop, max_frames). Frame t is
    centred on sample t * hop.

    Examples
    --------
    >>> log_mel(load_audio("corpus/track.wav")).shape
    (1291, 128)
    """
    import scipy.fft  # takes half a second, which a program that starts workers need not wait for

    front_end = front_end or FrontEnd()
    half = front_end.n_fft // 2
    if waveform.ndim != 1 or len(waveform) <= half:
        raise ValueError(f"waveform: shape {waveform.shape}; needs more than {half} mono samples")
    padded = np.pad(waveform.astype(np.float32, copy=False), half, mode=front_end.pad_mode)  # type: ignore[call-overload]
    frames = 1 + len(waveform) // front_end.hop
    if front_end.max_frames is not None:
        frames = min(frames, front_end.max_frames)
    # librosa's STFT takes three times as long as the following.
    samples = np.lib.stride_tricks.sliding_window_view(padded, front_end.n_fft)[:: front_end.hop]
    window, filters = window_and_filters(front_end)
    mel = np.empty((frames, front_end.n_mels), np.float32)
    with one_blas_thread():  # so that every process gives bit-identical results
        for first in range(0, frames, _BLOCK):
            block = slice(first, min(first + _BLOCK, frames))
            mel[block] = np.abs(scipy.fft.rfft(samples[block] * window)) @ filters.T
    return np.log10(1 + np.float32(front_end.gain) * mel)


@functools.lru_cache(maxsize=4)
def window_and_filters(front_end: FrontEnd) -> tuple[np.ndarray, np.ndarray]:
    """Return a periodic Hann window (n_fft,) and filters (n_mels, 1 + n_fft / 2), float32.

    Both equal librosa's, whose import would take longer than the features of a track.
    """
    window = np.hanning(front_end.n_fft + 1)[:-1]
    top = 15 + 27 * np.log(front_end.sample_rate / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, front_end.n_mels + 2)
    # Slaney's scale is linear up to 1000 Hz, then has 27 mels per factor of 6.4.
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz = np.fft.rfftfreq(front_end.n_fft, 1 / front_end.sample_rate)
    triangles = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    filters = np.maximum(0, triangles) * 2 / (high - low)
    return window.astype(np.float32), filters.astype(np.float32)


def log_mel_of_file(path: str | Path, front_end: FrontEnd | None = None) -> np.ndarray:
    """Compute the log-mel of an audio file, or raise `AudioError` if it cannot be used.

    A file that is shorter than one segment (129 frames, 3 s) cannot be used.
    """
    return log_mel_and_peak(path, front_end or FrontEnd())[0]


def log_mel_and_peak(path: str | Path, front_end: FrontEnd) -> tuple[np.ndarray, float]:
    """Compute what `log_mel_of_file` does, and the peak of the waveform."""
    track = decode(Path(path), front_end.max_seconds, sid_model=front_end.sid_model)
    return _log_mel_and_peak(path, track, front_end)


def frames_and_sums(path: str, front_end: FrontEnd) -> tuple[np.ndarray, float, float, float]:
    """Return a track's float16 frames, their sum and sum of squares, and the waveform's peak.

    The workers of a mel cache call this function. It is in this module because `mel_cache_writer`
    imports pandas and h5py, which takes a worker as long as the frames of 20 tracks.
    """
    mel, peak = log_mel_and_peak(path, front_end)
    frames = mel.astype(np.float16)
    rounded = frames.astype(np.float64).ravel()
    return frames, float(rounded.sum()), float(rounded @ rounded), peak


def log_mel_of_array(
    waveform: np.ndarray, sample_rate: float, front_end: FrontEnd | None = None
) -> np.ndarray:
    """Compute what `log_mel_of_file` does for a waveform in memory; see `decode_array`."""
    front_end = front_end or FrontEnd()
    track = decode_array(waveform, sample_rate, front_end.max_seconds)
    return _log_mel_and_peak("audio", track, front_end)[0]


def _log_mel_and_peak(
    name: str | Path, track: Decoded, front_end: FrontEnd
) -> tuple[np.ndarray, float]:
    waveform = audio.prepare_waveform(
        name, track, front_end.max_seconds, front_end.resampler, front_end.normalise
    )
    if 1 + len(waveform) // front_end.hop < SEGMENT:
        seconds = len(waveform) / front_end.sample_rate
        raise audio.AudioError(
            name, f"is {seconds:.2f} s long, less than one segment of {SEGMENT} frames (3 s)"
        )
    return log_mel(waveform, front_end), float(max(waveform.max(), -waveform.min()))


def cut_segments(mel: np.ndarray, segment: int = SEGMENT) -> np.ndarray:
    """Cut a log-mel into consecutive segments, a (frames // segment, segment, n_mels) view.

    The remainder is dropped; a 30 s clip has 10 segments.
    """
    count = len(mel) // segment
    return mel[: count * segment].reshape(count, segment, mel.shape[1])


def mel_magnitudes(log_mel: np.ndarray, gain: float) -> np.ndarray:
    """Recover mel magnitudes from a log-mel by undoing the compression log10(1 + gain * mel).

    Values that float16 rounding has made negative become zero.
    """
    return np.maximum((10.0**log_mel - 1) / gain, 0)
