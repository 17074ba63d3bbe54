"""The GMM-UBM against its formulas written out, scikit-learn, and what EM promises."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from common import parallel
from common.errors import InputError
from recognition import gmm_ubm
from recognition.gmm_ubm import DiagonalGMM, adapt_means, fit_gmm, llr_scores, log_likelihood_ratio


def mixture(k=4, d=3, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    return DiagonalGMM(
        random.dirichlet(np.full(k, 3.0)),
        random.normal(size=(k, d)) * 2 + offset,
        random.uniform(0.2, 2.0, size=(k, d)),
    )


def drawn(gmm, n, seed=1):
    random = np.random.default_rng(seed)
    owner = random.choice(len(gmm.weights), size=n, p=gmm.weights)
    return random.normal(gmm.means[owner], np.sqrt(gmm.variances[owner]))


def joint(gmm, frames):
    """log w_k N(x), (n, k), as the formula has it."""
    away = (frames[:, None] - gmm.means) ** 2 / gmm.variances
    density = -0.5 * (np.log(2 * np.pi * gmm.variances) + away).sum(axis=2)
    return np.log(gmm.weights) + density


def brute_llr(model, ubm, frames):
    top, bottom = (scipy.special.logsumexp(joint(m, frames), axis=1) for m in (model, ubm))
    return (top - bottom).mean()


def trained(frames, k, **settings_):
    return fit_gmm(
        lambda: [frames], k, **{"iterations": 10, "seed": 0, "tolerance": 0, **settings_}
    )


def mean_log_likelihood(gmm, frames):
    return gmm.log_likelihood(frames).mean()


@pytest.mark.parametrize("offset", [0.0, -1000.0])
@pytest.mark.parametrize("frames", [1, 50, 2500])
def test_against_the_formulas(offset, frames):
    gmm = mixture(offset=offset)
    x = drawn(gmm, frames)
    wanted = joint(gmm, x)
    log_p = scipy.special.logsumexp(wanted, axis=1)
    posterior = np.exp(wanted - log_p[:, None])
    np.testing.assert_allclose(gmm.log_likelihood(x), log_p, rtol=0, atol=1e-8)
    np.testing.assert_allclose(gmm.posteriors(x), posterior, rtol=0, atol=1e-8)
    zeroth, first, second = gmm.statistics(x, second=True)
    np.testing.assert_allclose(zeroth, posterior.sum(axis=0), rtol=1e-8)
    np.testing.assert_allclose(first, posterior.T @ x, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(second, posterior.T @ x**2, rtol=1e-8)
    assert len(gmm.statistics(x)) == 2


def test_one_mixture_is_the_normal_distribution():
    gmm = DiagonalGMM([1.0], [[1.0, -2.0]], [[4.0, 0.25]])
    x = np.array([[0.0, 0.0], [1.0, -2.0], [400.0, 9.0]])
    wanted = scipy.stats.norm([1, -2], [2, 0.5]).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(gmm.log_likelihood(x), wanted, rtol=1e-12)


def test_no_frames_have_no_statistics():
    gmm = mixture()
    none = np.zeros((0, 3), np.float32)
    assert gmm.log_likelihood(none).shape == (0,) and gmm.posteriors(none).shape == (0, 4)
    assert [s.any() for s in gmm.statistics(none, second=True)] == [False] * 3


def test_a_frame_far_from_everything_belongs_to_one_mixture():
    posterior = mixture().posteriors(np.array([[1e4, -1e4, 1e4]]))
    assert np.isfinite(posterior).all() and posterior.sum() == pytest.approx(1)


def test_a_float16_memory_map_or_float32_gives_the_same(tmp_path):
    gmm = mixture()
    np.save(tmp_path / "frames.npy", drawn(gmm, 300).astype(np.float16))
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    wanted = gmm.log_likelihood(mapped.astype(np.float64))
    np.testing.assert_array_equal(gmm.log_likelihood(mapped), wanted)
    np.testing.assert_array_equal(gmm.log_likelihood(mapped.astype(np.float32)), wanted)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from(["kmeans", "random"]))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_the_likelihood_never_falls(seed, k, start):
    random = np.random.default_rng(seed)
    d = int(random.integers(1, 5))
    frames = drawn(mixture(3, d, seed), int(random.integers(50, 400)), seed)
    frames = frames * 10.0 ** random.integers(-3, 4, d) + 10.0 ** random.integers(-3, 4, d)
    gmm, history = trained(frames, k, seed=seed % 1000, start=start, tolerance=-1, iterations=25)
    assert len(history) == 25 and history[-1] <= mean_log_likelihood(gmm, frames) + 1e-5
    assert np.diff(history).min() > -1e-5


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_in_double_precision_it_never_falls_at_all(seed):
    frames = drawn(mixture(3, 2, seed), 200, seed)
    with mock.patch.object(gmm_ubm, "_ROUNDING", 0.0):
        _, history = trained(frames, 5, start="random", tolerance=-1, iterations=25)
    assert np.diff(history).min() > -1e-12


def test_from_the_same_start_it_goes_where_scikit_learn_goes():
    true = mixture(6, 5, 3)
    frames = drawn(true, 4000)
    begun, _ = trained(frames, 6, iterations=1)
    ours, _ = trained(frames, 6, start=begun, iterations=30, tolerance=-1, floor=1e-9)
    theirs = GaussianMixture(
        6,
        covariance_type="diag",
        reg_covar=0,
        max_iter=30,
        tol=0,
        weights_init=begun.weights,
        means_init=begun.means,
        precisions_init=1 / begun.variances,
    )
    with pytest.warns(match="did not converge"):
        theirs.fit(frames)
    assert mean_log_likelihood(ours, frames) == pytest.approx(theirs.score(frames), abs=1e-5)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-2)
    np.testing.assert_allclose(ours.variances, theirs.covariances_, atol=1e-2)
    same = DiagonalGMM(theirs.weights_, theirs.means_, theirs.covariances_)
    np.testing.assert_allclose(same.log_likelihood(frames), theirs.score_samples(frames), rtol=1e-9)


@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_it_finds_the_mixture_that_made_the_frames(start):
    true = mixture(4, 3, 5)
    frames, more = drawn(true, 20_000), drawn(true, 20_000, seed=2)
    found, history = trained(frames, 4, start=start, iterations=200, tolerance=1e-6)
    assert len(history) < 200
    assert abs(mean_log_likelihood(found, more) - mean_log_likelihood(true, more)) < 0.01


def test_how_the_frames_are_cut_into_blocks_makes_no_difference():
    frames = drawn(mixture(), 3000).astype(np.float32)
    whole, history = trained(frames, 4, start="random")
    cuts = np.split(frames, [1, 1, 700, 2999])
    cut, again = fit_gmm(
        lambda: iter(cuts), 4, iterations=10, seed=0, tolerance=0, start=trained_start(frames)
    )
    whole, history = trained(frames, 4, start=trained_start(frames))
    np.testing.assert_allclose(cut.means, whole.means, atol=1e-4)
    np.testing.assert_allclose(again, history, atol=1e-5)


@pytest.mark.parametrize("stopped", [1, 3, 6])
def test_training_goes_on_where_it_was_stopped(stopped):
    frames, kept = drawn(mixture(), 3000), []
    whole, history = trained(
        frames, 4, iterations=6, after=lambda gmm, so_far: kept.append((gmm, so_far))
    )
    assert len(kept) == len(history) == 6
    again, other = trained(frames, 4, iterations=6, begun=kept[stopped - 1])
    np.testing.assert_array_equal(again.means, whole.means)
    np.testing.assert_array_equal(other, history)


def trained_start(frames):
    return trained(frames, 4, iterations=1)[0]


def test_the_same_seed_gives_the_same_mixture_whatever_the_threads():
    frames = drawn(mixture(), 40_000)
    one, _ = trained(frames, 4, iterations=3)
    with mock.patch.object(parallel, "usable_cores", lambda: 5):
        other, _ = trained(frames, 4, iterations=3)
    np.testing.assert_array_equal(one.means, other.means)


def test_variances_stop_at_the_floor():
    random = np.random.default_rng(0)
    frames = np.concatenate([np.full((500, 2), 7.0), random.normal(size=(500, 2))])
    gmm, history = trained(frames, 2, floor=0.01, iterations=30)
    assert gmm.variances.min(axis=0) == pytest.approx(0.01 * frames.var(axis=0), rel=1e-6)
    assert np.isfinite(history).all()


def test_fine_structure_is_fitted_in_double_precision():
    frames = np.repeat([[0.0], [1.0]], 50, axis=0) + np.random.default_rng(0).normal(size=(100, 1))
    frames = np.concatenate([frames, frames + 1e9])
    gmm, _ = trained(frames, 2, floor=1e-30, iterations=30)
    assert gmm_ubm._Linear(gmm).dtype == np.float64
    assert gmm_ubm._Linear(mixture()).dtype == np.float32
    np.testing.assert_allclose(np.sort(gmm.means[:, 0]) % 1e9, frames[:100].mean(), atol=1e-3)


def test_training_stops_when_little_is_gained():
    frames = drawn(mixture(1), 1000)
    _, history = trained(frames, 1, iterations=50, tolerance=1e-4)
    assert len(history) <= 3


@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_mixtures_without_frames_of_their_own_do_no_harm(start):
    frames = np.repeat(np.arange(3.0)[:, None] * [1.0, 2.0], 20, axis=0)
    gmm, history = trained(frames, 8, start=start, iterations=20)
    assert np.isfinite(history).all() and gmm.weights.sum() == pytest.approx(1)


def test_training_says_what_is_wrong_with_the_frames():
    frames = drawn(mixture(), 100)
    with pytest.raises(InputError, match="100 for 101 mixtures; take fewer --mixtures"):
        trained(frames, 101)
    with pytest.raises(InputError, match="coefficient 1 is the same in all"):
        trained(np.where([False, True, False], 0.1, frames), 4)
    for wrong in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN or infinity"):
            trained(np.vstack([frames, np.full((1, 3), wrong)]), 4)
    with pytest.raises(InputError, match="0 for 4 mixtures"):
        fit_gmm(lambda: [], 4, seed=0)
    with pytest.raises(InputError, match="all alike"):
        fit_gmm(lambda: [frames, frames[:, :2]], 4, seed=0)
    once = iter([frames])
    with pytest.raises(ValueError, match="anew each time"):
        fit_gmm(lambda: once, 4, seed=0)


def test_wrong_settings():
    frames = drawn(mixture(), 100)
    for wrong in ({"floor": 0}, {"floor": 1}, {"iterations": 0}, {"start": "best"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            trained(frames, 4, **wrong)
    with pytest.raises(ValueError, match="start"):
        trained(frames, 5, start=mixture(4))
    with pytest.raises(ValueError, match="relevance"):
        adapt_means(mixture(), frames, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", [0.5, 0.4]),
        ("weights", [1.0, 0.0]),
        ("weights", [1.0]),
        ("means", [[0.0], [np.nan]]),
        ("variances", [[1.0], [0.0]]),
        ("variances", [1.0, 1.0]),
    ],
)
def test_mixtures_that_cannot_be(name, value):
    good = {"weights": [0.5, 0.5], "means": [[0.0], [1.0]], "variances": [[1.0], [1.0]]}
    DiagonalGMM(**good)
    with pytest.raises(ValueError, match=name):
        DiagonalGMM(**{**good, name: value})


def test_adaptation_moves_each_mean_by_its_share_of_frames():
    ubm = mixture()
    frames = drawn(mixture(seed=9), 80)
    posterior = np.exp(joint(ubm, frames))
    posterior /= posterior.sum(axis=1, keepdims=True)
    count = posterior.sum(axis=0)[:, None]
    share = count / (count + 16)
    wanted = share * (posterior.T @ frames / count) + (1 - share) * ubm.means
    model = adapt_means(ubm, frames)
    np.testing.assert_allclose(model.means, wanted, atol=1e-8)
    assert model.variances is not ubm.variances
    np.testing.assert_array_equal(model.weights, ubm.weights)
    np.testing.assert_array_equal(model.variances, ubm.variances)
    np.testing.assert_allclose(adapt_means(ubm, frames, 1e12).means, ubm.means, atol=1e-8)


def test_every_trial_at_once_scores_as_each_alone():
    ubm = mixture(8, 4)
    models = [adapt_means(ubm, drawn(mixture(8, 4, seed), 200)) for seed in range(5)]
    songs = [drawn(mixture(8, 4, seed), n) for seed, n in [(0, 1), (1, 30), (2, 1500), (7, 40)]]
    wanted = [[brute_llr(model, ubm, song) for model in models] for song in songs]
    each = [[log_likelihood_ratio(model, ubm, song) for model in models] for song in songs]
    np.testing.assert_allclose(each, wanted, atol=1e-8)
    assert log_likelihood_ratio(ubm, ubm, songs[1]) == 0
    with mock.patch.object(gmm_ubm, "_NEAR", -np.inf):  # no mixture is passed over
        found = llr_scores(models, ubm, iter(songs))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    with mock.patch.multiple(gmm_ubm, _ROUNDING=0.0, _NEAR=-np.inf):
        np.testing.assert_allclose(llr_scores(models, ubm, songs), wanted, atol=1e-8)
    assert llr_scores(models, ubm, []).shape == (0, 5)
    assert llr_scores([], ubm, songs).shape == (4, 0)


def test_mixtures_that_are_passed_over_hardly_matter():
    """Of many mixtures, of which a frame is near few, as on music."""
    ubm = mixture(64, 12)
    models = [adapt_means(ubm, drawn(mixture(64, 12, seed), 2000)) for seed in range(3)]
    songs = [drawn(ubm, 500, seed=5), drawn(mixture(64, 12, 1), 500)]
    wanted = np.array([[brute_llr(model, ubm, song) for model in models] for song in songs])
    near = np.mean(ubm.posteriors(songs[0]) > np.exp(gmm_ubm._NEAR))
    assert near < 0.5  # else nothing is passed over
    found = llr_scores(models, ubm, songs)
    assert np.abs(found - wanted).max() < 1e-2 * np.ptp(wanted)


def test_adaptation_by_statistics_is_that_by_frames():
    """Of two songs, whose statistics are summed."""
    ubm, songs = mixture(), [drawn(mixture(seed=9), n) for n in (80, 30)]
    found = gmm_ubm.collect_statistics(ubm, songs, 2)
    assert [each.dtype for each in found] == [np.float32] * 2
    sums = [each.sum(axis=0) for each in found]
    whole = adapt_means(ubm, np.concatenate(songs))
    np.testing.assert_allclose(gmm_ubm.adapt_means_by(ubm, *sums).means, whole.means, atol=1e-5)
    with pytest.raises(ValueError, match="relevance"):
        gmm_ubm.adapt_means_by(ubm, *sums, relevance=0)


def test_a_model_far_from_the_ubm_still_scores():
    ubm = mixture()
    frames = drawn(mixture(), 200) + 300
    model = adapt_means(ubm, frames)
    score = llr_scores([model], ubm, [frames])[0, 0]
    assert score == pytest.approx(brute_llr(model, ubm, frames), rel=1e-5)


def test_artists_are_told_apart():
    random = np.random.default_rng(0)
    artists = random.normal(size=(6, 10)) * 0.5
    frames = random.normal(size=(6, 3, 400, 10)) + artists[:, None, None]
    ubm, _ = trained(frames.reshape(-1, 10), 8)
    models = [adapt_means(ubm, songs[:2].reshape(-1, 10)) for songs in frames]
    scores = llr_scores(models, ubm, frames[:, 2])
    np.testing.assert_array_equal(scores.argmax(axis=1), np.arange(6))


def test_silent_and_broken_songs_are_told():
    ubm, frames = mixture(), drawn(mixture(), 10)
    none = np.zeros((0, 3))
    for call in (
        adapt_means,
        lambda u, x: log_likelihood_ratio(u, u, x),
        lambda u, x: llr_scores([u], u, [x]),
    ):
        with pytest.raises(InputError, match="silent"):
            call(ubm, none)
        with pytest.raises(InputError, match="NaN"):
            call(ubm, frames * np.nan)
        with pytest.raises(InputError, match=r"not \(n, 3\)"):
            call(ubm, frames[:, :2])
    with pytest.raises(ValueError, match="adapt_means"):
        llr_scores([dataclasses.replace(ubm, variances=ubm.variances * 2)], ubm, [frames])
    with pytest.raises(dataclasses.FrozenInstanceError):
        ubm.means = frames
