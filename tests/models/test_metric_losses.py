"""Test the losses over a whole batch against direct computations and numerical gradients."""

import keras
import numpy as np
import pytest

from models.encoder import build_encoder
from models.metric_losses import build_in_batch, make_loss, nearest_by_other_artist

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
ARTISTS = np.array([3, 0, 3, 7], np.float32)  # two anchors share an artist
TEMPERATURE, MARGIN = 0.2, 0.5


def unit_embeddings(shape=(4, 3, 5), seed=0, dtype=np.float32):
    """Return random unit-length embeddings (anchors, tracks, dimensions)."""
    values = np.random.default_rng(seed).normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(dtype)


def expected_losses(name, embeddings, artists):
    """Compute the loss of each track in a loop, as the formulas state it."""
    flat = embeddings.reshape(-1, embeddings.shape[-1]).astype(np.float64)
    artist = np.repeat(artists, embeddings.shape[1])
    losses = []
    for i in range(len(flat)):
        cosine = flat @ flat[i]
        positives = [j for j in range(len(flat)) if j != i and artist[j] == artist[i]]
        negatives = [j for j in range(len(flat)) if artist[j] != artist[i]]
        if name == "semi-hard":
            terms = []
            for p in positives:
                gaps = cosine[p] - cosine[negatives]
                inside = gaps[(gaps > 0) & (gaps < MARGIN)]
                hardest = max(0.0, MARGIN - gaps.min())
                terms.append((MARGIN - inside).mean() if len(inside) else hardest)
            losses.append(np.mean(terms))
            continue
        scores = np.exp(cosine / TEMPERATURE)
        others = positives + negatives
        rivals = {
            "softmax": lambda p, rest=negatives: [p, *rest],
            "supcon": lambda p, rest=others: rest,
        }[name]
        terms = [-np.log(scores[p] / scores[rivals(p)].sum()) for p in positives]
        losses.append(np.mean(terms))
    return np.array(losses).reshape(embeddings.shape[:2])


@pytest.mark.parametrize("name", ["semi-hard", "softmax", "supcon"])
def test_loss_matches_its_formula(name):
    loss, embeddings = make_loss(name, margin=MARGIN, temperature=TEMPERATURE), unit_embeddings()
    expected = expected_losses(name, embeddings, ARTISTS)
    found = keras.ops.convert_to_numpy(loss.call(ARTISTS, keras.ops.convert_to_tensor(embeddings)))
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    assert float(loss(ARTISTS, embeddings)) == pytest.approx(expected.mean(), rel=2e-5)
    assert np.ptp(expected) > 0.05


@pytest.mark.parametrize("name", ["semi-hard", "softmax", "supcon"])
def test_joint_loss_adds_the_weighted_softmax_loss_over_all_artists(name):
    embeddings = unit_embeddings((4, 3, 256))
    logits = np.random.default_rng(1).normal(size=(4, 3, 9)).astype(np.float32)
    loss = make_loss(name, margin=MARGIN, temperature=TEMPERATURE, classification=0.5)
    outputs = keras.ops.convert_to_tensor(np.concatenate([embeddings, logits], axis=-1))
    found = keras.ops.convert_to_numpy(loss.call(ARTISTS, outputs))
    correct = logits[np.arange(4), :, ARTISTS.astype(int)]
    softmax = np.log(np.exp(logits.astype(np.float64)).sum(axis=-1)) - correct
    expected = expected_losses(name, embeddings, ARTISTS) + 0.5 * softmax
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    metric = nearest_by_other_artist()
    alone = metric(ARTISTS, keras.ops.convert_to_tensor(embeddings))
    np.testing.assert_array_equal(
        *(keras.ops.convert_to_numpy(each) for each in (metric(ARTISTS, outputs), alone))
    )


