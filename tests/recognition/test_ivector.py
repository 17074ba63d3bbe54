"""i-vectors against the supervector Gaussian written out, and against what made the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from common.errors import InputError
from recognition import ivector
from recognition.ivector import (
    TotalVariability,
    Whitening,
    em_step,
    fit_total_variability,
    length_normalise,
)

FIXED = settings(deadline=None, derandomize=True, max_examples=20)


def made_up_ubm(rng, k, d):
    return rng.normal(size=(k, d)), rng.uniform(0.5, 2, (k, d))


def made_up_songs(rng, means, variances, matrix, songs):
    """Statistics as the model has them: N frames a mixture, around m + T w."""
    k, d, rank = matrix.shape
    zeroth = rng.uniform(1, 30, (songs, k))
    w = rng.normal(size=(songs, rank))
    frames = means + np.einsum("cdr,sr->scd", matrix, w)
    noise = rng.normal(size=(songs, k, d)) * np.sqrt(variances / zeroth[..., None])
    return zeroth, zeroth[..., None] * (frames + noise)


def case(seed=0, songs=12, k=3, d=2, rank=2):
    """A model, and the statistics of songs that another one made."""
    rng = np.random.default_rng(seed)
    means, variances = made_up_ubm(rng, k, d)
    statistics = made_up_songs(rng, means, variances, rng.normal(size=(k, d, rank)), songs)
    return TotalVariability(rng.normal(size=(k, d, rank)), means, variances), *statistics


def explicit(model, counts, first):
    """(mean, covariance, gain) of one song: its mean supervector is N(0, T T' + S / N)."""
    t = model.matrix.reshape(-1, model.matrix.shape[-1])
    n = np.repeat(counts, model.means.shape[1])
    noise = np.diag(model.variances.ravel() / n)
    average = first.ravel() / n - model.means.ravel()
    marginal = t @ t.T + noise
    backwards = t.T @ np.linalg.inv(marginal)
    zero = np.zeros(len(average))
    gain = multivariate_normal.logpdf(average, zero, marginal)
    gain -= multivariate_normal.logpdf(average, zero, noise)
    return backwards @ average, np.eye(t.shape[1]) - backwards @ t, gain


@pytest.mark.parametrize("block", [1, 10, 2**25])
def test_the_e_step_is_that_of_the_supervectors_gaussian(monkeypatch, block):
    monkeypatch.setattr(ivector, "_BLOCK_CELLS", block)  # of one song, of several, of all
    model, zeroth, first = case()
    means, covariances, gains = zip(*map(explicit, [model] * 12, zeroth, first), strict=True)
    np.testing.assert_allclose(model.transform(zeroth, first), means, atol=1e-10)
    blocks = list(ivector._posteriors(model, zeroth, first, moments=True))
    expected = np.array(covariances) + np.einsum("si,sj->sij", means, means)
    moments = np.concatenate([each.moment for each in blocks])
    np.testing.assert_allclose(moments, expected[:, *np.tril_indices(2)], atol=1e-10)
    assert sum(each.gain for each in blocks) == pytest.approx(sum(gains), abs=1e-8)
    assert em_step(model, zeroth, first)[1] == pytest.approx(sum(gains), abs=1e-8)


@pytest.mark.parametrize("block", [1, 10, 2**25])
def test_the_m_step_is_the_written_out_one(monkeypatch, block):
    monkeypatch.setattr(ivector, "_BLOCK_CELLS", block)
    model, zeroth, first = case(1, k=4, d=3, rank=3)
    means, covariances, _ = zip(*map(explicit, [model] * 12, zeroth, first), strict=True)
    moments = [v + np.outer(w, w) for w, v in zip(means, covariances, strict=True)]
    expected = np.empty_like(model.matrix)
    for c in range(4):
        left = sum(n[c] * each for n, each in zip(zeroth, moments, strict=True))
        centred = first[:, c] - zeroth[:, c, None] * model.means[c]
        right = sum(np.outer(f, w) for f, w in zip(centred, means, strict=True))
        expected[c] = right @ np.linalg.inv(left)
    expected = expected @ np.linalg.cholesky(np.mean(moments, axis=0))
    better, _ = em_step(model, zeroth, first)
    np.testing.assert_allclose(better.matrix, expected, atol=1e-8)
    assert better.means is model.means
    assert better.variances is model.variances


@FIXED
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.data())
def test_the_likelihood_never_falls(seed, k, d, data):
    rank = data.draw(st.integers(1, k * d))
    songs = data.draw(st.integers(1, 15))
    rng = np.random.default_rng(seed)
    means, variances = made_up_ubm(rng, k, d)
    # Any statistics, not only the model's own; some mixtures see no frame of some songs.
    zeroth = rng.uniform(0, 50, (songs, k)) * rng.integers(0, 2, (songs, k))
    zeroth[:, 0] += 1
    first = zeroth[..., None] * (means + rng.normal(size=(songs, k, d)) * rng.uniform(0.1, 5))
    model, gains = fit_total_variability(
        zeroth, first, means, variances, dimensions=rank, iterations=12, seed=seed
    )
    assert np.isfinite(model.matrix).all()
    assert (np.diff(gains) >= -1e-9 * np.maximum(1, np.abs(gains[1:]))).all()


