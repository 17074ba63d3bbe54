"""The networks of agf2018: shapes and weights as in its Table 2, and what they share."""

import numpy as np
import pytest

from artist_groups import group_networks
from data_prep.mel import FrontEnd
from models.keras_backend import keras


def shape_after(network: keras.Model, name: str) -> tuple:
    return tuple(network.get_layer(name).output.shape[1:])


@pytest.fixture(scope="module")
def network():
    return group_networks.build_network(16)


def test_layers_have_the_papers_shapes(network):
    """Table 2 writes mel x time; here time comes first."""
    assert tuple(network.get_layer("first").output.shape[1:]) == (43, 64, 16)
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
    assert {name: shape_after(network, name) for name in expected} == expected
    norms = [layer.name for layer in network.layers if "bn" in layer.name]
    assert norms == ["bn2", "bn4", "bn7", "bn_average", "bn_dense"]


def test_numbers_of_weights(network):
    # Kernels and biases; four numbers a filter where there is batch normalisation.
    first = (5 * 5 * 1 + 1) * 16
    rest = (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (9 * 64 + 1) * 128
    rest += (9 * 128 + 1) * 256 + (256 + 1) * 256
    norms = 4 * (32 + 64 + 256 + 256 + 256)
    dense = (256 + 1) * 256 + (256 + 1) * 16
    assert network.count_params() == first + rest + norms + dense == 568_656
    for outputs, width in ((16, 1.0), (40, 1.0), (16, 1.37), (16, 0.1)):
        built = group_networks.build_network(outputs, width=width)
        assert group_networks.count_parameters(outputs, width) == built.count_params()


def test_an_mtn_shares_exactly_the_first_block():
    networks = group_networks.build_mtn({"g": 16, "s": 40, "m": 40})
    weights = {task: {id(w) for w in net.weights} for task, net in networks.items()}
    first = {id(w) for w in networks["g"].get_layer("first").weights}
    for one, other in (("g", "s"), ("g", "m"), ("s", "m")):
        assert weights[one] & weights[other] == first
    assert len(first) == 2  # kernel and bias
    assert [net.output.shape[1] for net in networks.values()] == [16, 40, 40]


@pytest.mark.parametrize("tasks", [2, 3, 4, 5])
def test_a_wide_network_has_the_weights_of_the_set(tasks):
    wanted = group_networks.count_parameters(16) + (tasks - 1) * group_networks.count_parameters(40)
    width = group_networks.find_width(wanted, 16)
    assert 1 < width < tasks
    found = group_networks.build_network(16, width=width).count_params()
    assert abs(found / wanted - 1) < 0.01
    for other in (0.97 * width, 1.03 * width):
        assert abs(group_networks.count_parameters(16, other) - wanted) >= abs(found - wanted)


def test_decibels_are_those_of_the_formula():
    random = np.random.default_rng(0)
    log_mel = random.random((3, 43, 128)).astype(np.float16)
    log_mel[0, :2] = 0
    mean, std = random.normal(size=128), random.uniform(1, 9, 128)
    magnitude = (10.0 ** log_mel.astype(np.float64) - 1) / FrontEnd().gain
    expected = (20 * np.log10(np.maximum(magnitude, 1e-5)) - mean) / std
    found = keras.ops.convert_to_numpy(group_networks.Decibels(mean, std)(log_mel))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(found[0, 0], (-100 - mean) / std, rtol=1e-4)


def test_outputs_are_distributions(network):
    random = np.random.default_rng(0)
    classes = network.predict_on_batch(random.normal(size=(2, 43, 128)).astype(np.float32))
    np.testing.assert_allclose(classes.sum(axis=1), 1, rtol=1e-5)
    mlp = group_networks.build_mlp(512, 16)
    assert mlp.count_params() == 513 * 1024 + 1025 * 16
    classes = mlp.predict_on_batch(random.normal(size=(2, 512)).astype(np.float32))
    np.testing.assert_allclose(classes.sum(axis=1), 1, rtol=1e-5)
