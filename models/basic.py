"""The basic model (artist classification) and the tag model of ismir2018."""

from data_prep.mel import SEGMENT
from models.encoder import BANDS, normalisation_layer
from models.keras_backend import keras

layers = keras.layers


def build_basic(
    encoder: keras.Model, outputs: int, activation: str, *, mean: float, std: float
) -> keras.Model:
    """Return the encoder with one dense layer on top (ismir2018, section 3.1).

    Parameters
    ----------
    outputs, activation
        Number of artists and "softmax", or number of tags and "sigmoid".
    mean, std
        Mean and standard deviation of the log-mels of the training tracks.

    Returns
    -------
    keras.Model
        Maps log-mels (batch, 129, 128) to probabilities (batch, outputs).
    """
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    embedding = encoder(normalisation_layer(mean, std)(segment))
    classes = layers.Dense(outputs, activation=activation, name="classes")(embedding)
    return keras.Model(segment, classes, name="basic" if activation == "softmax" else "tag")