def test_minimum_divergence_leaves_songs_standard_normal():
    model, zeroth, first = case(3, songs=60)
    for _ in range(60):
        model, _ = em_step(model, zeroth, first)
    blocks = ivector._posteriors(model, zeroth, first, moments=True)
    second = np.concatenate([each.moment for each in blocks]).mean(axis=0)
    np.testing.assert_allclose(second, [1, 0, 1], atol=1e-3)


def test_training_recovers_what_made_the_songs():
    rng = np.random.default_rng(5)
    means, variances = made_up_ubm(rng, 3, 2)
    truth = rng.normal(size=(3, 2, 2))
    statistics = made_up_songs(rng, means, variances, truth, 4000)
    model, gains = fit_total_variability(
        *statistics, means, variances, dimensions=2, iterations=25, seed=1
    )
    # T is known up to a turn of w: what it makes of the supervectors' covariance is not.
    expected, found = (t.reshape(6, 2) @ t.reshape(6, 2).T for t in (truth, model.matrix))
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    _, at_truth = em_step(TotalVariability(truth, means, variances), *statistics)
    assert at_truth < gains[-1] < at_truth + 30  # 12 numbers more fitted than the truth has


def test_the_order_of_songs_and_mixtures_does_not_matter():
    model, zeroth, first = case(6, songs=30, k=5)
    songs, mixtures = np.random.default_rng(0).permutation(30), [4, 2, 0, 1, 3]
    better, gain = em_step(model, zeroth, first)
    shuffled = TotalVariability(*(each[mixtures] for each in vars(model).values()))
    statistics = zeroth[songs][:, mixtures], first[songs][:, mixtures]
    again, same_gain = em_step(shuffled, *statistics)
    np.testing.assert_allclose(again.matrix, better.matrix[mixtures], atol=1e-10)
    assert same_gain == pytest.approx(gain)
    np.testing.assert_allclose(
        again.transform(*statistics), better.transform(zeroth, first)[songs], atol=1e-10
    )


def test_training_is_the_seeds():
    model, zeroth, first = case(7)
    ubm = model.means, model.variances
    one, gains = fit_total_variability(zeroth, first, *ubm, dimensions=2, iterations=2, seed=1)
    same, _ = fit_total_variability(zeroth, first, *ubm, dimensions=2, iterations=2, seed=1)
    other, _ = fit_total_variability(zeroth, first, *ubm, dimensions=2, iterations=2, seed=2)
    np.testing.assert_array_equal(one.matrix, same.matrix)
    assert not np.allclose(one.matrix, other.matrix)
    assert gains.shape == (2,)


@pytest.mark.parametrize("stopped", [1, 4])
def test_training_goes_on_where_it_was_stopped(stopped):
    model, zeroth, first = case()
    kept, ubm = [], (model.means, model.variances)
    whole, gains = fit_total_variability(
        zeroth, first, *ubm, dimensions=2, iterations=4, after=lambda *both: kept.append(both)
    )
    again, other = fit_total_variability(
        zeroth, first, *ubm, dimensions=2, iterations=4, begun=kept[stopped - 1]
    )
    np.testing.assert_array_equal(again.matrix, whole.matrix)
    np.testing.assert_array_equal(other, gains)


