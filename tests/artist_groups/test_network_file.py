"""The file of networks of agf2018: what comes back from it, and what is no such file."""

import shutil

import h5py
import numpy as np
import pytest

from artist_groups import group_networks, network_file
from artist_groups.network_file import GroupNetworks
from common import provenance
from common.errors import InputError
from extract_features import feature_extractor
from models.keras_backend import keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
GENRES = ["jazz", "polka", "rock"]
INPUTS = {"name": "mtn_gs_0", "model": "mtn gs", "artists": 2}


@pytest.fixture(scope="module")
def made() -> GroupNetworks:
    """Networks as if trained: their normalisations scale, shift and have statistics."""
    random = np.random.default_rng(0)
    networks = group_networks.build_mtn({"g": 3, "s": 5})
    mlp = group_networks.build_mlp(2 * group_networks.FEATURE, 3)
    for network in (*networks.values(), mlp):
        for variable in network.weights:
            positive = variable.name in ("gamma", "moving_variance")
            values = random.uniform(0.5, 1.5, variable.shape) if positive else None
            scale = max(1, np.prod(variable.shape[:-1])) ** -0.5
            variable.assign(random.normal(0, scale, variable.shape) if values is None else values)
    mean, std = random.normal(-40, 9, 128), random.uniform(5, 9, 128)
    return GroupNetworks(networks, 1.0, mean, std, GENRES, ["Ärzte", "b"], mlp)


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "model.h5"
    network_file.save_networks(path, made, provenance.make_record(INPUTS))
    return path


def test_networks_come_back_as_they_were(made, path):
    found = network_file.load_networks(path)
    assert list(found.networks) == ["g", "s"] and list(found.genres) == GENRES
    assert list(found.trained_on) == ["Ärzte", "b"] and found.width == 1
    crops = np.random.default_rng(1).random((2, 43, 128), np.float32)
    ours, theirs = (
        keras.ops.convert_to_numpy(each.model.predict_on_batch(crops)) for each in (made, found)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)  # compiled twice, JAX rounds otherwise
    assert network_file.read_network_inputs(path) == INPUTS


def test_what_is_said_of_a_crop_is_put_together_in_order(made):
    crops = np.random.default_rng(1).random((3, 43, 128), np.float32)
    found = keras.ops.convert_to_numpy(made.model.predict_on_batch(crops))
    decibels = group_networks.Decibels(made.mean, made.std)(crops)
    features = [
        keras.Model(network.input, network.get_layer("feature").output)(decibels)
        for network in made.networks.values()
    ]
    features = np.concatenate([keras.ops.convert_to_numpy(each) for each in features], axis=1)
    np.testing.assert_allclose(found[:, :512], features, atol=1e-4)
    classes = keras.ops.convert_to_numpy(made.mlp(features))
    np.testing.assert_allclose(found[:, 512:], classes, atol=1e-5)


def test_a_song_is_described_by_its_seconds(made, path):
    """The last frames, fewer than a second's, do not count."""
    mel = np.random.default_rng(2).random((2 * 43 + 20, 128), np.float32)
    function, origin, trained_on, classes = feature_extractor(
        str(path), mirror=None, seed=0, mean_and_std=None
    )
    (found,) = function([mel])
    expected = made.model.predict_on_batch(mel[:86].reshape(2, 43, 128)).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert list(classes) == GENRES and list(trained_on) == ["Ärzte", "b"]
    assert origin["model"] == "mtn gs" and origin["artists"] == 2 and len(origin["sha256"]) == 64


def test_networks_without_a_classifier_have_features_alone(made, tmp_path):
    made = GroupNetworks({"s": made.networks["s"]}, 1.0, made.mean, made.std, GENRES, [])
    network_file.save_networks(tmp_path / "last.h5", made, provenance.make_record(INPUTS))
    named_so = feature_extractor(str(tmp_path / "last.h5"), mirror=None, seed=0, mean_and_std=None)
    assert list(named_so.classes) == []
    (feature,) = named_so.function([np.zeros((43, 128), np.float32)])
    assert feature.shape == (256,)


def spoil(name: str, change):
    def spoilt(file: h5py.File) -> None:
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return spoilt


def first_set(value: float):
    def change(values: np.ndarray) -> np.ndarray:
        values.flat[0] = value
        return values

    return change


DAMAGES = {
    "no number": spoil("networks/g/conv1/kernel", first_set(np.nan)),
    "negative variance": spoil("networks/s/bn4/moving_variance", first_set(-1)),
    "another shape": spoil("networks/s/conv3/kernel", lambda kernel: kernel[..., :9]),
    "another number of filters": spoil("networks/s/conv3/bias", lambda bias: bias[:9]),
    "outputs that do not fit": spoil("networks/s/classes/bias", lambda bias: bias[:2]),
    "an MLP of other genres": spoil("mlp/classes/bias", lambda bias: bias[:2]),
    "mean of fewer bands": spoil("decibels/mean", lambda mean: mean[:9]),
    "no deviation": spoil("decibels/std", np.zeros_like),
    "tasks out of order": lambda file: file.attrs.modify("tasks", "sg"),
    "no tasks": lambda file: file.attrs.modify("tasks", ""),
    "a width beyond all sense": lambda file: file.attrs.modify("width", 1e6),
    "a width that is no number": lambda file: file.attrs.modify("width", np.nan),
    "a network missing": lambda file: file.__delitem__("networks/s"),
    "no genres": lambda file: file.__delitem__("genres"),
    "provenance": lambda file: file.attrs.modify("made_from", '{"inputs": {"artists": "2"}}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_networks_are_refused(damage, path, tmp_path):
    broken = shutil.copy(path, tmp_path / "broken.h5")
    with h5py.File(broken, "r+") as file:
        DAMAGES[damage](file)
    with pytest.raises(InputError, match=r"broken\.h5.*(train them|make|download)"):
        network_file.load_networks(broken)


def test_files_of_something_else_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "artist labels i-vector 1"
    with pytest.raises(InputError, match=r"holds no networks of agf2018; make them with train_agf"):
        network_file.load_networks(tmp_path / "other.h5")
    with pytest.raises(InputError, match="no such file"):
        network_file.read_network_inputs(tmp_path / "none.h5")
