"""Test the basic and tag models against their definition."""

import numpy as np
import pytest

from models.basic import build_basic

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
MEAN, STD = 0.2, 0.25


@pytest.mark.parametrize("activation, name", [("softmax", "basic"), ("sigmoid", "tag")])
def test_probabilities_match_the_definition_on_normalised_segments(activation, name, encoder):
    segments = np.random.default_rng(0).random((5, 129, 128)).astype(np.float16)
    model = build_basic(encoder, 7, activation, mean=MEAN, std=STD)
    kernel, _ = model.get_layer("classes").get_weights()
    bias = np.linspace(-1, 1, 7, dtype=np.float32)
    model.get_layer("classes").set_weights([kernel, bias])
    assert kernel.shape == (256, 7) and model.name == name
    embeddings = encoder.predict_on_batch((segments.astype(np.float32) - MEAN) / STD)
    logits = embeddings.astype(np.float64) @ kernel + bias
    if activation == "softmax":
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    else:
        expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(model.predict_on_batch(segments), expected, atol=1e-5)
