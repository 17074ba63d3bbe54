"""Test i-vectors against explicit supervector Gaussians and against known models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from common.errors import InputError
from recognition import ivector
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector import (
    TotalVariability,
    Whitening,
    em_step,
    fit_total_variability,
    length_normalise,
)
from recognition.packed import PackedSymmetric

# These block sizes hold one, several or all tracks per block.
BLOCKS = pytest.mark.parametrize("block_cells", [1, 10, 2**25])


def random_ubm(rng, c, d):
    return DiagonalGMM(np.full(c, 1 / c), rng.normal(size=(c, d)), rng.uniform(0.5, 2, (c, d)))


def sample_statistics(rng, model, tracks):
    """Sample Baum-Welch statistics of tracks drawn from a model, with component means m + T w."""
    c, d, rank = model.matrix.shape
    zeroth = rng.uniform(1, 30, (tracks, c))
    w = rng.normal(size=(tracks, rank))
    means = model.ubm.means + np.einsum("cdr,sr->scd", model.matrix, w)
    noise = rng.normal(size=(tracks, c, d)) * np.sqrt(model.ubm.variances / zeroth[..., None])
    return zeroth, zeroth[..., None] * (means + noise)


def make_case(seed=0, tracks=12, c=3, d=2, rank=2):
    """Return a model, and the statistics of tracks from a different model with the same UBM."""
    rng = np.random.default_rng(seed)
    ubm = random_ubm(rng, c, d)
    truth = TotalVariability(rng.normal(size=(c, d, rank)), ubm)
    model = TotalVariability(rng.normal(size=(c, d, rank)), ubm)
    return model, *sample_statistics(rng, truth, tracks)


def posterior_of(model, counts, first):
    """Compute the mean and covariance of w and the gain from a supervector ~ N(0, T T' + S / N)."""
    t = model.matrix.reshape(-1, model.matrix.shape[-1])
    n = np.repeat(counts, model.ubm.means.shape[1])
    noise = np.diag(model.ubm.variances.ravel() / n)
    supervector = first.ravel() / n - model.ubm.means.ravel()
    marginal = t @ t.T + noise
    regression = t.T @ np.linalg.inv(marginal)
    zero = np.zeros(len(supervector))
    gain = multivariate_normal.logpdf(supervector, zero, marginal)
    gain -= multivariate_normal.logpdf(supervector, zero, noise)
    return regression @ supervector, np.eye(t.shape[1]) - regression @ t, gain


@BLOCKS
def test_e_step_matches_the_supervector_gaussian(monkeypatch, block_cells):
    monkeypatch.setattr(ivector, "_BLOCK_CELLS", block_cells)
    model, zeroth, first = make_case()
    means, covariances, gains = zip(*map(posterior_of, [model] * 12, zeroth, first), strict=True)
    np.testing.assert_allclose(model.transform(zeroth, first), means, atol=1e-10)
    blocks = ivector._posteriors(model, zeroth, first, moments=True)
    expected = np.array(covariances) + np.einsum("si,sj->sij", means, means)
    moments, gains_found = zip(*((block[3].copy(), block[4]) for block in blocks), strict=True)
    moments = PackedSymmetric(2).unpack(np.concatenate(moments))
    np.testing.assert_allclose(moments, expected, atol=1e-10)
    assert sum(gains_found) == pytest.approx(sum(gains), abs=1e-8)
    assert em_step(model, zeroth, first)[1] == pytest.approx(sum(gains), abs=1e-8)


@BLOCKS
def test_m_step_matches_the_formula(monkeypatch, block_cells):
    monkeypatch.setattr(ivector, "_BLOCK_CELLS", block_cells)
    model, zeroth, first = make_case(1, c=4, d=3, rank=3)
    means, covariances, _ = zip(*map(posterior_of, [model] * 12, zeroth, first), strict=True)
    moments = [v + np.outer(w, w) for w, v in zip(means, covariances, strict=True)]
    expected = np.empty_like(model.matrix)
    for c in range(4):
        left = sum(n[c] * moment for n, moment in zip(zeroth, moments, strict=True))
        centred = first[:, c] - zeroth[:, c, None] * model.ubm.means[c]
        right = sum(np.outer(f, w) for f, w in zip(centred, means, strict=True))
        expected[c] = right @ np.linalg.inv(left)
    expected = expected @ np.linalg.cholesky(np.mean(moments, axis=0))
    updated, _ = em_step(model, zeroth, first)
    np.testing.assert_allclose(updated.matrix, expected, atol=1e-8)
    assert updated.ubm is model.ubm


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.data())
def test_fit_total_variability_never_decreases_the_likelihood(seed, c, d, data):
    rank = data.draw(st.integers(1, c * d))
    tracks = data.draw(st.integers(1, 15))
    rng = np.random.default_rng(seed)
    ubm = random_ubm(rng, c, d)
    # Use arbitrary statistics in which some components have no frames for some tracks.
    zeroth = rng.uniform(0, 50, (tracks, c)) * rng.integers(0, 2, (tracks, c))
    zeroth[:, 0] += 1
    noise = rng.normal(size=(tracks, c, d)) * rng.uniform(0.1, 5)
    first = zeroth[..., None] * (ubm.means + noise)
    options = {"dimensions": rank, "iterations": 12, "seed": seed}
    model, gains = fit_total_variability(zeroth, first, ubm, **options)
    assert np.isfinite(model.matrix).all()
    assert (np.diff(gains) >= -1e-9 * np.maximum(1, np.abs(gains[1:]))).all()


