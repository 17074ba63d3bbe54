"""Random changes of log-mel segments during training, which a robust embedding should ignore.

They are computed on the device that trains, so the loader has no more to do. All segments of a
batch are changed independently. The random state is part of the model, and so of its checkpoints.
"""

import math
import random
from collections.abc import Sequence

from models.architecture import BANDS
from models.keras_backend import keras

ops = keras.ops

MAX_ATTENUATION = 24.0  # decibels
LOWEST_BAND = BANDS // 2  # the lowest band from which on a band limit removes all bands, 3.1 kHz
MAX_MASK = 24  # largest number of masked frames, and of masked bands


class Augmentation(keras.layers.Layer):
    """Change segments (batch, frames, bands) of log-mels at random; does nothing in inference.

    Parameters
    ----------
    kinds
        Any of "gain", an attenuation by up to 24 dB, which is exact because it is applied to the
        mel magnitudes before the logarithm; "band-limit", for half of the segments, silence above a
        random band, as in lossy coding or at low sample rates; and "masks", which replace a range
        of up to 24 bands and one of up to 24 frames by `mean` (Park et al., *SpecAugment*,
        Interspeech 2019).
    mean
        Mean of the log-mels.
    """

    def __init__(self, kinds: Sequence[str], mean: float):
        super().__init__(name="augmentation", dtype="float32")
        self.kinds, self.mean = kinds, mean
        # Keras' set_random_seed also seeds Python's generator.
        self._seed = keras.random.SeedGenerator(random.randrange(2**31))

    def call(self, segments, training=False):
        """Return segments of the same shape."""
        if not training:
            return segments
        if "gain" in self.kinds:
            gain = 10.0 ** (-self._draw(segments, 0, MAX_ATTENUATION) / 20)
            segments = ops.log1p(gain * ops.expm1(segments * math.log(10))) / math.log(10)
        if "band-limit" in self.kinds:
            limit = self._draw(segments, LOWEST_BAND, 2 * BANDS - LOWEST_BAND)
            segments = ops.where(_indices(segments, axis=2) < limit, segments, 0.0)
        if "masks" in self.kinds:
            for axis in (1, 2):
                position = _indices(segments, axis)
                width = self._draw(segments, 0, MAX_MASK)
                first = self._draw(segments, 0, segments.shape[axis]) - width / 2
                inside = ops.logical_and(position >= first, position < first + width)
                segments = ops.where(inside, self.mean, segments)
        return segments

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape

    def _draw(self, segments, low: float, high: float):
        """Return one number per segment, (batch, 1, 1), drawn uniformly."""
        shape = (ops.shape(segments)[0], 1, 1)
        return keras.random.uniform(shape, low, high, seed=self._seed)


def _indices(segments, axis: int):
    """Return the indices along an axis of (batch, frames, bands), to be broadcast to it."""
    shape = [1, 1, 1]
    shape[axis] = segments.shape[axis]
    return ops.reshape(ops.arange(segments.shape[axis], dtype="float32"), shape)
