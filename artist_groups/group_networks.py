"""The networks of agf2018: a 2-D CNN for each task, and the MLP on top of several.

A task is the genre (16 classes) or a set of 40 artist groups. Single-task networks
(STN) share nothing; a multi-task network (MTN) shares its first block; the wide
single-task network (wSTN) learns genre alone, with as many weights as the set of
networks that it stands against.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.mel import SILENCE, FrontEnd
from models.keras_backend import keras

layers, ops = keras.layers, keras.ops

FRAMES = 43  # of the input, 1 s
BANDS = 128
FEATURE = 256  # outputs of the dense layer that are taken over by the MLP

# agf2018, Table 2: filters, kernel, max pool (time, mel) or None, batch normalisation, dropout.
FIRST = (16, 5, (1, 2), False, 0.1)
REST = (
    (32, 3, (2, 2), True, 0.1),
    (64, 3, (2, 2), False, 0.0),
    (64, 3, (2, 2), True, 0.1),
    (128, 3, (2, 2), False, 0.0),
    (256, 3, None, False, 0.0),
    (256, 1, None, True, 0.0),
)
DROPOUT = 0.5  # before and after the dense layer, and in the MLP
MLP_UNITS = 1024
LOSS = "categorical_crossentropy"  # with soft targets, too

_DECIBELS = 20 / np.log(10)


class Decibels(layers.Layer):
    """`artist_groups.vocabulary.decibels` of a log-mel as it is cached, standardised in each band.

    (batch, frames, bands) of any float -> float32. Silence is -100 dB.

    Parameters
    ----------
    mean, std
        (bands,) float, of the training tracks in decibels.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray, gain: float = FrontEnd.gain, **settings):
        super().__init__(**settings)
        self._mean, self._std = (np.asarray(each, np.float32) for each in (mean, std))
        self._gain = gain

    def call(self, log_mel):
        magnitude = (ops.exp(ops.cast(log_mel, "float32") * np.log(10)) - 1) / self._gain
        decibels = _DECIBELS * ops.log(ops.maximum(magnitude, SILENCE))
        return ops.divide(ops.subtract(decibels, self._mean), self._std)


def build_first_block(width: float = 1.0) -> keras.Model:
    """The block that the tasks of an MTN share: (batch, 43, 128) -> (batch, 43, 64, 16 width)."""
    spectrogram = keras.Input((FRAMES, BANDS), name="spectrogram")
    image = ops.expand_dims(spectrogram, -1)
    return keras.Model(spectrogram, _block(image, FIRST, width, 1), name="first")


def build_network(
    outputs: int, *, width: float = 1.0, first: keras.Model | None = None
) -> keras.Model:
    """The network of one task: standardised decibels (batch, 43, 128) -> (batch, outputs).

    The layer `feature`, 256 ELUs, is what the MLP takes over. Targets are
    distributions: a softmax, to be trained with cross-entropy.

    Parameters
    ----------
    width
        Factor of the numbers of filters, rounded; 1 but for a wSTN.
    first
        A first block to share; None: one of its own.
    """
    first = first or build_first_block(width)
    spectrogram = keras.Input((FRAMES, BANDS), name="spectrogram")
    image = first(spectrogram)
    for number, block in enumerate(REST, start=2):
        image = _block(image, block, width, number)
    x = layers.GlobalAveragePooling2D(name="average")(image)
    x = layers.BatchNormalization(name="bn_average")(x)
    x = _dropout(DROPOUT, "dropout_average")(x)
    x = layers.Dense(FEATURE, name="dense")(x)
    x = layers.BatchNormalization(name="bn_dense")(x)
    x = layers.ELU(name="feature")(x)
    x = _dropout(DROPOUT, "dropout_feature")(x)
    classes = layers.Dense(outputs, activation="softmax", name="classes")(x)
    return keras.Model(spectrogram, classes, name="network")


