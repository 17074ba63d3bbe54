"""The 1-D CNN shared by all ismir2018 models, and a variant of it."""

import math
import random
from collections.abc import Sequence

from data_prep.mel import SEGMENT
from models.architecture import (
    BANDS,
    EMBEDDING,
    ENCODERS,
    EQUAL_LEVEL,
    NORM_EPSILON,
    SILENT_LEVEL,
    VARIANCE_EPSILON,
)
from models.augmentation import ChangeLevels, Mask, Transpose
from models.keras_backend import keras

layers, ops, regularizers = keras.layers, keras.ops, keras.regularizers

L2_WEIGHT = 1e-5  # of the penalty on the convolution kernels


def build_encoder(
    dropout: float = 0.0,
    *,
    kind: str = "paper",
    precision: str = "float32",
    synchronised: bool = False,
) -> keras.Model:
    """Return the encoder, which maps a normalised 3 s log-mel segment to its embedding.

    Five blocks of convolution over time, batch normalisation, ReLU and max pooling (except in the
    last block) are followed by an average over the remaining time axis, which is one frame long.
    The model maps (batch, 129, 128) float32 to (batch, 256) float32.

    Kind "statistics" pools less, so that eight frames are left, and maps their mean and standard
    deviation, after batch normalisation, to the embedding by a dense layer. Reference: Snyder et
    al., *X-Vectors: Robust DNN Embeddings for Speaker Recognition*, ICASSP 2018, which pools
    statistics over time.

    Precision "mixed" computes in bfloat16 and keeps the weights in float32. Loss scaling is
    unnecessary because bfloat16 has the same range. If `synchronised`, batch normalisation computes
    its statistics over all devices that share a batch. With JAX it always does.
    """
    dtype = "mixed_bfloat16" if precision == "mixed" else "float32"
    segment = x = keras.Input((SEGMENT, BANDS), name="segment")
    for number, (filters, kernel, pool) in enumerate(ENCODERS[kind], start=1):
        x = layers.Conv1D(
            filters,
            kernel,
            padding="same",
            kernel_initializer="he_uniform",
            kernel_regularizer=regularizers.L2(L2_WEIGHT),
            dtype=dtype,
            name=f"conv{number}",
        )(x)
        x = _normalise_batch(f"bn{number}", dtype, synchronised)(x)
        x = layers.ReLU(dtype=dtype, name=f"relu{number}")(x)
        if pool:
            x = layers.MaxPooling1D(pool, dtype=dtype, name=f"pool{number}")(x)
    # An explicit seed gives the dropout layer its own random state, which checkpoints save; without
    # one, torch draws from a global state. Keras' set_random_seed also seeds Python's generator.
    seed = random.randrange(2**31)
    x = layers.Dropout(dropout, seed=seed, dtype=dtype, name="dropout")(x)
    if kind == "paper":
        embedding = layers.GlobalAveragePooling1D(dtype="float32", name="feature")(x)
    else:
        x = MeanAndDeviation(dtype="float32", name="statistics")(x)
        x = _normalise_batch("bn_statistics", "float32", synchronised)(x)
        embedding = layers.Dense(EMBEDDING, name="feature")(x)
    return keras.Model(segment, embedding, name="encoder")


def _normalise_batch(name: str, dtype: str, synchronised: bool) -> keras.layers.Layer:
    return layers.BatchNormalization(
        momentum=0.99, epsilon=NORM_EPSILON, synchronized=synchronised, dtype=dtype, name=name
    )


class MeanAndDeviation(keras.layers.Layer):
    """Map (n, frames, channels) to mean and standard deviation over time, (n, 2 channels)."""

    def call(self, x):
        """Return the means, followed by the standard deviations."""
        deviation = ops.sqrt(ops.var(x, axis=1) + VARIANCE_EPSILON)
        return ops.concatenate([ops.mean(x, axis=1), deviation], axis=-1)


def log_mel_model(
    encoder: keras.Model, mean: float, std: float, *, equal_level: bool = False
) -> keras.Model:
    """Return the encoder preceded by its normalisation: (batch, 129, 128) to (batch, 256)."""
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    normalised = normalise(segment, mean, std, equal_level=equal_level)
    return keras.Model(segment, encoder(normalised))


def normalise(
    segments, mean: float, std: float, *, equal_level: bool = False, augment: Sequence[str] = ()
):
    """Compute (log-mel - mean) / std, using training-set statistics, for segments (n, 129, 128).

    If `equal_level`, all segments are first scaled to the same level, so that an embedding does not
    depend on the level of the audio. The papers keep the level. `augment` names random changes
    during training, "gain", "band-limit", "transpose" and "masks"; see `models.augmentation`.
    """
    if {"gain", "band-limit"}.intersection(augment):
        segments = ChangeLevels("gain" in augment, "band-limit" in augment)(segments)
    if "transpose" in augment:
        segments = Transpose()(segments)
    if equal_level:
        segments = EqualLevel(name="equal_level")(segments)
    normalised = layers.Rescaling(1.0 / std, offset=-mean / std, name="normalise")(segments)
    return Mask()(normalised) if "masks" in augment else normalised


class EqualLevel(keras.layers.Layer):
    """Scale segments of log-mels x = log10(1 + 10 m) so that their mean of 10 m is `EQUAL_LEVEL`.

    A change of level multiplies the mel magnitudes m, and therefore cancels, except near silence.
    """

    def call(self, segments):
        """Return segments of the same shape, (..., 129, 128)."""
        scaled = ops.expm1(segments * math.log(10))
        level = ops.mean(scaled, axis=(-2, -1), keepdims=True)
        scaled = scaled * (EQUAL_LEVEL / (level + SILENT_LEVEL))
        return ops.log1p(scaled) / math.log(10)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape
