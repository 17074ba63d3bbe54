"""The 1-D CNN that all models of ismir2018 share."""

import random

from data_prep.mel import SEGMENT
from models.keras_backend import keras

layers, regularizers = keras.layers, keras.regularizers

BANDS = 128  # mel bands of the input
EMBEDDING = 256  # dimensions of the output

# (filters, kernel size, pool size), ismir2018 section 3.1 and the published code.
BLOCKS = ((128, 4, 4), (128, 4, 4), (128, 4, 4), (128, 2, 2), (256, 1, None))


def build_encoder(
    dropout: float = 0.0,
    l2: float = 1e-5,
    *,
    precision: str = "float32",
    synchronised: bool = False,
) -> keras.Model:
    """Return the encoder, from a normalised 3 s segment of log-mel to its embedding.

    Five blocks of convolution over time (`same` padding, He uniform), batch normalisation,
    ReLU and max pooling are followed by the mean over the remaining time, which is one frame.

    Parameters
    ----------
    dropout
        Dropout rate after the last activation.
    l2
        Weight of the L2 penalty on the kernels.
    precision
        "float32", or "mixed": computation in bfloat16 with weights in float32. The range of
        bfloat16 needs no scaling of the loss.
    synchronised
        Whether batch normalisation takes its statistics over all devices that share a batch.
        JAX always does.

    Returns
    -------
    keras.Model
        From (batch, 129, 128) float32 to (batch, 256) float32.
    """
    dtype = "mixed_bfloat16" if precision == "mixed" else "float32"
    segment = x = keras.Input((SEGMENT, BANDS), name="segment")
    for number, (filters, kernel, pool) in enumerate(BLOCKS, start=1):
        x = layers.Conv1D(
            filters,
            kernel,
            padding="same",
            kernel_initializer="he_uniform",
            kernel_regularizer=regularizers.L2(l2),
            dtype=dtype,
            name=f"conv{number}",
        )(x)
        x = layers.BatchNormalization(
            momentum=0.99,
            epsilon=1e-3,
            synchronized=synchronised,
            dtype=dtype,
            name=f"bn{number}",
        )(x)
        x = layers.ReLU(dtype=dtype, name=f"relu{number}")(x)
        if pool:
            x = layers.MaxPooling1D(pool, dtype=dtype, name=f"pool{number}")(x)
    # An explicit seed gives the layer a state of its own, which checkpoints contain: without it,
    # torch draws from a global state. Keras' set_random_seed seeds Python's generator too.
    seed = random.randrange(2**31)
    x = layers.Dropout(dropout, seed=seed, dtype=dtype, name="dropout")(x)
    embedding = layers.GlobalAveragePooling1D(dtype="float32", name="feature")(x)
    return keras.Model(segment, embedding, name="encoder")


def log_mel_model(encoder: keras.Model, mean: float, std: float) -> keras.Model:
    """Return the encoder with its normalisation: log-mels (batch, 129, 128) to (batch, 256)."""
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    return keras.Model(segment, encoder(normalisation_layer(mean, std)(segment)))


def normalisation_layer(mean: float, std: float) -> keras.layers.Layer:
    """Return (log-mel - mean) / std as a layer, with the scalars of the training tracks."""
    return layers.Rescaling(1.0 / std, offset=-mean / std, name="normalise")
