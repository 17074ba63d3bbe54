"""Tests that layers of nested models keep their places, whichever of them were frozen."""

import itertools

import h5py
import numpy as np
import pytest

from common.errors import InputError
from models.architecture import BLOCKS
from models.keras_backend import keras
from models.pretrained import load_weights

pytestmark = [pytest.mark.backend, pytest.mark.filterwarnings("ignore:__array__ impl")]
FROZEN = {
    "none": (),
    "first convolution": (0,),
    "first block": (0, 1),
    "third convolution": (4,),
    "two blocks": (0, 1, 4, 5),
    "normalisations": (1, 3, 5, 7, 9),
    "all": range(10),
}


def save_nested(path, frozen, names):
    """Save a classifier with a nested encoder; return the encoder's arrays in layer order."""
    layers = keras.layers
    number = itertools.count(1)
    parts = []
    for filters, kernel, _ in BLOCKS:
        parts += [
            layers.Conv1D(filters, kernel, name=names and names.format(next(number))),
            layers.BatchNormalization(name=names and names.format(next(number))),
        ]
    inner = keras.Sequential([keras.Input((None, 128)), *parts, layers.GlobalAveragePooling1D()])
    model = keras.Sequential([keras.Input((None, 128)), inner, layers.Dense(3)])
    rng = np.random.default_rng(0)
    inner.set_weights([rng.uniform(0.1, 1, array.shape) for array in inner.get_weights()])
    for index in frozen:
        parts[index].trainable = False
    model.save(path)
    return [array for part in parts for array in part.get_weights()]


@pytest.mark.parametrize("frozen", FROZEN)
@pytest.mark.parametrize("names", [None, "part{}x"])
def test_nested_layers_are_ordered_by_the_model_configuration(tmp_path, frozen, names):
    arrays = save_nested(tmp_path / "a.h5", FROZEN[frozen], names)
    loaded = load_weights(str(tmp_path / "a.h5")).encoder_arrays
    assert all(map(np.array_equal, loaded, arrays)) and len(loaded) == len(arrays)


@pytest.mark.parametrize("frozen", FROZEN)
@pytest.mark.parametrize("names", [None, "part{}x"])
def test_nested_layers_without_configuration_are_ordered_by_number_or_refused(
    tmp_path, frozen, names
):
    arrays = save_nested(tmp_path / "a.h5", FROZEN[frozen], names)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file.attrs["model_config"]
    try:
        loaded = load_weights(str(tmp_path / "a.h5")).encoder_arrays
    except InputError as error:
        assert names and "was saved with frozen layers" in str(error)
    else:
        assert not names or frozen in ("none", "all")
        assert all(map(np.array_equal, loaded, arrays))