@pytest.mark.parametrize("name", ["semi-hard", "softmax", "supcon"])
def test_gradient_matches_a_numerical_one(name):
    """Train the embeddings by one step of plain SGD, which subtracts the gradient."""
    start = unit_embeddings((1, 4, 3, 5), seed=2)
    loss = make_loss(name, margin=MARGIN, temperature=TEMPERATURE)

    class Embeddings(keras.layers.Layer):
        def build(self, shape):
            self.values = self.add_weight(shape=start.shape[1:], initializer="zeros")

        def call(self, artists):
            return self.values + 0 * keras.ops.reshape(artists, (-1, 1, 1))

    inputs = keras.Input(batch_shape=(len(ARTISTS), 1))
    layer = Embeddings()
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([start[0]])
    model.compile(keras.optimizers.SGD(1.0), loss=loss)
    model.train_on_batch(ARTISTS[:, None], ARTISTS)
    gradient = start[0] - layer.get_weights()[0]

    step, numerical = 1e-6, np.zeros(start[0].shape)
    for place in np.ndindex(numerical.shape):
        up, down = (start[0].astype(np.float64) for _ in range(2))
        up[place] += step
        down[place] -= step
        values = [expected_losses(name, each, ARTISTS).mean() for each in (up, down)]
        numerical[place] = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(gradient, numerical, atol=2e-5)
    assert np.abs(numerical).max() > 1e-2


def test_tracks_without_negatives_or_positives_have_no_loss_and_finite_gradients():
    embeddings = keras.ops.convert_to_tensor(unit_embeddings((2, 2, 5)))
    one_artist, alone = np.zeros(2, np.float32), np.arange(2, dtype=np.float32)
    softmax = make_loss("softmax", margin=MARGIN, temperature=TEMPERATURE)
    assert float(softmax(one_artist, embeddings)) == pytest.approx(0, abs=1e-6)
    supcon = make_loss("supcon", margin=MARGIN, temperature=TEMPERATURE)
    assert float(supcon(alone, embeddings[:, :1])) == 0


@pytest.mark.parametrize("name", ["semi-hard", "softmax", "supcon"])
def test_collapsed_embeddings_have_a_higher_loss_than_separated_ones(name):
    """All tracks are equal, or those of one artist are equal and orthogonal to the others."""
    loss = make_loss(name, margin=MARGIN, temperature=TEMPERATURE)
    collapsed = np.ones((3, 2, 4), np.float32) / 2
    separated = np.repeat(np.eye(3, 4, dtype=np.float32)[:, None], 2, axis=1)
    artists = np.arange(3, dtype=np.float32)
    assert float(loss(artists, collapsed)) > float(loss(artists, separated)) + 0.2


def test_nearest_by_other_artist_counts_tracks():
    # Track 0 of the first anchor is nearest to its own positive, and track 1 to the other artist.
    angles = np.deg2rad([[0.0, 20.0], [35.0, 90.0]])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    metric = nearest_by_other_artist()
    artists = np.array([0, 1], np.float32)
    found = keras.ops.convert_to_numpy(metric(artists, keras.ops.convert_to_tensor(embeddings)))
    assert found.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("tracks", [2, 3])
def test_model_groups_unit_embeddings_by_anchor(tracks):
    encoder = build_encoder()
    model = build_in_batch(encoder, mean=0.2, std=0.25)
    segments = np.random.default_rng(0).random((3, tracks, 129, 128), np.float32)
    expected = encoder.predict_on_batch((segments[:, 1] - 0.2) / 0.25)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = model.predict_on_batch(segments)
    assert found.shape == (3, tracks, 256)
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-5)


def test_model_of_the_joint_loss_appends_the_logits_of_all_artists():
    encoder = build_encoder()
    model = build_in_batch(encoder, artists=5, mean=0.2, std=0.25)
    segments = np.random.default_rng(0).random((3, 2, 129, 128), np.float32)
    expected = encoder.predict_on_batch((segments[:, 1] - 0.2) / 0.25)
    found = model.predict_on_batch(segments)
    assert found.shape == (3, 2, 256 + 5)
    np.testing.assert_allclose(np.linalg.norm(found[..., :256], axis=-1), 1, atol=1e-5)
    kernel, bias = model.get_layer("classes").get_weights()
    np.testing.assert_allclose(found[:, 1, 256:], expected @ kernel + bias, atol=1e-5)
