"""The papers' audio front end: waveform to log-compressed mel-spectrogram."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import scipy.fft

from common.parallel import one_blas_thread
from data_prep import audio

SILENCE = 1e-5  # of a mel magnitude, -100 dB: what a level is floored at, so that silence has one
SEGMENT = 129  # frames, about 3 s: the input of the 1-D CNN (ismir2018 section 4)
_BLOCK = 256  # frames transformed at a time, so that they stay in the processor's cache


@dataclass(frozen=True)
class FrontEnd:
    """Parameters of the log-mel (ismir2018 section 4; the published code's values).

    `max_frames` is what is kept of a track: the published code kept the first
    1,291 of the 1,292 frames of a 30 s clip; None keeps all of a track of any length.
    """

    sample_rate: int = audio.SAMPLE_RATE  # Hz
    n_fft: int = 1024  # samples, Hann window of the same length
    hop: int = 512  # samples
    n_mels: int = 128  # Slaney filters, area-normalised, 0 Hz to half the sample rate
    gain: float = 10.0  # of the compression log10(1 + gain * mel)
    pad_mode: str = "reflect"  # librosa's default in 2017; today's is zeros
    max_frames: int | None = 1291

    def to_dict(self) -> dict:
        """The parameters as JSON values, for the provenance of what is made with them."""
        return dataclasses.asdict(self)

    @property
    def max_seconds(self) -> float | None:
        """How much audio `max_frames` can see, a little more than needed; None: all."""
        if self.max_frames is None:
            return None
        return (self.max_frames * self.hop + 2 * self.n_fft) / self.sample_rate


def log_mel(waveform: np.ndarray, front_end: FrontEnd | None = None) -> np.ndarray:
    """Log-compressed mel-spectrogram, log10(1 + 10 * mel) of the magnitude spectrum.

    Parameters
    ----------
    waveform
        (n,) float32, mono, at the front end's sample rate, n > n_fft / 2.
    front_end
        Its parameters; the papers' by default.

    Returns
    -------
    (frames, n_mels) float32, frames = min(1 + n // hop, max_frames).
    Frame t is centred on sample t * hop.

    Raises
    ------
    ValueError
        The waveform is not one-dimensional, or too short to be reflected.
    """
    front_end = front_end or FrontEnd()
    half = front_end.n_fft // 2
    if waveform.ndim != 1 or len(waveform) <= half:
        raise ValueError(f"waveform: shape {waveform.shape}; needs more than {half} mono samples")
    padded = np.pad(waveform.astype(np.float32, copy=False), half, mode=front_end.pad_mode)
    frames = 1 + len(waveform) // front_end.hop
    if front_end.max_frames is not None:
        frames = min(frames, front_end.max_frames)
    samples = np.lib.stride_tricks.sliding_window_view(padded, front_end.n_fft)[:: front_end.hop]
    window, filters = _hann(front_end.n_fft), _filters(front_end).T
    mel = np.empty((frames, front_end.n_mels), np.float32)
    with one_blas_thread():  # the same bits in any process
        for first in range(0, frames, _BLOCK):
            block = slice(first, min(first + _BLOCK, frames))
            mel[block] = np.abs(scipy.fft.rfft(samples[block] * window)) @ filters
    return np.log10(1 + np.float32(front_end.gain) * mel)


def log_mel_of_file(path: str | Path, front_end: FrontEnd | None = None) -> np.ndarray:
    """`log_mel` of an audio file of at least one segment (129 frames, 3 s).

    Raises
    ------
    data_prep.audio.AudioError
        The file cannot be used, or is shorter than one segment.
    """
    front_end = front_end or FrontEnd()
    waveform = audio.load_audio(path, front_end.max_seconds)
    if 1 + len(waveform) // front_end.hop < SEGMENT:
        seconds = len(waveform) / front_end.sample_rate
        raise audio.AudioError(
            path, f"is {seconds:.2f} s long, less than one segment of {SEGMENT} frames (3 s)"
        )
    return log_mel(waveform, front_end)


def cut_segments(mel: np.ndarray, segment: int = SEGMENT) -> np.ndarray:
    """Cut (frames, n_mels) into consecutive segments; a remainder is dropped.

    Returns
    -------
    (frames // segment, segment, n_mels), a view: a 30 s clip of 1,291 frames gives 10.
    """
    count = len(mel) // segment
    return mel[: count * segment].reshape(count, segment, mel.shape[1])


def mel_magnitudes(log_mel: np.ndarray, gain: float) -> np.ndarray:
    """The mel magnitudes of a log-mel log10(1 + gain mel), none below zero; of its shape and dtype.

    Rounding to float16 can take a cached value below zero.
    """
    return np.maximum((10.0**log_mel - 1) / gain, 0)


def mfcc(mel: np.ndarray, front_end: FrontEnd | None = None, coefficients: int = 20) -> np.ndarray:
    """Mel-frequency cepstral coefficients out of a log-mel, without decoding again.

    The papers' compression is undone, the mel magnitudes are put in decibels
    (floor 80 dB under the loudest), and an orthonormal DCT-II is taken.

    Parameters
    ----------
    mel
        (frames, n_mels) as from `log_mel`, float16 or float32.

    Returns
    -------
    (frames, coefficients) float32.
    """
    magnitude = mel_magnitudes(mel.astype(np.float32), (front_end or FrontEnd()).gain)
    decibels = librosa.amplitude_to_db(magnitude, ref=1.0, amin=SILENCE, top_db=80.0)
    return librosa.feature.mfcc(S=decibels.T, n_mfcc=coefficients).T.astype(np.float32)


# librosa's STFT takes three times as long, and its filters cost every worker a second of imports.


@functools.lru_cache(maxsize=4)
def _hann(length: int) -> np.ndarray:
    """(length,) float32, the periodic Hann window."""
    turn = 2 * np.pi * np.arange(length) / length
    return (0.5 - 0.5 * np.cos(turn)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _filters(front_end: FrontEnd) -> np.ndarray:
    """(n_mels, 1 + n_fft / 2) float32, triangles of unit area on Slaney's mel scale.

    That scale is linear, 3 mels for 200 Hz, up to 15 mels; then 27 mels are a factor of 6.4.
    """
    nyquist, step = front_end.sample_rate / 2, math.log(6.4) / 27
    mels = np.linspace(0, 15 + math.log(nyquist / 1000) / step, front_end.n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0, nyquist, 1 + front_end.n_fft // 2)
    triangles = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    return (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)
