"""Test the agf2018 networks and their file format."""

import shutil

import h5py
import numpy as np
import pytest

from artist_groups import network_file
from artist_groups.group_networks import (
    FEATURE,
    Decibels,
    build_mlp,
    build_mtn,
    build_network,
    count_parameters,
    find_width,
)
from artist_groups.network_file import GroupNetworks, load_networks, save_networks
from common import provenance
from common.errors import InputError
from extract_features import feature_extractor
from models.keras_backend import keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # raised in get_weights
GENRES = ["jazz", "polka", "rock"]
INPUTS = {"name": "mtn_gs_0", "model": "mtn gs", "artists": 2}


@pytest.fixture(scope="module")
def network():
    return build_network(16)


def test_layer_shapes_match_table_2_of_the_paper(network):
    """Table 2 lists shapes as mel x time; here, time comes first."""
    expected = {
        "pool2": (21, 32, 32),
        "pool3": (10, 16, 64),
        "pool4": (5, 8, 64),
        "pool5": (2, 4, 128),
        "elu6": (2, 4, 256),
        "elu7": (2, 4, 256),
        "average": (256,),
        "feature": (256,),
        "classes": (16,),
    }
    assert network.get_layer("first").output.shape[1:] == (43, 64, 16)
    assert {name: network.get_layer(name).output.shape[1:] for name in expected} == expected
    norms = [layer.name for layer in network.layers if "bn" in layer.name]
    assert norms == ["bn2", "bn4", "bn7", "bn_average", "bn_dense"]


def test_count_parameters_matches_built_networks(network):
    assert network.count_params() == 568_656  # of Table 2, with four values per normalised filter
    for outputs, width in ((16, 1.0), (40, 1.0), (16, 1.37), (16, 0.1)):
        built = build_network(outputs, width=width)
        assert count_parameters(outputs, width) == built.count_params()


def test_mtn_networks_share_only_their_first_block():
    mtn = build_mtn({"g": 16, "s": 40, "m": 40})
    weights = {task: {id(w) for w in network.weights} for task, network in mtn.items()}
    first = {id(w) for w in mtn["g"].get_layer("first").weights}
    for one, other in (("g", "s"), ("g", "m"), ("s", "m")):
        assert weights[one] & weights[other] == first
    assert len(first) == 2  # kernel and bias
    assert [network.output.shape[1] for network in mtn.values()] == [16, 40, 40]


@pytest.mark.parametrize("tasks", [2, 5])
def test_find_width_matches_the_weight_count_of_the_task_set(tasks):
    wanted = count_parameters(16) + (tasks - 1) * count_parameters(40)
    width = find_width(wanted, 16)
    assert 1 < width < tasks
    best = abs(count_parameters(16, width) - wanted)
    assert best < 0.01 * wanted
    for other in (0.97 * width, 1.03 * width):
        assert abs(count_parameters(16, other) - wanted) >= best


# ---------------------------------------------------------------- file


@pytest.fixture(scope="module")
def saved() -> GroupNetworks:
    """Return networks with random weights and batch statistics, as if trained."""
    random = np.random.default_rng(0)
    networks = build_mtn({"g": 3, "s": 5})
    mlp = build_mlp(2 * FEATURE, 3)
    for network in (*networks.values(), mlp):
        for variable in network.weights:
            if variable.name in ("gamma", "moving_variance"):
                variable.assign(random.uniform(0.5, 1.5, variable.shape))
            else:
                scale = max(1, np.prod(variable.shape[:-1])) ** -0.5
                variable.assign(random.normal(0, scale, variable.shape))
    mean, std = random.normal(-40, 9, 128), random.uniform(5, 9, 128)
    return GroupNetworks(networks, 1.0, mean, std, GENRES, ["Ärzte", "b"], mlp)


