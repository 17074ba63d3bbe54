"""Tests of k-NN against exact rankings, of linear softmax against a plain loop, and of metrics."""

import math
from collections import Counter

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.errors import InputError
from evaluation.classification import (
    f1_by_class,
    fit_softmax,
    knn_predict,
    linear_softmax,
    log_loss,
)
from tests.evaluation import exact_ranking

FIXED = settings(derandomize=True, deadline=None, max_examples=100)

# ---------------------------------------------------------------- metrics

LABELS = ["rock", "folk", "Björk", "a"]  # deliberately unsorted


@st.composite
def predictions(draw):
    """Draw (probabilities (n, 4) float32, true labels)."""
    n = draw(st.integers(1, 12))
    logits = draw(arrays.arrays(np.float64, (n, 4), elements=st.floats(-40, 0)))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = draw(st.lists(st.sampled_from(LABELS), min_size=n, max_size=n))
    return probabilities.astype(np.float32), truth


@FIXED
@given(predictions())
def test_log_loss_matches_the_explicit_sum_and_scikit_learn(case):
    probabilities, truth = case
    loss = log_loss(probabilities, truth, LABELS)
    costs = []
    for row, label in zip(probabilities, truth, strict=True):
        costs.append(-math.log(min(max(float(row[LABELS.index(label)]), 2**-23), 1 - 2**-23)))
    assert loss == pytest.approx(sum(costs) / len(costs), rel=1e-9)
    order = sorted(range(4), key=LABELS.__getitem__)
    theirs = sklearn.metrics.log_loss(truth, probabilities[:, order], labels=sorted(LABELS))
    assert loss == pytest.approx(theirs, rel=1e-5, abs=1e-7)


def test_log_loss_rejects_incompatible_inputs():
    for truth, classes in ((["a"], ["a", "b"]), (["a", "b"], ["a"]), (["a", "c"], ["a", "b"])):
        with pytest.raises(InputError, match="labels and probabilities of shape"):
            log_loss([[0.5, 0.5]] * 2, truth, classes)


@FIXED
@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1))
def test_f1_matches_counts(pairs):
    predicted, truth = zip(*pairs, strict=True)
    expected = {}
    for label in sorted({*predicted, *truth}):
        hits = sum(p == t == label for p, t in pairs)
        expected[label] = 2 * hits / (predicted.count(label) + truth.count(label))
    scores = f1_by_class(predicted, truth)
    assert scores == pytest.approx(expected) and list(scores) == list(expected)


# ---------------------------------------------------------------- k-NN


def recomputed_knn(train_x, train_y, query, k):
    nearest = [train_y[row] for row in exact_ranking.ranking(query, train_x)[:k]]
    votes = Counter(nearest)
    return min(votes, key=lambda label: (-votes[label], nearest.index(label)))


@st.composite
def training_and_test_tracks(draw):
    """Draw integer features with many ties and duplicates, few distinct labels, and k."""
    d = draw(st.integers(1, 3))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d)
    train_x = draw(st.lists(row, min_size=1, max_size=12))
    n = len(train_x)
    train_y = draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    test_x = draw(st.lists(row, min_size=1, max_size=6))
    return train_x, train_y, test_x, draw(st.integers(1, n))


@FIXED
@given(training_and_test_tracks())
def test_knn_matches_exact_rankings(case):
    train_x, train_y, test_x, k = case
    expected = [recomputed_knn(train_x, train_y, query, k) for query in test_x]
    assert list(knn_predict(train_x, train_y, test_x, k)) == expected


def test_knn_uses_twenty_neighbours_by_default():
    # Of the 20 nearest tracks, 10 are a, 10 are b, and the nearest is b. Of 19 or 21, most are a.
    labels = ["b"] + ["a"] * 10 + ["b"] * 9 + ["a"]
    train_x = [[1.0, row / 10] for row in range(len(labels))]
    assert list(knn_predict(train_x, labels, [[1.0, 0.0]])) == ["b"]
    for k in (19, 21):
        assert list(knn_predict(train_x, labels, [[1.0, 0.0]], k=k)) == ["a"]


# ---------------------------------------------------------------- linear softmax

PAPER = {"epochs": 1000, "patience": 8, "batch_size": 16}
PAPER |= {"learning_rate": 0.01, "momentum": 0.9, "decay": 1e-6}


def make_subsets(counts=(53, 30, 60), classes=3, d=6, spread=2.0, seed=0):
    """Return (features, labels) per subset: one Gaussian per class, each column on its own scale.

    The classes are named by letters.
    """
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, d))
    subsets = []
    for n in counts:
        y = np.arange(n) % classes
        x = centres[y] + spread * random.normal(size=(n, d))
        subsets.append((x * np.arange(1, d + 1) + 5, np.array(list("abcdefgh"))[y]))
    return subsets