def test_a_mixture_without_frames_changes_nothing():
    model, zeroth, first = case(8)
    zeroth[:, 1], first[:, 1] = 0, 0
    better, gain = em_step(model, zeroth, first)
    rest = [0, 2]
    without = TotalVariability(*(each[rest] for each in vars(model).values()))
    expected, same_gain = em_step(without, zeroth[:, rest], first[:, rest])
    np.testing.assert_allclose(better.matrix[rest], expected.matrix, atol=1e-10)
    assert np.isfinite(better.matrix[1]).all()
    assert gain == pytest.approx(same_gain)


def test_float32_statistics_are_enough():
    model, zeroth, first = case(9)
    halved = zeroth.astype(np.float32), first.astype(np.float32)
    vectors = model.transform(*halved)
    assert vectors.dtype == np.float64
    np.testing.assert_allclose(vectors, model.transform(zeroth, first), atol=1e-4)


def test_what_cannot_be_used_is_refused():
    model, zeroth, first = case()
    ubm = model.means, model.variances
    with pytest.raises(InputError, match=r"\(12, 3\) and \(12, 3, 1\) for a UBM .*; give"):
        model.transform(zeroth, first[:, :, :1])
    with pytest.raises(InputError, match=r"\(11, 3\) and \(12, 3, 2\)"):
        em_step(model, zeroth[1:], first)
    with pytest.raises(InputError, match="statistics of no song; check the subset"):
        model.transform(zeroth[:0], first[:0])
    for broken in (-1, np.nan, np.inf):
        counts = zeroth.copy()
        counts[4, 1] = broken
        with pytest.raises(InputError, match=r"1 of 12 songs have .* row 4; make them again"):
            model.transform(counts, first)
    empty = zeroth * (np.arange(12) != 5)[:, None]
    with pytest.raises(InputError, match="no frame, the first is row 5"):
        model.transform(empty, first)
    with pytest.raises(InputError, match="row 0; make them again"):
        model.transform(zeroth, first * np.nan)
    with pytest.raises(InputError, match="7 dimensions of 6 UBM means; take from 1 to 6"):
        fit_total_variability(zeroth, first, *ubm, dimensions=7)
    with pytest.raises(InputError, match="a variance not above zero; train it again"):
        fit_total_variability(zeroth, first, model.means, model.variances * 0, dimensions=2)
    with pytest.raises(InputError, match="means of shape"):
        fit_total_variability(zeroth, first, model.means[:2], model.variances, dimensions=2)


# ---------------------------------------------------------------- before scoring


def test_whitened_vectors_have_mean_zero_and_covariance_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 1e-3, 1] + 3
    whitening = Whitening.fit(x)
    white = whitening.transform(x)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), np.eye(4), atol=1e-6)
    np.testing.assert_allclose(whitening.matrix, whitening.matrix.T)
    np.testing.assert_allclose(whitening.transform(x[:7]), white[:7])
    np.testing.assert_allclose(
        Whitening.fit(np.array([[1.0], [3]])).transform([[2], [3]]), [[0], [1]]
    )


def test_whitening_of_what_spans_too_little_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(
        InputError, match=r"4 vectors of 6 .* only 3; take fewer dimensions or more"
    ):
        Whitening.fit(rng.normal(size=(4, 6)))
    with pytest.raises(InputError, match="only 0"):
        Whitening.fit(np.ones((9, 2)))
    doubled = rng.normal(size=(40, 3)).astype(np.float32)[:, [0, 1, 2, 2]]
    with pytest.raises(InputError, match="only 3"):
        Whitening.fit(doubled)
    with pytest.raises(InputError, match="2 dimensions, fitted to 3"):
        Whitening.fit(rng.normal(size=(9, 3))).transform(np.ones((1, 2)))


def test_length_normalised():
    np.testing.assert_allclose(length_normalise([[3, 4], [0, 0]]), [[0.6, 0.8], [0, 0]])


@pytest.mark.parametrize("function", [Whitening.fit, length_normalise])
def test_broken_vectors_are_refused(function):
    with pytest.raises(InputError, match=r"1 of 3 rows of features have NaN .* row 1; extract"):
        function([[1, 2], [np.nan, 1], [2, 3]])
    with pytest.raises(InputError, match=r"shape \(3,\); give"):
        function([1, 2, 3])
