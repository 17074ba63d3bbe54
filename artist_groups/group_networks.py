"""The networks of agf2018 (Kim et al. 2018): one 2-D CNN per task, and an MLP on their features.

A task is to predict the genre (16 classes) or the artist groups learned from one vocabulary (40
groups). The input is one second of a spectrogram in standardised decibels.

- STN, single-task network: one CNN per task, with no shared layers.
- MTN, multi-task network: one CNN per task, with a shared first block.
- wSTN, wide single-task network: one genre CNN with as many weights as a set of CNNs.
- MLP: the genre classifier on the concatenated features of a set of CNNs.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_prep.mel import SILENCE, FrontEnd
from models.keras_backend import keras

layers, ops = keras.layers, keras.ops

FRAMES = 43  # frames per input crop of 1 s
BANDS = 128
FEATURE = 256  # units in the dense layer whose output is the MLP's input
MLP_UNITS = 1024
DROPOUT = 0.5  # dropout rate before and after the dense layer, and in the MLP
LOSS = "categorical_crossentropy"  # used for one-hot and soft targets alike


class Block(NamedTuple):
    """Layer block: Conv2D, optional batch normalisation, ELU, optional max pooling, dropout."""

    filters: int
    kernel: int
    pool: tuple[int, int] | None  # (time, mel)
    norm: bool
    dropout: float


# Blocks of the CNN in Table 2 of agf2018.
FIRST = Block(16, 5, (1, 2), norm=False, dropout=0.1)
REST = (
    Block(32, 3, (2, 2), norm=True, dropout=0.1),
    Block(64, 3, (2, 2), norm=False, dropout=0.0),
    Block(64, 3, (2, 2), norm=True, dropout=0.1),
    Block(128, 3, (2, 2), norm=False, dropout=0.0),
    Block(256, 3, None, norm=False, dropout=0.0),
    Block(256, 1, None, norm=True, dropout=0.0),
)


class Decibels(keras.layers.Layer):
    """Layer that converts cached log-mels (batch, frames, bands) to decibels standardised per band.

    `mean` and `std` are (bands,) float, from `artist_groups.decibels.band_statistics`.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        super().__init__(name="decibels")
        self._mean, self._std = (np.asarray(each, np.float32) for each in (mean, std))

    def call(self, log_mel):
        """Return the standardised decibels of a batch."""
        magnitude = (ops.exp(ops.cast(log_mel, "float32") * np.log(10)) - 1) / FrontEnd.gain
        decibels = 20 / np.log(10) * ops.log(ops.maximum(magnitude, SILENCE))
        return ops.divide(ops.subtract(decibels, self._mean), self._std)


def build_network(
    outputs: int, *, width: float = 1.0, first: keras.Model | None = None
) -> keras.Model:
    """Build the CNN for one task, (batch, 43, 128) standardised decibels -> (batch, outputs).

    Targets are distributions, so the output is a softmax to be trained with cross-entropy.
    The 256 units of the layer `feature` provide the features for the MLP. `width` multiplies every
    layer's filter count and differs from 1 only for a wSTN. `first` is a first block to be shared
    with other networks.

    Examples
    --------
    >>> build_network(16).output.shape
    (None, 16)
    """
    first = first or _build_first_block(width)
    spectrogram = keras.Input((FRAMES, BANDS), name="spectrogram")
    x = first(spectrogram)
    for number, block in enumerate(REST, start=2):
        x = _apply_block(x, block, width, number)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = layers.BatchNormalization(name="bn_average")(x)
    x = _dropout(DROPOUT, "dropout_average")(x)
    x = layers.Dense(FEATURE, name="dense")(x)
    x = layers.BatchNormalization(name="bn_dense")(x)
    x = layers.ELU(name="feature")(x)
    x = _dropout(DROPOUT, "dropout_feature")(x)
    classes = layers.Dense(outputs, activation="softmax", name="classes")(x)
    return keras.Model(spectrogram, classes, name="network")