@pytest.mark.parametrize("stopped", [1, 4])
def test_resumed_fit_is_bit_identical(stopped):
    model, zeroth, first = make_case()
    states, data = [], (zeroth, first, model.ubm)
    options = {"dimensions": 2, "iterations": 4, "seed": 0}
    whole, gains = fit_total_variability(
        *data, **options, on_iteration=lambda *state: states.append(state)
    )
    resumed, resumed_gains = fit_total_variability(
        *data, **options, resume_from=states[stopped - 1]
    )
    np.testing.assert_array_equal(resumed.matrix, whole.matrix)
    np.testing.assert_array_equal(resumed_gains, gains)


def test_em_step_ignores_a_component_without_frames():
    model, zeroth, first = make_case(8)
    zeroth[:, 1], first[:, 1] = 0, 0
    updated, gain = em_step(model, zeroth, first)
    rest = [0, 2]
    ubm = DiagonalGMM([0.5, 0.5], model.ubm.means[rest], model.ubm.variances[rest])
    reduced = TotalVariability(model.matrix[rest], ubm)
    expected, same_gain = em_step(reduced, zeroth[:, rest], first[:, rest])
    np.testing.assert_allclose(updated.matrix[rest], expected.matrix, atol=1e-10)
    assert np.isfinite(updated.matrix[1]).all()
    assert gain == pytest.approx(same_gain)


def test_whitening_gives_zero_mean_and_identity_covariance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 1e-3, 1] + 3
    whitening = Whitening.fit(x)
    white = whitening.transform(x)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), np.eye(4), atol=1e-6)
    np.testing.assert_allclose(whitening.matrix, whitening.matrix.T)
    one_dimensional = Whitening.fit([[1.0], [3.0]])
    np.testing.assert_allclose(one_dimensional.transform([[2], [3]]), [[0], [1]])


def test_whitening_rejects_singular_covariance():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"4 vectors of 6 .* only 3; use fewer dimensions or more"):
        Whitening.fit(rng.normal(size=(4, 6)))
    duplicated = rng.normal(size=(40, 3)).astype(np.float32)[:, [0, 1, 2, 2]]
    with pytest.raises(InputError, match="only 3"):
        Whitening.fit(duplicated)


def test_length_normalise_scales_to_unit_length_and_keeps_zero_vectors():
    np.testing.assert_allclose(length_normalise([[3, 4], [0, 0]]), [[0.6, 0.8], [0, 0]])


def test_whitening_rejects_invalid_vectors():
    with pytest.raises(InputError, match="NaN"):
        Whitening.fit([[1, 2], [np.nan, 1], [2, 3]])
