"""The 1-D CNN that all three models of ismir2018 share."""

import random

from data_prep.mel import SEGMENT
from models.keras_backend import keras

layers, regularizers = keras.layers, keras.regularizers

BANDS = 128  # mel bands of the input
FEATURE = 256  # dimensions of a song's feature

# (filters, kernel, max pool), ismir2018 section 3.1 and the published code.
BLOCKS = ((128, 4, 4), (128, 4, 4), (128, 4, 4), (128, 2, 2), (256, 1, None))


def build_encoder(
    dropout: float = 0.0,
    l2: float = 1e-5,
    *,
    precision: str = "float32",
    synchronised: bool = False,
) -> keras.Model:
    """The encoder: one normalised 3 s segment of log-mel to its 256-d feature.

    Five blocks of convolution over time (`same` padding, He-uniform), batch
    normalisation, ReLU and max pooling; then the average over what is left of
    time, which is one frame.

    Parameters
    ----------
    dropout
        After the last activation. ismir2018 says 0.5 for all models; the
        published training code, which made the released weights, applies none.
    l2
        Weight of the penalty on the convolutions' kernels.
    precision
        "float32"; or "mixed": weights in float32, computed with in bfloat16,
        whose range needs no scaling of the loss.
    synchronised
        Take a batch's statistics over all devices that share it: TensorFlow
        has to be told, JAX always does.

    Returns
    -------
    keras.Model, (batch, 129, 128) float32 -> (batch, 256) float32.
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
    # With a seed of its own: torch draws others from a state that no model holds, and so no
    # checkpoint. It comes from Python's generator, which Keras' set_random_seed seeds.
    seed = random.randrange(2**31)
    x = layers.Dropout(dropout, seed=seed, dtype=dtype, name="dropout")(x)
    feature = layers.GlobalAveragePooling1D(dtype="float32", name="feature")(x)
    return keras.Model(segment, feature, name="encoder")


def log_mel_model(encoder: keras.Model, mean: float, std: float) -> keras.Model:
    """The encoder under its normalisation: (batch, 129, 128) plain log-mel -> (batch, 256).

    `mean` and `std` are those of the training tracks.
    """
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    return keras.Model(segment, encoder(normalisation(mean, std)(segment)))


def normalisation(mean: float, std: float) -> layers.Layer:
    """(log-mel - mean) / std with the scalars of the training tracks, as a layer."""
    return layers.Rescaling(1.0 / std, offset=-mean / std, name="normalise")
