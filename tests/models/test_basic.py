"""The basic and tag models."""

import numpy as np
import pytest

from models.basic import build_basic

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own conversions
MEAN, STD = 0.2, 0.25


@pytest.fixture(scope="module")
def segments():
    return np.random.default_rng(0).random((5, 129, 128)).astype(np.float16)


def test_softmax_is_of_the_features_of_the_normalised_segment(encoder, segments):
    model = build_basic(encoder, 7, "softmax", mean=MEAN, std=STD)
    kernel, bias = model.get_layer("classes").get_weights()
    assert kernel.shape == (256, 7) and model.name == "basic"
    feature = encoder.predict_on_batch((segments.astype(np.float32) - MEAN) / STD)
    logits = feature.astype(np.float64) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = model.predict_on_batch(segments)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tags_are_judged_each_for_itself(encoder, segments):
    model = build_basic(encoder, 3, "sigmoid", mean=MEAN, std=STD)
    kernel, _ = model.get_layer("classes").get_weights()
    model.get_layer("classes").set_weights([kernel, np.array([0, 50, -50], np.float32)])
    feature = encoder.predict_on_batch((segments.astype(np.float32) - MEAN) / STD)
    found = model.predict_on_batch(segments)
    assert model.name == "tag"
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(-feature @ kernel[:, 0])), atol=1e-5)
    assert (found[:, 1] > 0.999).all() and (found[:, 2] < 0.001).all()
