"""Test the basic and tag models against their definition."""

import keras
import numpy as np
import pytest

from models.basic import AdditiveMarginLoss, build_basic

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


def test_cosines_do_not_depend_on_lengths(encoder):
    segments = np.random.default_rng(0).random((5, 129, 128)).astype(np.float16)
    model = build_basic(encoder, 7, "cosine", mean=MEAN, std=STD)
    (vectors,) = model.get_layer("artist_vectors").get_weights()
    model.get_layer("artist_vectors").set_weights([vectors * np.arange(1, 8)])
    embeddings = encoder.predict_on_batch((segments.astype(np.float32) - MEAN) / STD)
    lengths = np.outer(np.linalg.norm(embeddings, axis=1), np.linalg.norm(vectors, axis=0))
    found = model.predict_on_batch(segments)
    np.testing.assert_allclose(found, embeddings @ vectors / lengths, atol=1e-5)
    assert model.name == "basic"


def test_additive_margin_loss_matches_its_formula():
    cosines = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)
    artists, margin, scale = np.array([3, 0, 1, 1, 2, 0], np.int32), 0.3, 12.0
    expected = []
    for artist, row in zip(artists, cosines.astype(np.float64), strict=True):
        own = np.exp(scale * (row[artist] - margin))
        others = np.exp(scale * np.delete(row, artist)).sum()
        expected.append(-np.log(own / (own + others)))
    loss = AdditiveMarginLoss(margin, scale)
    found = keras.ops.convert_to_numpy(loss.call(artists, keras.ops.convert_to_tensor(cosines)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert float(loss(artists, cosines)) == pytest.approx(np.mean(expected), rel=1e-5)
