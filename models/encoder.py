"""The 1-D CNN shared by all ismir2018 models."""

import random

from data_prep.mel import SEGMENT
from models.architecture import BANDS, BLOCKS, NORM_EPSILON
from models.keras_backend import keras

layers, regularizers = keras.layers, keras.regularizers

L2_WEIGHT = 1e-5  # of the penalty on the convolution kernels


def build_encoder(
    dropout: float = 0.0, *, precision: str = "float32", synchronised: bool = False
) -> keras.Model:
    """Return the encoder, which maps a normalised 3 s log-mel segment to its embedding.

    Five blocks of convolution over time, batch normalisation, ReLU and max pooling (except in the
    last block) are followed by an average over the remaining time axis, which is one frame long.
    The model maps (batch, 129, 128) float32 to (batch, 256) float32.

    Precision "mixed" computes in bfloat16 and keeps the weights in float32. Loss scaling is
    unnecessary because bfloat16 has the same range. If `synchronised`, batch normalisation computes
    its statistics over all devices that share a batch. With JAX it always does.
    """
    dtype = "mixed_bfloat16" if precision == "mixed" else "float32"
    segment = x = keras.Input((SEGMENT, BANDS), name="segment")
    for number, (filters, kernel, pool) in enumerate(BLOCKS, start=1):
        x = layers.Conv1D(
            filters,
            kernel,
            padding="same",
            kernel_initializer="he_uniform",
            kernel_regularizer=regularizers.L2(L2_WEIGHT),
            dtype=dtype,
            name=f"conv{number}",
        )(x)
        x = layers.BatchNormalization(
            momentum=0.99,
            epsilon=NORM_EPSILON,
            synchronized=synchronised,
            dtype=dtype,
            name=f"bn{number}",
        )(x)
        x = layers.ReLU(dtype=dtype, name=f"relu{number}")(x)
        if pool:
            x = layers.MaxPooling1D(pool, dtype=dtype, name=f"pool{number}")(x)
    # An explicit seed gives the dropout layer its own random state, which checkpoints save; without
    # one, torch draws from a global state. Keras' set_random_seed also seeds Python's generator.
    seed = random.randrange(2**31)
    x = layers.Dropout(dropout, seed=seed, dtype=dtype, name="dropout")(x)
    embedding = layers.GlobalAveragePooling1D(dtype="float32", name="feature")(x)
    return keras.Model(segment, embedding, name="encoder")


def log_mel_model(encoder: keras.Model, mean: float, std: float) -> keras.Model:
    """Return the encoder preceded by its normalisation: (batch, 129, 128) to (batch, 256)."""
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    return keras.Model(segment, encoder(normalisation_layer(mean, std)(segment)))


def normalisation_layer(mean: float, std: float) -> keras.layers.Layer:
    """Return a layer that computes (log-mel - mean) / std, using training-set statistics."""
    return layers.Rescaling(1.0 / std, offset=-mean / std, name="normalise")
