"""Compare resampled scores with plain loops, and intervals with `scipy.stats.bootstrap`."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from evaluation import bootstrap


@pytest.fixture
def generator():
    return np.random.default_rng(7)


@pytest.fixture
def artists(generator):
    """Return the artists (60,) of tracks; some of the 12 artists have more tracks than others."""
    return np.concatenate([np.arange(12), np.sort(generator.integers(12, size=48))])


def interval_between(first, second, generator):
    return bootstrap.percentile_interval(bootstrap.differences(first, second, generator))


def copies(draw, artists):
    """Yield the rows of every drawn artist, one array per copy."""
    for artist, count in enumerate(draw):
        yield from [np.flatnonzero(artists == artist)] * count


def test_draws_start_with_all_artists_and_have_the_size_of_the_data(generator):
    draws = bootstrap.draw_artists(12, 200, generator)
    assert draws.shape == (201, 12) and (draws[0] == 1).all() and (draws.sum(axis=1) == 12).all()
    assert draws[1:].mean(axis=0) == pytest.approx(1, abs=0.25)


def test_resampled_means_match_a_loop_over_copies(generator, artists):
    values = generator.normal(size=len(artists))
    values[3] = np.nan
    draws = bootstrap.draw_artists(12, 20, generator)
    expected = [np.nanmean(np.concatenate([values[rows] for rows in copies(draw, artists)]))
                for draw in draws]  # fmt: skip
    assert bootstrap.resampled_means(values, artists, draws) == pytest.approx(expected)


def test_resampled_ari_matches_a_loop_over_pairs(generator, artists):
    clusters = np.where(generator.random(len(artists)) < 0.5, artists, artists[::-1]) % 9
    draws = bootstrap.draw_artists(12, 5, generator)
    scores = bootstrap.resampled_ari(clusters, artists, draws)
    assert scores[0] == pytest.approx(adjusted_rand_score(artists, clusters))
    for draw, score in zip(draws, scores, strict=True):
        drawn = [(number, row) for number, rows in enumerate(copies(draw, artists)) for row in rows]
        pairs = [
            (one == two, clusters[row] == clusters[other])
            for i, (one, row) in enumerate(drawn)
            for two, other in drawn[:i]
            if one == two or artists[row] != artists[other]
        ]
        by_artist, by_cluster = np.sum(pairs, axis=0)
        expected = by_artist * by_cluster / len(pairs)
        both = np.sum(np.all(pairs, axis=1))
        ari = (both - expected) / ((by_artist + by_cluster) / 2 - expected)
        assert score == pytest.approx(ari)


def test_interval_matches_scipy_for_one_track_per_artist(generator):
    first = generator.normal(0.3, size=80)
    second = first + generator.normal(0.5, 0.3, size=80)
    draws = bootstrap.draw_artists(80, 4000, generator)
    scores = [bootstrap.resampled_means(x, np.arange(80), draws)[None] for x in (second, first)]
    interval = interval_between(*scores, generator)
    expected = stats.bootstrap(
        (second - first,), np.mean, n_resamples=4000, method="percentile", random_state=0
    ).confidence_interval
    assert interval.difference == pytest.approx(np.mean(second - first))
    assert (interval.lower, interval.upper) == pytest.approx(expected, abs=0.006)


def test_constant_difference_has_an_interval_without_width(generator, artists):
    values = generator.random(len(artists))
    draws = bootstrap.draw_artists(12, 50, generator)
    first, second = (
        np.tile(bootstrap.resampled_means(x, artists, draws), (3, 1))
        for x in (values + 0.1, values)
    )
    assert interval_between(first, second, generator) == pytest.approx((0.1,) * 3)


def test_interval_includes_the_variation_over_seeds(generator):
    """Seeds of equal tracks give the interval of the mean of two draws out of two values."""
    first = np.repeat([[0.0], [1.0]], 4001, axis=1)
    interval = interval_between(first, np.zeros((1, 4001)), generator)
    assert interval == (0.5, 0.0, 1.0)


def test_interval_of_dependent_tracks_is_wider_than_of_independent_ones(generator):
    values = np.repeat(generator.normal(size=30), 10)
    widths = []
    for artists in (np.repeat(np.arange(30), 10), np.arange(300)):
        draws = bootstrap.draw_artists(artists.max() + 1, 1000, generator)
        scores = bootstrap.resampled_means(values, artists, draws)[None]
        interval = interval_between(scores, np.zeros_like(scores), generator)
        widths.append(interval.upper - interval.lower)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(10), rel=0.15)


@pytest.mark.parametrize("artists", [4, 300])
def test_interval_of_folds_is_that_of_their_mean(artists, generator):
    """The folds have different means, so artists must not be exchanged between folds."""
    folds = [(mean, generator.normal(size=artists)) for mean in np.arange(1200 // artists)]
    differences = []
    for mean, noise in folds:
        draws = bootstrap.draw_artists(artists, 2000, generator)
        scores = bootstrap.resampled_means(mean + noise, np.arange(artists), draws)[None]
        differences.append(bootstrap.differences(scores, np.zeros_like(scores), generator))
    average = bootstrap.average_folds(differences, [artists] * len(folds))
    difference, lower, upper = bootstrap.percentile_interval(average)
    assert difference == pytest.approx(np.mean([mean + noise.mean() for mean, noise in folds]))
    error = np.sqrt(np.mean([noise.var(ddof=1) for _, noise in folds]) / 1200)
    assert upper - lower == pytest.approx(2 * 1.96 * error, rel=0.08)


def test_differences_of_folds_are_weighted_by_artists():
    folds = [np.array([1.0, 1.0]), np.array([4.0, 4.0])]
    assert bootstrap.average_folds(folds, [10, 5]) == pytest.approx(2.0)


def test_no_resample_consists_of_one_artist(generator):
    draws = bootstrap.draw_artists(3, 2000, generator)
    assert draws.max() == 2 and (draws.sum(axis=1) == 3).all()
