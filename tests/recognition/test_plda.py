"""PLDA against joint Gaussian densities written out, and against what made the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from common.errors import InputError
from recognition.plda import PLDA

FIXED = settings(deadline=None, derandomize=True, max_examples=20)


def covariance(rng, d):
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.3 * np.eye(d)


def made_up_model(rng, d):
    return PLDA(rng.normal(size=d), covariance(rng, d), covariance(rng, d))


def made_up_songs(rng, model, counts):
    """(vectors, artists) drawn from a model, `counts` songs of each artist, shuffled."""
    artists = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    y = rng.multivariate_normal(model.mean, model.between, len(counts))
    return y[artists] + rng.multivariate_normal(0 * model.mean, model.within, len(artists)), artists


def joint(model, n):
    """Covariance of n songs of one artist, end to end."""
    return np.kron(np.ones((n, n)), model.between) + np.kron(np.eye(n), model.within)


def density(model, songs):
    """Logarithm of the joint density of songs (n, d) of one artist."""
    n = len(songs)
    return multivariate_normal.logpdf(songs.ravel(), np.tile(model.mean, n), joint(model, n))


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_score_is_the_ratio_of_joint_densities(count):
    rng = np.random.default_rng(count)
    model = made_up_model(rng, 3)
    enrolled, tests = rng.normal(size=(4, count, 3)) * 2, rng.normal(size=(6, 3)) * 2
    expected = [
        [
            density(model, np.vstack([songs, test]))
            - density(model, songs)
            # the test song by another artist
            - density(model, test[None])
            for test in tests
        ]
        for songs in enrolled
    ]
    scores = model.score(enrolled.mean(axis=1), count, tests)
    np.testing.assert_allclose(scores, expected, atol=1e-8)


def test_each_artist_may_have_its_own_number_of_songs():
    rng = np.random.default_rng(0)
    model = made_up_model(rng, 4)
    enrolment, tests = rng.normal(size=(5, 4)), rng.normal(size=(7, 4))
    counts = np.array([1, 15, 2, 15, 400])
    expected = np.vstack(
        [model.score(e[None], n, tests) for e, n in zip(enrolment, counts, strict=True)]
    )
    np.testing.assert_allclose(model.score(enrolment, counts, tests), expected, atol=1e-10)
    np.testing.assert_allclose(
        model.score(enrolment[::-1], counts[::-1], tests[::-1]), expected[::-1, ::-1], atol=1e-10
    )


def test_one_song_against_one_is_symmetric():
    rng = np.random.default_rng(1)
    model, songs = made_up_model(rng, 3), rng.normal(size=(6, 3))
    scores = model.score(songs, 1, songs)
    np.testing.assert_allclose(scores, scores.T, atol=1e-10)


def test_scores_survive_a_change_of_coordinates():
    rng = np.random.default_rng(2)
    model, turn = made_up_model(rng, 3), rng.normal(size=(3, 3))
    songs = rng.normal(size=(6, 3))
    turned = PLDA(model.mean @ turn, turn.T @ model.between @ turn, turn.T @ model.within @ turn)
    np.testing.assert_allclose(
        turned.score(songs @ turn, 3, songs @ turn), model.score(songs, 3, songs), atol=1e-8
    )


def test_artists_who_do_not_differ_cannot_be_told_apart():
    model = PLDA(np.zeros(2), np.zeros((2, 2)), np.eye(2))
    np.testing.assert_allclose(model.score(np.ones((2, 2)), 5, np.ones((3, 2))), np.zeros((2, 3)))


def test_verification_of_made_up_artists():
    rng = np.random.default_rng(3)
    truth = PLDA(np.zeros(5), 4 * np.eye(5), np.eye(5))
    model = PLDA.fit(*made_up_songs(rng, truth, [10] * 100))
    songs, artists = made_up_songs(rng, truth, [6] * 30)
    rows = np.stack([np.flatnonzero(artists == artist) for artist in range(30)])
    scores = model.score(songs[rows[:, :5]].mean(axis=1), 5, songs[rows[:, 5]])
    target = np.eye(30, dtype=bool)
    assert np.mean(scores[target] > 0) > 0.9
    assert np.mean(scores[~target] < 0) > 0.9


# ---------------------------------------------------------------- training


def written_out_step(model, vectors, artists):
    """One iteration of EM with each artist's songs end to end."""
    names = np.unique(artists)
    means, covariances = [], []
    for name in names:
        songs = vectors[artists == name]
        with_y = np.tile(model.between, (1, len(songs)))
        backwards = with_y @ np.linalg.inv(joint(model, len(songs)))
        means.append(model.mean + backwards @ (songs - model.mean).ravel())
        covariances.append(model.between - backwards @ with_y.T)
    mean = np.mean(means, axis=0)
    between = np.mean(
        [np.outer(y - mean, y - mean) + v for y, v in zip(means, covariances, strict=True)], axis=0
    )
    within = np.zeros_like(between)
    for x, artist in zip(vectors, artists, strict=True):
        i = np.searchsorted(names, artist)
        within += np.outer(x - means[i], x - means[i]) + covariances[i]
    return PLDA(mean, between, within / len(vectors))


def assert_same(one, other, **tolerance):
    for name in ("mean", "between", "within"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), **tolerance)


