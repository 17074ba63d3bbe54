"""Test PLDA against explicit joint Gaussian densities and against known models."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from common.errors import InputError
from recognition.plda import PLDA


def random_model(rng, d):
    roots = rng.normal(size=(2, d, d))
    return PLDA(rng.normal(size=d), *(root @ root.T + 0.3 * np.eye(d) for root in roots))


def sample(rng, model, counts):
    """Draw (vectors, artists) from a model: `counts` tracks per artist, in random order."""
    artists = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    y = rng.multivariate_normal(model.mean, model.between, len(counts))
    return y[artists] + rng.multivariate_normal(0 * model.mean, model.within, len(artists)), artists


def joint_covariance(model, n):
    return np.kron(np.ones((n, n)), model.between) + np.kron(np.eye(n), model.within)


def log_density(model, vectors):
    """Compute the joint log density of n tracks by one artist."""
    n = len(vectors)
    mean = np.tile(model.mean, n)
    return multivariate_normal.logpdf(vectors.ravel(), mean, joint_covariance(model, n))


def assert_close(model, other, **tolerance):
    for name in ("mean", "between", "within"):
        np.testing.assert_allclose(getattr(model, name), getattr(other, name), **tolerance)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_score_is_the_log_ratio_of_joint_densities(count):
    rng = np.random.default_rng(count)
    model = random_model(rng, 3)
    enrolment, tests = rng.normal(size=(4, count, 3)) * 2, rng.normal(size=(6, 3)) * 2
    expected = [
        [
            log_density(model, np.vstack([vectors, test]))
            - log_density(model, vectors)
            - log_density(model, test[None])
            for test in tests
        ]
        for vectors in enrolment
    ]
    scores = model.score(enrolment.mean(axis=1), count, tests)
    np.testing.assert_allclose(scores, expected, atol=1e-8)


def test_score_is_zero_if_artists_do_not_differ():
    model = PLDA(np.zeros(2), np.zeros((2, 2)), np.eye(2))
    np.testing.assert_allclose(model.score(np.ones((2, 2)), 5, np.ones((3, 2))), np.zeros((2, 3)))


def expected_em_step(model, vectors, artists):
    """Run one EM iteration using the joint density of each artist's tracks."""
    names = np.unique(artists)
    means, covariances = [], []
    for name in names:
        own = vectors[artists == name]
        with_y = np.tile(model.between, (1, len(own)))
        regression = with_y @ np.linalg.inv(joint_covariance(model, len(own)))
        means.append(model.mean + regression @ (own - model.mean).ravel())
        covariances.append(model.between - regression @ with_y.T)
    mean = np.mean(means, axis=0)
    between = np.cov(np.transpose(means), bias=True) + np.mean(covariances, axis=0)
    within = np.zeros_like(between)
    for x, artist in zip(vectors, artists, strict=True):
        i = np.searchsorted(names, artist)
        within += np.outer(x - means[i], x - means[i]) + covariances[i]
    return PLDA(mean, between, within / len(vectors))


def test_em_step_matches_the_joint_density():
    rng = np.random.default_rng(4)
    tracks = sample(rng, random_model(rng, 3), [1, 2, 5, 4, 3, 3])
    expected = PLDA.fit(*tracks, iterations=0)
    for iterations in (1, 2, 3):
        expected = expected_em_step(expected, *tracks)
        assert_close(PLDA.fit(*tracks, iterations=iterations), expected, atol=1e-8)


def test_fit_and_score_work_with_fewer_artists_than_dimensions():
    rng = np.random.default_rng(7)
    truth = PLDA(np.zeros(8), 9 * np.eye(8), np.eye(8))
    vectors, artists = sample(rng, truth, [20] * 4)
    model = PLDA.fit(vectors, artists)
    assert np.linalg.matrix_rank(model.between, tol=1e-6) < 8
    means = np.stack([vectors[artists == artist].mean(axis=0) for artist in range(4)])
    assert (np.argmax(model.score(means, 20, vectors), axis=0) == artists).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, a: (x, np.arange(9)), r"each of the 9 artists has only one track.*; train on"),
        (lambda x, a: (x, np.zeros(9)), "all tracks are by one artist; train"),
        (lambda x, a: (x[:5], [0, 0, 1, 1, 2]), r"5 tracks of 3 artists .* only 2 of 3 .* LDA"),
        (lambda x, a: (x[:, [0, 1, 2, 2]], a), "in only 3 of 4 dimensions"),
        (lambda x, a: (x * 0, a), "in only 0 of 3 dimensions"),
        (lambda x, a: (x, a[1:]), r"9 rows of features but labels of shape \(8,\)"),
        (lambda x, a: (x, [None, *a[1:]]), "1 of 9 tracks have no label"),
        (lambda x, a: (x * np.nan, a), "training vectors: 9 of 9 rows"),
    ],
)
def test_fit_rejects_unusable_tracks(change, message):
    rng = np.random.default_rng(9)
    tracks = sample(rng, random_model(rng, 3), [4, 3, 2])
    with pytest.raises(InputError, match=message):
        PLDA.fit(*change(*tracks))


def test_score_rejects_vectors_with_nan():
    model, vectors = random_model(np.random.default_rng(10), 3), np.ones((4, 3))
    with pytest.raises(InputError, match="enrolment vectors: 4 of 4 rows"):
        model.score(vectors * np.nan, 1, vectors)
