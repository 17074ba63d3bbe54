"""The basic model (artist classification) and the tag model of ismir2018."""

from data_prep.mel import SEGMENT
from models.architecture import BANDS
from models.encoder import normalise
from models.keras_backend import keras

layers = keras.layers


def build_basic(
    encoder: keras.Model,
    outputs: int,
    activation: str,
    *,
    mean: float,
    std: float,
    **options,
) -> keras.Model:
    """Return the encoder with one dense layer on top (ismir2018, section 3.1).

    It maps log-mels (batch, 129, 128), normalised by `models.encoder.normalise`, to probabilities
    (batch, outputs). `activation` is "softmax" for artists or "sigmoid" for tags.
    """
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    embedding = encoder(normalise(segment, mean, std, **options))
    classes = layers.Dense(outputs, activation=activation, name="classes")(embedding)
    return keras.Model(segment, classes, name="basic" if activation == "softmax" else "tag")