def build_mtn(outputs: Mapping[str, int], width: float = 1.0) -> dict[str, keras.Model]:
    """Build one network per {task: number of outputs}, all sharing one first block."""
    first = _build_first_block(width)
    return {task: build_network(count, width=width, first=first) for task, count in outputs.items()}


def build_mlp(inputs: int, classes: int) -> keras.Model:
    """Build the classifier (batch, inputs) -> (batch, classes) on concatenated features."""
    features = keras.Input((inputs,), name="features")
    x = _dropout(DROPOUT, "dropout_features")(features)
    x = layers.Dense(MLP_UNITS, activation="elu", name="dense")(x)
    x = _dropout(DROPOUT, "dropout_dense")(x)
    return keras.Model(features, layers.Dense(classes, activation="softmax", name="classes")(x))


def build_training_model(network: keras.Model, mean: np.ndarray, std: np.ndarray) -> keras.Model:
    """Prepend `Decibels` to a network, so that it accepts log-mel crops (batch, 43, 128)."""
    crop = keras.Input((FRAMES, BANDS), name="crop")
    return keras.Model(crop, network(Decibels(mean, std)(crop)), name="on_log_mel")


def build_feature_model(
    networks: Sequence[keras.Model],
    mean: np.ndarray,
    std: np.ndarray,
    mlp: keras.Model | None = None,
) -> keras.Model:
    """Build a model from log-mel crops (batch, 43, 128) to features (batch, 256 * networks).

    If an MLP is given, its class probabilities are appended.
    """
    crop = keras.Input((FRAMES, BANDS), name="crop")
    spectrogram = Decibels(mean, std)(crop)
    parts = [
        keras.Model(net.input, net.get_layer("feature").output)(spectrogram) for net in networks
    ]
    features = ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    if mlp is not None:
        features = ops.concatenate([features, mlp(features)], axis=-1)
    return keras.Model(crop, features)


def _build_first_block(width: float) -> keras.Model:
    """Build the first block, which MTN tasks share: (batch, 43, 128) -> (batch, 43, 64, 16)."""
    spectrogram = keras.Input((FRAMES, BANDS), name="spectrogram")
    image = ops.expand_dims(spectrogram, -1)
    return keras.Model(spectrogram, _apply_block(image, FIRST, width, 1), name="first")


def _apply_block(image, block: Block, width: float, number: int):
    filters = _scale(block.filters, width)
    x = layers.Conv2D(filters, block.kernel, padding="same", name=f"conv{number}")(image)
    if block.norm:
        x = layers.BatchNormalization(name=f"bn{number}")(x)
    x = layers.ELU(name=f"elu{number}")(x)
    if block.pool:
        x = layers.MaxPooling2D(block.pool, name=f"pool{number}")(x)
    return _dropout(block.dropout, f"dropout{number}")(x) if block.dropout else x


def _dropout(rate: float, name: str) -> keras.layers.Layer:
    """Build a dropout layer with its own seed, so that a resumed run draws identical masks."""
    return layers.Dropout(rate, seed=random.randrange(2**31), name=name)


def count_filters(width: float) -> list[int]:
    """Return the filter counts of the seven convolutional layers."""
    return [_scale(block.filters, width) for block in (FIRST, *REST)]


def count_parameters(outputs: int, width: float = 1.0) -> int:
    """Count the weights of a `build_network` model, with moving statistics, without building it."""
    channels, total = 1, 0
    for block, filters in zip((FIRST, *REST), count_filters(width), strict=True):
        total += (block.kernel**2 * channels + 1) * filters + 4 * filters * block.norm
        channels = filters
    return total + 4 * channels + (channels + 1 + 4) * FEATURE + (FEATURE + 1) * outputs


def find_width(weights: int, outputs: int) -> float:
    """Find by bisection the width at which a network's weight count is closest to `weights`."""
    low, high = 0.0, 1.0
    while count_parameters(outputs, high) < weights:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        if count_parameters(outputs, middle) < weights:
            low = middle
        else:
            high = middle
    return min(low, high, key=lambda width: abs(count_parameters(outputs, width) - weights))


def _scale(filters: int, width: float) -> int:
    return max(1, round(filters * width))