def build_mtn(outputs: Mapping[str, int]) -> dict[str, keras.Model]:
    """A network a task, {task: outputs} -> {task: network}, all with one first block."""
    first = build_first_block()
    return {task: build_network(count, first=first) for task, count in outputs.items()}


def build_mlp(inputs: int, classes: int) -> keras.Model:
    """The classifier on the features of several tasks side by side."""
    features = x = keras.Input((inputs,), name="features")
    x = _dropout(DROPOUT, "dropout_features")(x)
    x = layers.Dense(MLP_UNITS, activation="elu", name="dense")(x)
    x = _dropout(DROPOUT, "dropout_dense")(x)
    return keras.Model(features, layers.Dense(classes, activation="softmax", name="classes")(x))


def build_training_model(network: keras.Model, mean: np.ndarray, std: np.ndarray) -> keras.Model:
    """The network on log-mel crops, (batch, 43, 128) of any float, as it is trained."""
    crop = keras.Input((FRAMES, BANDS), name="crop")
    return keras.Model(crop, network(Decibels(mean, std, name="decibels")(crop)), name="on_log_mel")


def build_feature_model(
    networks: Sequence[keras.Model],
    mean: np.ndarray,
    std: np.ndarray,
    mlp: keras.Model | None = None,
) -> keras.Model:
    """What the networks say of log-mel crops (batch, 43, 128).

    Returns
    -------
    A model with the output (batch, 256 networks), their features side by side; and with
    an MLP the probabilities of its classes beside them.
    """
    crop = keras.Input((FRAMES, BANDS), name="crop")
    spectrogram = Decibels(mean, std, name="decibels")(crop)
    each = [
        keras.Model(one.input, one.get_layer("feature").output)(spectrogram) for one in networks
    ]
    side_by_side = ops.concatenate(each, axis=-1) if len(each) > 1 else each[0]
    if mlp is None:
        return keras.Model(crop, side_by_side)
    return keras.Model(crop, ops.concatenate([side_by_side, mlp(side_by_side)], axis=-1))


def count_parameters(outputs: int, width: float = 1.0) -> int:
    """How many weights `build_network` has, moving statistics included; of none it builds."""
    before, total = 1, 0
    for filters, kernel, _, norm, _ in (FIRST, *REST):
        filters = _filters(filters, width)
        total += (kernel * kernel * before + 1) * filters + 4 * filters * norm
        before = filters
    return total + 4 * before + (before + 1 + 4) * FEATURE + (FEATURE + 1) * outputs


def find_width(weights: int, outputs: int) -> float:
    """The width at which one network comes nearest to so many weights: the wSTN's multiplier.

    By halving: the number of weights never falls as the width grows.
    """
    low, high = 0.0, 1.0
    while count_parameters(outputs, high) < weights:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (
            (low, middle) if count_parameters(outputs, middle) >= weights else (middle, high)
        )
    return min(low, high, key=lambda width: abs(count_parameters(outputs, width) - weights))


def count_filters(width: float) -> list[int]:
    """Of the seven convolutions, at a width."""
    return [_filters(count, width) for count, *_ in (FIRST, *REST)]


def _filters(count: int, width: float) -> int:
    return max(1, round(count * width))


def _block(image, block: tuple, width: float, number: int):
    """Convolution, batch normalisation where the paper has one, ELU, pooling, dropout."""
    filters, kernel, pool, norm, dropout = block
    image = layers.Conv2D(_filters(filters, width), kernel, padding="same", name=f"conv{number}")(
        image
    )
    if norm:
        image = layers.BatchNormalization(name=f"bn{number}")(image)
    image = layers.ELU(name=f"elu{number}")(image)
    if pool:
        image = layers.MaxPooling2D(pool, name=f"pool{number}")(image)
    return _dropout(dropout, f"dropout{number}")(image) if dropout else image


def _dropout(rate: float, name: str) -> layers.Layer:
    """With a seed of its own, as in `encoder.build_encoder`, so that a resumed run has it too."""
    return layers.Dropout(rate, seed=random.randrange(2**31), name=name)
