"""Random changes of log-mel segments during training, which a robust embedding should ignore.

They are computed on the device that trains, so the loader has no more to do. All segments of a
batch are changed independently. The random state is part of the model, and so of its checkpoints.
"""

import math
import random

import numpy as np

from data_prep.mel import FrontEnd
from models.architecture import BANDS
from models.keras_backend import keras

ops = keras.ops

MAX_ATTENUATION = 24.0  # decibels
LOWEST_BAND = BANDS // 2  # the lowest band from which on a band limit removes all bands, 3.1 kHz
# Largest interval of a transposition, in semitones, and number of different intervals.
MAX_INTERVAL, INTERVALS = 2, 41
MAX_MASK = 24  # largest number of masked frames, and of masked bands


class ChangeLevels(keras.layers.Layer):
    """Lower or silence the magnitudes of log-mels (batch, frames, bands); nothing in inference.

    With `gain`, each segment is attenuated by up to 24 dB, which is exact because it is applied to
    the mel magnitudes before the logarithm. With `band_limit`, half of the segments are silent
    above a random band, as after lossy coding or at low sample rates.
    """

    def __init__(self, gain: bool, band_limit: bool):
        super().__init__(name="change_levels", dtype="float32")
        self.gain, self.band_limit = gain, band_limit
        self._seed = _seed_generator()

    def call(self, segments, training=False):
        """Return segments of the same shape."""
        if not training:
            return segments
        if self.gain:
            gain = 10.0 ** (-_draw(segments, 0, MAX_ATTENUATION, self._seed) / 20)
            segments = ops.log1p(gain * ops.expm1(segments * math.log(10))) / math.log(10)
        if self.band_limit:
            limit = _draw(segments, LOWEST_BAND, 2 * BANDS - LOWEST_BAND, self._seed)
            segments = ops.where(_indices(segments, axis=2) < limit, segments, 0.0)
        return segments

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape


class Transpose(keras.layers.Layer):
    """Move log-mels (batch, frames, bands) up or down by up to two semitones; not in inference.

    Each band receives the value at the place from which its frequency is transposed, between two
    bands or, beyond the range, of the outermost band. The interval of a segment is drawn in steps
    of a tenth of a semitone.
    """

    def __init__(self):
        super().__init__(name="transpose", dtype="float32")
        self._matrices = transposition_matrices(np.linspace(-MAX_INTERVAL, MAX_INTERVAL, INTERVALS))
        self._seed = _seed_generator()

    def call(self, segments, training=False):
        """Return segments of the same shape."""
        if not training:
            return segments
        shape = (ops.shape(segments)[0],)
        drawn = keras.random.randint(shape, 0, INTERVALS, seed=self._seed)
        return ops.matmul(segments, ops.take(self._matrices, drawn, axis=0))

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape


def transposition_matrices(semitones: np.ndarray) -> np.ndarray:
    """Return one matrix per interval, (n, 128, 128) float32, that transposes a frame of bands."""
    import librosa  # slow to import

    front_end = FrontEnd()
    limits = librosa.mel_frequencies(front_end.n_mels + 2, fmin=0, fmax=front_end.sample_rate / 2)
    sources = limits[1:-1] / 2 ** (semitones[:, None] / 12)
    places = librosa.hz_to_mel(sources) / librosa.hz_to_mel(limits[1]) - 1
    places = np.clip(places, 0, BANDS - 1)[:, None, :]
    distance = np.abs(places - np.arange(BANDS)[:, None])
    return np.maximum(0, 1 - distance).astype(np.float32)


class Mask(keras.layers.Layer):
    """Replace a range of frames and one of bands by 0, the mean of normalised segments.

    Each range has a random length of up to 24. Nothing is masked in inference. Reference: Park et
    al., *SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition*,
    Interspeech 2019.
    """

    def __init__(self):
        super().__init__(name="mask", dtype="float32")
        self._seed = _seed_generator()

    def call(self, segments, training=False):
        """Return segments (batch, frames, bands) of the same shape."""
        if not training:
            return segments
        for axis in (1, 2):
            position, size = _indices(segments, axis), segments.shape[axis]
            width = _draw(segments, 0, MAX_MASK, self._seed)
            first = _draw(segments, 0, size, self._seed) - width / 2
            inside = ops.logical_and(position >= first, position < first + width)
            segments = ops.where(inside, 0.0, segments)
        return segments

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape


def _seed_generator() -> keras.random.SeedGenerator:
    """Return a random state, which Keras' set_random_seed determines through Python's generator."""
    return keras.random.SeedGenerator(random.randrange(2**31))


def _draw(segments, low: float, high: float, seed: keras.random.SeedGenerator):
    """Return one number per segment, (batch, 1, 1), drawn uniformly."""
    return keras.random.uniform((ops.shape(segments)[0], 1, 1), low, high, seed=seed)


def _indices(segments, axis: int):
    """Return the indices along an axis of (batch, frames, bands), to be broadcast to it."""
    shape = [1, 1, 1]
    shape[axis] = segments.shape[axis]
    return ops.reshape(ops.arange(segments.shape[axis], dtype="float32"), shape)
