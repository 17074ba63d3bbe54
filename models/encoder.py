"""The 1-D CNN that all three models of ismir2018 share."""

import keras
from keras import layers, regularizers

from data_prep.mel import SEGMENT

BANDS = 128  # mel bands of the input
FEATURE = 256  # dimensions of a song's feature

# (filters, kernel, max pool), ismir2018 section 3.1 and the published code.
BLOCKS = ((128, 4, 4), (128, 4, 4), (128, 4, 4), (128, 2, 2), (256, 1, None))


def build_encoder(dropout: float = 0.0, l2: float = 1e-5) -> keras.Model:
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

    Returns
    -------
    keras.Model, (batch, 129, 128) float32 -> (batch, 256) float32.
    """
    segment = x = keras.Input((SEGMENT, BANDS), name="segment")
    for number, (filters, kernel, pool) in enumerate(BLOCKS, start=1):
        x = layers.Conv1D(
            filters,
            kernel,
            padding="same",
            kernel_initializer="he_uniform",
            kernel_regularizer=regularizers.L2(l2),
            name=f"conv{number}",
        )(x)
        x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"bn{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        if pool:
            x = layers.MaxPooling1D(pool, name=f"pool{number}")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    feature = layers.GlobalAveragePooling1D(name="feature")(x)
    return keras.Model(segment, feature, name="encoder")


def normalisation(mean: float, std: float) -> layers.Layer:
    """(log-mel - mean) / std with the scalars of the training tracks, as a layer."""
    return layers.Rescaling(1.0 / std, offset=-mean / std, name="normalise")