def test_an_iteration_is_the_written_out_one():
    rng = np.random.default_rng(4)
    songs = made_up_songs(rng, made_up_model(rng, 3), [1, 2, 5, 4, 3, 3])
    model = PLDA.fit(*songs, iterations=0)
    for iterations in (1, 2, 3):
        model = written_out_step(model, *songs)
        assert_same(PLDA.fit(*songs, iterations=iterations), model, atol=1e-8)


def test_the_likelihood_is_the_joint_density():
    rng = np.random.default_rng(5)
    model = made_up_model(rng, 3)
    vectors, artists = made_up_songs(rng, model, [1, 2, 5, 4])
    expected = sum(density(model, vectors[artists == artist]) for artist in range(4))
    assert model.log_likelihood(vectors, artists) == pytest.approx(expected, abs=1e-8)


@FIXED
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.lists(st.integers(1, 6), min_size=2))
def test_the_likelihood_never_falls(seed, d, counts):
    rng = np.random.default_rng(seed)
    counts = [*counts, d + 2]  # enough songs around one artist's mean
    songs = rng.normal(size=(sum(counts), d)) * rng.uniform(0.1, 9, d) + rng.normal(size=d)
    artists = np.repeat(np.arange(len(counts)), counts)
    songs += rng.normal(size=(len(counts), d))[artists] * rng.uniform(0, 5)
    found = [
        PLDA.fit(songs, artists, iterations=i).log_likelihood(songs, artists) for i in range(9)
    ]
    assert (np.diff(found) >= -1e-8 * np.maximum(1, np.abs(found[1:]))).all()


def test_training_recovers_what_made_the_songs():
    rng = np.random.default_rng(6)
    truth = made_up_model(rng, 3)
    songs = made_up_songs(rng, truth, rng.integers(1, 15, 3000))
    model = PLDA.fit(*songs, iterations=30)
    assert_same(model, truth, atol=0.08 * np.abs(truth.between).max())
    assert np.linalg.norm(model.within - truth.within) < 0.03 * np.linalg.norm(truth.within)
    assert model.log_likelihood(*songs) > truth.log_likelihood(*songs)


def test_fewer_artists_than_dimensions_train_and_score():
    rng = np.random.default_rng(7)
    truth = PLDA(np.zeros(8), 9 * np.eye(8), np.eye(8))
    songs, artists = made_up_songs(rng, truth, [20] * 4)
    model = PLDA.fit(songs, artists)
    assert np.linalg.matrix_rank(model.between, tol=1e-6) < 8
    means = np.stack([songs[artists == artist].mean(axis=0) for artist in range(4)])
    assert (np.argmax(model.score(means, 20, songs), axis=0) == artists).all()


def test_the_order_and_names_of_songs_do_not_matter():
    rng = np.random.default_rng(8)
    songs, artists = made_up_songs(rng, made_up_model(rng, 3), [4, 2, 5, 4, 3])
    model, order = PLDA.fit(songs, artists), rng.permutation(len(songs))
    names = np.array(["e", "b", "x", "a", "Ω"], dtype=object)[artists]
    assert_same(PLDA.fit(songs[order], names[order]), model, atol=1e-10)


def test_what_cannot_be_trained_is_refused():
    rng = np.random.default_rng(9)
    songs, artists = made_up_songs(rng, made_up_model(rng, 3), [4, 3, 2])
    with pytest.raises(InputError, match=r"each of the 9 artists has one song.*; train it on"):
        PLDA.fit(songs, np.arange(9))
    with pytest.raises(InputError, match="all songs are by one artist; train"):
        PLDA.fit(songs, np.zeros(9))
    with pytest.raises(InputError, match=r"5 songs of 3 artists .* only 2 of 3 .*; reduce .* LDA"):
        PLDA.fit(songs[:5], [0, 0, 1, 1, 2])
    with pytest.raises(InputError, match="in only 3 of 4 dimensions"):
        PLDA.fit(songs[:, [0, 1, 2, 2]], artists)
    with pytest.raises(InputError, match="in only 0 of 3 dimensions"):
        PLDA.fit(songs * 0, artists)
    with pytest.raises(InputError, match=r"9 vectors but artists of shape \(8,\)"):
        PLDA.fit(songs, artists[1:])
    with pytest.raises(InputError, match="give each song its artist"):
        PLDA.fit(songs, [None, *artists[1:]])
    broken = songs.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match=r"training vectors: 1 of 9 rows .* row 2; extract"):
        PLDA.fit(broken, artists)


def test_what_cannot_be_scored_is_refused():
    rng = np.random.default_rng(10)
    model, songs = made_up_model(rng, 3), rng.normal(size=(4, 3))
    with pytest.raises(InputError, match="test vectors of 2 dimensions for a model of 3; extract"):
        model.score(songs, 1, songs[:, :2])
    with pytest.raises(InputError, match="enrolment vectors: 4 of 4 rows of features have NaN"):
        model.score(songs * np.nan, 1, songs)
    for counts in (0, [1, 2], [1, 2, 3, np.nan]):
        with pytest.raises(InputError, match="each of the 4 enrolled artists"):
            model.score(songs, counts, songs)
    with pytest.raises(InputError, match="is singular; train it again"):
        PLDA(np.zeros(3), np.eye(3), np.zeros((3, 3))).score(songs, 1, songs)