@pytest.fixture(scope="module")
def path(saved, tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "model.h5"
    save_networks(path, saved, provenance.make_record(INPUTS))
    return path


def predict(model, crops) -> np.ndarray:
    return keras.ops.convert_to_numpy(model.predict_on_batch(crops))


@pytest.mark.backend
def test_network_file_round_trip(saved, path):
    loaded = load_networks(path)
    assert list(loaded.networks) == ["g", "s"] and list(loaded.genres) == GENRES
    assert list(loaded.trained_on) == ["Ärzte", "b"] and loaded.width == 1
    crops = np.random.default_rng(1).random((2, 43, 128), np.float32)
    # JAX may round differently each time it compiles the model.
    np.testing.assert_allclose(predict(saved.model, crops), predict(loaded.model, crops), atol=1e-5)
    assert network_file.read_network_inputs(path) == INPUTS


@pytest.mark.backend
def test_model_concatenates_features_and_probabilities(saved):
    crops = np.random.default_rng(1).random((3, 43, 128), np.float32)
    output = predict(saved.model, crops)
    levels = Decibels(saved.mean, saved.std)(crops)
    features = [
        keras.Model(network.input, network.get_layer("feature").output)(levels)
        for network in saved.networks.values()
    ]
    features = np.concatenate([keras.ops.convert_to_numpy(each) for each in features], axis=1)
    np.testing.assert_allclose(output[:, :512], features, atol=1e-4)
    classes = keras.ops.convert_to_numpy(saved.mlp(features))
    np.testing.assert_allclose(output[:, 512:], classes, atol=1e-5)


def test_track_feature_is_the_mean_over_full_seconds(saved, path):
    mel = np.random.default_rng(2).random((2 * 43 + 20, 128), np.float32)
    extractor = feature_extractor(str(path), mirror=None, seed=0, mean_and_std=None)
    (feature,) = extractor.function([mel])
    expected = predict(saved.model, mel[:86].reshape(2, 43, 128)).mean(axis=0)
    np.testing.assert_allclose(feature, expected, atol=1e-4)


def test_networks_without_a_classifier_output_only_features(saved, tmp_path):
    content = GroupNetworks({"s": saved.networks["s"]}, 1.0, saved.mean, saved.std, GENRES, [])
    save_networks(tmp_path / "last.h5", content, provenance.make_record(INPUTS))
    loaded = load_networks(tmp_path / "last.h5")
    assert loaded.mlp is None and loaded.model.output.shape == (None, 256)


def replace(name: str, change):
    def damage(file: h5py.File) -> None:
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return damage


DAMAGES = {
    "NaN": replace("networks/g/conv1/kernel", lambda kernel: kernel * np.nan),
    "another shape": replace("networks/s/conv3/kernel", lambda kernel: kernel[..., :9]),
    "another number of filters": replace("networks/s/conv3/bias", lambda bias: bias[:9]),
    "an MLP of other genres": replace("mlp/classes/bias", lambda bias: bias[:2]),
    "a negative variance": replace("networks/g/bn2/moving_variance", lambda v: -v - 1),
    "a bias that is no vector": replace("networks/g/classes/bias", lambda bias: bias[0]),
    "a standard deviation of zero": replace("decibels/std", lambda std: std * 0),
    "mean of fewer bands": replace("decibels/mean", lambda mean: mean[:9]),
    "tasks out of order": lambda file: file.attrs.modify("tasks", "sg"),
    "an impossible width": lambda file: file.attrs.modify("width", 1e6),
    "a missing network": lambda file: file.__delitem__("networks/s"),
    "provenance": lambda file: file.attrs.modify("made_from", '{"inputs": {"artists": "2"}}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_load_networks_rejects_damaged_files(damage, path, tmp_path):
    broken = shutil.copy(path, tmp_path / "broken.h5")
    with h5py.File(broken, "r+") as file:
        DAMAGES[damage](file)
    with pytest.raises(InputError, match=r"broken\.h5.*(make|download)"):
        load_networks(broken)


def test_load_networks_rejects_other_file_formats(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "artist labels i-vector 1"
    with pytest.raises(InputError, match=r"not a file of agf2018's networks; make one with train"):
        load_networks(tmp_path / "other.h5")
