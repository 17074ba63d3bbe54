"""Test the GMM-UBM against explicit formulas, scikit-learn and the properties of EM."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from common import parallel
from common.errors import InputError
from recognition import gmm_ubm
from recognition.gmm_ubm import DiagonalGMM, adapt_means, collect_statistics, fit_gmm, llr_scores
from tests.recognition.formulas import expected_llr, log_likelihood, posteriors, random_gmm

STARTS = pytest.mark.parametrize("start", ["kmeans", "random"])


def sample(gmm, n, seed=1):
    random = np.random.default_rng(seed)
    component = random.choice(len(gmm.weights), size=n, p=gmm.weights)
    return random.normal(gmm.means[component], np.sqrt(gmm.variances[component]))


def fit(frames, components, **options):
    return fit_gmm(frames, components, **{"iterations": 10, "seed": 0, "tolerance": 0, **options})


@pytest.mark.parametrize("offset", [0.0, -1000.0])
@pytest.mark.parametrize("n", [1, 2500])
@pytest.mark.parametrize(("rounding", "tolerance"), [(1e-4, 1e-5), (0.0, 1e-8)])
def test_statistics_match_the_formulas(monkeypatch, offset, n, rounding, tolerance):
    monkeypatch.setattr(gmm_ubm, "_MAX_ROUNDING", rounding)  # single and double precision
    gmm = random_gmm(offset=offset)
    frames = sample(gmm, n)
    posterior = posteriors(gmm, frames)
    zeroth, first = gmm.statistics(frames)
    np.testing.assert_allclose(zeroth, posterior.sum(axis=0), rtol=tolerance)
    expected = posterior.T @ frames
    np.testing.assert_allclose(first, expected, rtol=tolerance, atol=10 * tolerance)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from(["kmeans", "random"]))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_fit_never_decreases_the_likelihood(seed, components, start):
    random = np.random.default_rng(seed)
    d = int(random.integers(1, 5))
    frames = sample(random_gmm(3, d, seed), int(random.integers(50, 400)), seed)
    frames = frames * 10.0 ** random.integers(-3, 4, d) + 10.0 ** random.integers(-3, 4, d)
    options = {"seed": seed % 1000, "start": start, "tolerance": -1, "iterations": 25}
    gmm, history = fit(frames, components, **options)
    assert len(history) == 25 and history[-1] <= log_likelihood(gmm, frames).mean() + 1e-5
    assert np.diff(history).min() > -1e-5
    with mock.patch.object(gmm_ubm, "_MAX_ROUNDING", 0.0):  # double precision throughout
        _, history = fit(frames, components, **options)
    assert np.diff(history).min() > -1e-11 * np.abs(history).max()


def test_fit_matches_scikit_learn_for_the_same_initial_mixture():
    frames = sample(random_gmm(6, 5, 3), 4000)
    start, _ = fit(frames, 6, iterations=1)
    options = {"iterations": 30, "tolerance": -1, "variance_floor": 1e-9}
    ours, _ = fit(frames, 6, resume_from=(start, []), **options)
    theirs = GaussianMixture(
        6,
        covariance_type="diag",
        reg_covar=0,
        max_iter=30,
        tol=0,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=1 / start.variances,
    )
    with pytest.warns(match="did not converge"):
        theirs.fit(frames)
    assert log_likelihood(ours, frames).mean() == pytest.approx(theirs.score(frames), abs=1e-5)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-2)
    np.testing.assert_allclose(ours.variances, theirs.covariances_, atol=1e-2)


@pytest.mark.parametrize("stopped", [1, 6])
def test_resumed_fit_is_bit_identical(stopped):
    frames, states = sample(random_gmm(), 3000), []
    gmm, history = fit(frames, 4, iterations=6, on_iteration=lambda *state: states.append(state))
    assert len(states) == len(history) == 6
    resumed, resumed_history = fit(frames, 4, iterations=6, resume_from=states[stopped - 1])
    np.testing.assert_array_equal(resumed.means, gmm.means)
    np.testing.assert_array_equal(resumed_history, history)


def test_fit_does_not_depend_on_the_number_of_threads():
    frames = sample(random_gmm(), 40_000)
    gmm, _ = fit(frames, 4, iterations=3)
    with mock.patch.object(parallel, "available_cores", lambda: 5):
        other, _ = fit(frames, 4, iterations=3)
    np.testing.assert_array_equal(gmm.means, other.means)


def test_fit_keeps_variances_above_the_floor():
    random = np.random.default_rng(0)
    frames = np.concatenate([np.full((500, 2), 7.0), random.normal(size=(500, 2))])
    gmm, history = fit(frames, 2, variance_floor=0.01, iterations=30)
    assert gmm.variances.min(axis=0) == pytest.approx(0.01 * frames.var(axis=0), rel=1e-6)
    assert np.isfinite(history).all()


def test_fit_uses_double_precision_for_narrow_components():
    frames = np.repeat([[0.0], [1.0]], 50, axis=0) + np.random.default_rng(0).normal(size=(100, 1))
    frames = np.concatenate([frames, frames + 1e9])
    gmm, _ = fit(frames, 2, variance_floor=1e-30, iterations=30)
    assert gmm_ubm._LinearGMM(gmm).dtype == np.float64
    assert gmm_ubm._LinearGMM(random_gmm()).dtype == np.float32
    np.testing.assert_allclose(np.sort(gmm.means[:, 0]) % 1e9, frames[:100].mean(), atol=1e-3)


@STARTS
def test_fit_tolerates_components_without_frames(start):
    frames = np.repeat(np.arange(3.0)[:, None] * [1.0, 2.0], 20, axis=0)
    gmm, history = fit(frames, 8, start=start, iterations=20)
    assert np.isfinite(history).all() and gmm.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("components", "change", "message"),
    [
        (101, lambda x: x, "100 for 101 components; use fewer --components"),
        (4, lambda x: np.where([False, True, False], 0.1, x), "coefficient 1 is constant"),
        (4, lambda x: np.vstack([x, np.full((1, 3), np.nan)]), "NaN or infinite values"),
        (4, lambda x: np.vstack([x, np.full((1, 3), np.inf)]), "NaN or infinite values"),
    ],
)
def test_fit_rejects_unusable_frames(components, change, message):
    with pytest.raises(InputError, match=message):
        fit(change(sample(random_gmm(), 100)), components)


@pytest.mark.parametrize(
    ("weights", "means", "variances"),
    [
        ([0.5, 0.4], [[0.0], [1.0]], [[1.0], [1.0]]),
        ([1.0, 0.0], [[0.0], [1.0]], [[1.0], [1.0]]),
        ([0.5, 0.5], [[0.0], [np.nan]], [[1.0], [1.0]]),
        ([0.5, 0.5], [[0.0], [1.0]], [[1.0], [0.0]]),
        ([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0]),
    ],
)
def test_diagonal_gmm_rejects_invalid_arrays(weights, means, variances):
    with pytest.raises(ValueError, match="not those of a Gaussian mixture"):
        DiagonalGMM(weights, means, variances)


def test_adapt_means_matches_the_formula():
    ubm = random_gmm()
    tracks = [sample(random_gmm(seed=9), n, seed=n) for n in (50, 30)]
    frames = np.concatenate(tracks)
    posterior = posteriors(ubm, frames)
    count = posterior.sum(axis=0)[:, None]
    alpha = count / (count + 16)
    expected = alpha * (posterior.T @ frames / count) + (1 - alpha) * ubm.means
    model = adapt_means(ubm, *ubm.statistics(frames))
    np.testing.assert_allclose(model.means, expected, atol=2e-6)
    np.testing.assert_array_equal(model.weights, ubm.weights)
    np.testing.assert_array_equal(model.variances, ubm.variances)
    # Statistics are additive over tracks.
    zeroth, first = collect_statistics(ubm, tracks, 2)
    assert zeroth.dtype == first.dtype == np.float32
    summed = adapt_means(ubm, zeroth.sum(axis=0), first.sum(axis=0))
    np.testing.assert_allclose(summed.means, expected, atol=1e-5)


def adapted(ubm, frames):
    return adapt_means(ubm, *ubm.statistics(frames))


def test_llr_scores_match_the_formula():
    ubm = random_gmm(8, 4)
    models = [adapted(ubm, sample(random_gmm(8, 4, seed), 200)) for seed in range(5)]
    tracks = [sample(random_gmm(8, 4, seed), n) for seed, n in [(0, 1), (1, 30), (2, 1500)]]
    expected = [[expected_llr(model, ubm, track) for model in models] for track in tracks]
    with mock.patch.object(gmm_ubm, "_NEAR", -np.inf):  # no component is ignored
        scores = llr_scores(models, ubm, iter(tracks))
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, expected, atol=2e-5)
        with mock.patch.object(gmm_ubm, "_MAX_ROUNDING", 0.0):
            np.testing.assert_allclose(llr_scores(models, ubm, tracks), expected, atol=1e-8)


def test_llr_scores_barely_change_when_distant_components_are_ignored():
    """As in music, each frame is near only a few of the components."""
    ubm = random_gmm(64, 12)
    models = [adapted(ubm, sample(random_gmm(64, 12, seed), 2000)) for seed in range(3)]
    tracks = [sample(ubm, 500, seed=5), sample(random_gmm(64, 12, 1), 500)]
    expected = np.array([[expected_llr(model, ubm, track) for model in models] for track in tracks])
    near = posteriors(ubm, tracks[0]) > np.exp(gmm_ubm._NEAR)
    assert near.mean() < 0.5
    scores = llr_scores(models, ubm, tracks)
    assert np.abs(scores - expected).max() < 1e-2 * np.ptp(expected)


def test_llr_scores_are_accurate_for_a_model_far_from_the_ubm():
    ubm = random_gmm()
    frames = sample(random_gmm(), 200) + 300
    model = adapted(ubm, frames)
    score = llr_scores([model], ubm, [frames])[0, 0]
    assert score == pytest.approx(expected_llr(model, ubm, frames), rel=1e-5)


def test_tracks_with_nan_are_rejected():
    ubm, track = random_gmm(), np.full((10, 3), np.nan)
    with pytest.raises(InputError, match="NaN"):
        collect_statistics(ubm, [track], 1)
    with pytest.raises(InputError, match="NaN"):
        llr_scores([ubm], ubm, [track])
