"""The basic model: which artist is it?  And the tag model, the same with tags."""

from data_prep.mel import SEGMENT
from models.encoder import BANDS, normalisation
from models.keras_backend import keras

layers = keras.layers


def build_basic(
    encoder: keras.Model, outputs: int, activation: str, *, mean: float, std: float
) -> keras.Model:
    """The encoder under one dense layer.

    Parameters
    ----------
    outputs, activation
        Artists and "softmax" (ismir2018 section 3.1), or tags and "sigmoid"
        (the paper's tag model).
    mean, std
        Of the training tracks' log-mel, which enters as it is in the cache.

    Returns
    -------
    keras.Model, (batch, 129, 128) log-mel -> (batch, outputs) probabilities.
    """
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    feature = encoder(normalisation(mean, std)(segment))
    classes = layers.Dense(outputs, activation=activation, name="classes")(feature)
    return keras.Model(segment, classes, name="basic" if activation == "softmax" else "tag")
