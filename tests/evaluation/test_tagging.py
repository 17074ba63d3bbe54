"""Tests of tag metrics against exact counts, and of classifiers on synthetic data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from evaluation import tagging
from evaluation.tagging import predict_tags, score_tags, transfer_accuracies

FIXED = settings(derandomize=True, deadline=None, max_examples=20)

# ---------------------------------------------------------------- metrics


def counted_auc(scores, tags):
    """Count how often a track with the tag scores above one without it; ties count half."""
    pairs = [
        (with_it > without) + 0.5 * (with_it == without)
        for with_it in scores[tags == 1]
        for without in scores[tags == 0]
    ]
    return np.mean(pairs)


@FIXED
@given(st.integers(0, 10_000))
def test_auc_matches_pair_counts(seed):
    random = np.random.default_rng(seed)
    tags = random.integers(0, 2, (12, 3))
    tags[:2] = [[0] * 3, [1] * 3]  # one track has no tags, and another has all of them
    scores = random.integers(0, 6, (12, 3)) / 5
    expected = [counted_auc(scores[:, i], tags[:, i]) for i in range(3)]
    np.testing.assert_allclose(score_tags(scores, tags)[0], expected)


def test_average_precision_of_known_rankings():
    """The last two tags, which apply to no track and to every track, have no scores."""
    scores = np.repeat([[4.0], [3.0], [2.0], [1.0]], 4, axis=1)
    tags = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    auc, precision = score_tags(scores, tags)
    np.testing.assert_allclose(precision, [1, (1 + 2 / 3) / 2, np.nan, np.nan])
    np.testing.assert_allclose(auc, [1, 0.75, np.nan, np.nan])


def test_score_tags_rejects_tags_without_contrast():
    with pytest.raises(InputError, match="none of 2 tags is on some test tracks"):
        score_tags(np.eye(2), [[0, 1], [0, 1]])


# ---------------------------------------------------------------- tags


def tagged(n, seed, d=6, tags=4):
    """Return features, and tags that are signs of noisy linear combinations of the features."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, d)) * 10.0 ** np.arange(d)
    rule = np.random.default_rng(9).normal(size=(d, tags)) / 10.0 ** np.arange(d)[:, None]
    return features, (features @ rule + 0.3 * random.normal(size=(n, tags)) > 0).astype(np.float32)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(tagging, "HIDDEN", (16, 16))
    monkeypatch.setattr(tagging, "NETWORKS", ((8,), (16,)))


def test_tag_network_learns_predictable_tags_and_depends_on_the_seed(monkeypatch):
    monkeypatch.setattr(tagging, "EPOCHS", 60)
    train, valid, (test_x, test_y) = tagged(300, 0), tagged(100, 1), tagged(200, 2)
    found, again, other = (predict_tags(train, valid, test_x, seed=seed) for seed in (1, 1, 2))
    assert found.shape == (200, 4) and found.dtype == np.float64
    assert found.min() >= 0 and found.max() <= 1
    assert score_tags(found, test_y)[0].mean() > 0.9
    np.testing.assert_array_equal(found, again)
    assert np.abs(found - other).max() > 1e-3


def test_early_stopping_restores_the_best_weights(monkeypatch):
    # With inverted validation tags, the validation loss increases from the first epoch onwards.
    train, (valid_x, valid_y), (test_x, _) = tagged(300, 0), tagged(100, 1), tagged(50, 2)
    found = []
    for epochs, patience in ((1, 8), (40, 40), (10**6, 8)):
        monkeypatch.setattr(tagging, "EPOCHS", epochs)
        monkeypatch.setattr(tagging, "PATIENCE", patience)
        found.append(predict_tags(train, (valid_x, 1 - valid_y), test_x))
    np.testing.assert_array_equal(found, found[:1] * 3)


def test_tracks_are_shuffled_every_epoch(monkeypatch):
    # Each epoch has several batches, so the order of the tracks matters.
    train, valid, (test_x, _) = tagged(450, 0), tagged(100, 1), tagged(10, 2)
    orders = []

    class Watched(tagging.MLPClassifier):
        def _fit_stochastic(self, *arguments, **named):
            orders.append(self._random_state.get_state()[2])
            return super()._fit_stochastic(*arguments, **named)

    monkeypatch.setattr(tagging, "MLPClassifier", Watched)
    monkeypatch.setattr(tagging, "EPOCHS", 3)
    predict_tags(train, valid, test_x)
    assert len(set(orders)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": (np.ones((4, 4)), np.eye(4)[:, :2])}, "all features are the same"),
        ({"test_x": np.full((1, 4), np.nan)}, "test subset: 1 of 1 rows"),
        ({"valid": (np.zeros((0, 4)), np.zeros((0, 2)))}, "valid subset: no features"),
    ],
)
def test_predict_tags_rejects_invalid_features(change, message):
    good = (np.eye(4), np.eye(4)[:, :2])
    with pytest.raises(InputError, match=message):
        predict_tags(**{"train": good, "valid": good, "test_x": np.eye(4)} | change)


# ---------------------------------------------------------------- genre


def genres(n, seed, classes=3, d=4, spread=0.3):
    random = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    centres = np.random.default_rng(5).normal(size=(classes, d)) * 100
    names = np.array(["blues", "jazz", "metal"])[codes]
    return centres[codes] + 100 * spread * random.normal(size=(n, d)), names


def ring(n, seed):
    """Return two genres, one enclosing the other, so that no line separates them."""
    random = np.random.default_rng(seed)
    angle, inner = random.uniform(0, 2 * np.pi, n), np.arange(n) % 2 == 0
    radius = np.where(inner, 1, 3) + 0.2 * random.normal(size=n)
    features = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return features, np.where(inner, "in", "out")


def test_transfer_selects_by_validation_accuracy():
    found = transfer_accuracies(ring(200, 0), ring(100, 1), ring(100, 2))
    assert found["neural network"] > 0.9 and found["logistic regression"] < 0.8
    assert found["best"] == found["neural network"]


def test_transfer_counts_unseen_test_labels_as_errors():
    train, (valid_x, valid_y), (test_x, test_y) = (genres(90, seed) for seed in range(3))
    plain = transfer_accuracies(train, (valid_x, valid_y), (test_x[45:], test_y[45:]))
    assert list(plain) == ["logistic regression", "neural network", "best"]
    assert min(plain.values()) > 0.9
    test_y[:45] = "rap"
    more_valid = np.vstack([valid_x, valid_x[:3]]), np.append(valid_y, ["rap"] * 3)
    found = transfer_accuracies(train, more_valid, (test_x, test_y))
    assert found == {name: value / 2 for name, value in plain.items()}