def train_one_track_at_a_time(
    train, valid, generator, *, epochs, patience, batch_size, learning_rate, momentum, decay
):
    """Run one trial as a plain loop, and return (best kernel, best bias), last kernel, epochs."""
    (x, y), (valid_x, valid_y) = train, valid
    d, classes = x.shape[1], max(y) + 1
    limit = (6 / (d + classes)) ** 0.5
    kernel, bias = generator.uniform(-limit, limit, (d, classes)), np.zeros(classes)
    velocity, bias_velocity = np.zeros((d, classes)), np.zeros(classes)
    best, best_loss, wait, epoch, t = None, float("inf"), 0, 0, 0

    def probabilities(track):
        scores = np.exp(track @ kernel + bias)
        return scores / scores.sum()

    while epoch < epochs and wait < patience:
        epoch += 1
        order = list(generator.permutation(len(x)))
        while order:
            batch, order = order[:batch_size], order[batch_size:]
            slope, bias_slope = np.zeros((d, classes)), np.zeros(classes)
            for i in batch:
                error = probabilities(x[i]) - (np.arange(classes) == y[i])
                slope += np.outer(x[i], error) / len(batch)
                bias_slope += error / len(batch)
            rate = learning_rate / (1 + decay * t)
            velocity = momentum * velocity - rate * slope
            bias_velocity = momentum * bias_velocity - rate * bias_slope
            kernel = kernel + momentum * velocity - rate * slope
            bias = bias + momentum * bias_velocity - rate * bias_slope
            t += 1
        losses = [-np.log(probabilities(s)[c]) for s, c in zip(valid_x, valid_y, strict=True)]
        loss = sum(losses) / len(losses)
        if loss < best_loss:
            best, best_loss, wait = (kernel, bias), loss, 0
        else:
            wait += 1
    return best, kernel, epoch


def standardise(*subsets):
    """Standardise by the first subset's scalar mean and deviation, and encode the labels."""
    mean, deviation = subsets[0][0].mean(), subsets[0][0].std()
    return [((x - mean) / deviation, np.unique(y, return_inverse=True)[1]) for x, y in subsets]


def with_ones(x):
    return np.hstack([x, np.ones((len(x), 1))])


# The decay is far above the paper's 1e-6, which would have almost no effect in so few steps.
@pytest.mark.parametrize("changed", [{}, {"decay": 0.01}, {"epochs": 3}, {"batch_size": 7}])
def test_softmax_weights_match_a_plain_loop(changed):
    train, valid = standardise(*make_subsets()[:2])
    (kernel, bias), last, epochs = train_one_track_at_a_time(
        train, valid, np.random.default_rng(4), **PAPER | changed
    )
    weights, epochs_run = fit_softmax(
        (with_ones(train[0]), train[1]),
        (with_ones(valid[0]), valid[1]),
        [np.random.default_rng(4)],
        **changed,
    )
    assert list(epochs_run) == [epochs]
    np.testing.assert_allclose(weights[0, :-1], kernel, rtol=0, atol=1e-10)
    np.testing.assert_allclose(weights[0, -1], bias, rtol=0, atol=1e-10)
    if "epochs" not in changed:  # training stopped early, so the last weights are not the best
        assert epochs < PAPER["epochs"]
        assert np.abs(weights[0, :-1] - last).max() > 1e-3


def test_linear_softmax_matches_a_plain_loop():
    subsets = make_subsets()
    found = linear_softmax(*subsets, trials=3, seed=7)
    train, valid, (test_x, test_y) = standardise(*subsets)
    for trial in range(3):
        generator = np.random.default_rng(np.random.SeedSequence([7, trial]))
        (kernel, bias), _, epochs = train_one_track_at_a_time(train, valid, generator, **PAPER)
        predicted = np.argmax(test_x @ kernel + bias, axis=1)
        assert found.accuracies[trial] == np.mean(predicted == test_y)
        assert found.epochs[trial] == epochs


def test_linear_softmax_depends_on_the_seed_but_not_on_the_number_of_trials():
    subsets = make_subsets((53, 30, 200))
    default, few = linear_softmax(*subsets), linear_softmax(*subsets, trials=3)
    assert default.accuracies.shape == (10,)
    np.testing.assert_array_equal(default.accuracies[:3], few.accuracies)
    np.testing.assert_array_equal(default.epochs[:3], few.epochs)
    assert len(set(default.epochs)) > 1 and len(set(default.accuracies)) > 1
    assert (default.accuracies != linear_softmax(*subsets, seed=2).accuracies).any()


def test_linear_softmax_counts_unseen_test_labels_as_errors():
    train, valid, (test_x, test_y) = make_subsets((90, 30, 60), spread=0.05)
    test_y = np.where(np.arange(60) < 15, "new", test_y)
    result = linear_softmax(train, valid, (test_x, test_y))
    np.testing.assert_array_equal(result.accuracies, np.full(10, 0.75))


def test_linear_softmax_ignores_validation_tracks_with_unseen_labels():
    train, (valid_x, valid_y), test = make_subsets()
    known = np.arange(30) % 3 != 1
    with_new = linear_softmax(train, (valid_x, np.where(known, valid_y, "new")), test, trials=2)
    without = linear_softmax(train, (valid_x[known], valid_y[known]), test, trials=2)
    np.testing.assert_array_equal(with_new.correct, without.correct)
    np.testing.assert_array_equal(with_new.epochs, without.epochs)


@pytest.mark.parametrize(
    ("place", "subset", "message"),
    [
        (0, ([[1.0], [np.nan]], ["a", "b"]), "train subset: 1 of 2 .*row 1; extract them again"),
        (1, (np.zeros((0, 6)), []), "valid subset: no features.*split"),
        (2, (np.eye(3), ["a", "b"]), "test subset: 3 rows.*one label per row"),
        (0, (np.eye(6), ["a"] * 6), "every track has the label a,"),
        (0, (np.full((2, 6), 2.0), ["a", "b"]), "every feature is 2; extract them again"),
        (1, (np.eye(6), ["new"] * 6), "valid subset: no track has a label of the train"),
    ],
)
def test_linear_softmax_names_the_unusable_subset(place, subset, message):
    subsets = make_subsets((12, 6, 6))
    subsets[place] = subset
    with pytest.raises(InputError, match=message):
        linear_softmax(*subsets)
