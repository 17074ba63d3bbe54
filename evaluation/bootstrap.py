"""Bootstrap intervals of the difference between two systems evaluated on the same tracks.

Tracks of one artist are not independent, so artists are resampled, each with all of its tracks
(Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). A resample is
the number of times that each artist was drawn. Both systems are evaluated on the same resamples.

Several results of a system come from training runs with different seeds. Its score is their mean,
and each resample also draws as many of them, with replacement, independently for each system.

The folds of a cross-validation over artists are separate samples (section 3.2 of the book): artists
and seeds are resampled within each fold, and the differences are averaged over all artists.
Resamples of n artists vary less than new samples would, by a factor of (n - 1)/n in variance. More
folds do not change that, so the deviations of each fold are scaled accordingly. The percentile
interval of a single sample is not corrected, as usual.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 1000
FEWEST_ARTISTS = 4  # with fewer, resamples say little about other artists


class Interval(NamedTuple):
    """A difference and the ends of its interval."""

    difference: float
    lower: float
    upper: float


def draw_artists(artists: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw all artists with replacement; returns how often each was drawn, (resamples, artists).

    The first row contains only ones, for the score of the original tracks. Draws of one artist
    alone, from which no recognition score can be computed, are repeated.
    """
    draws = generator.multinomial(artists, np.full(artists, 1 / artists), size=resamples)
    while (alone := draws.max(axis=1) == artists).any():
        draws[alone] = generator.multinomial(artists, np.full(artists, 1 / artists), alone.sum())
    return np.vstack([np.ones((1, artists), np.int64), draws])


def resampled_means(values: ArrayLike, artists: ArrayLike, draws: np.ndarray) -> np.ndarray:
    """Compute the mean of track values (n,) in each resample (r,); NaN values are left out.

    `artists` (n,) are column numbers of `draws`, which is from `draw_artists`. A resample without
    any value is NaN.
    """
    values, artists = np.asarray(values, np.float64), np.asarray(artists)
    known = ~np.isnan(values)
    sums, counts = (
        np.bincount(artists[known], weights, draws.shape[1])
        for weights in (values[known], np.ones(known.sum()))
    )
    with np.errstate(invalid="ignore"):
        return (draws @ sums) / (draws @ counts)


def resampled_ari(clusters: ArrayLike, artists: ArrayLike, draws: np.ndarray) -> np.ndarray:
    """Compute the adjusted Rand index of clusters (n,) of the artists' tracks in each resample.

    The tracks are not clustered again. A track drawn several times is never paired with its own
    copies, which would always be in one cluster: each copy of an artist is paired with the tracks
    of that copy and with those of other artists.
    """
    clusters, artists = np.asarray(clusters), np.asarray(artists)
    table = np.zeros((draws.shape[1], clusters.max() + 1))
    np.add.at(table, (artists, clusters), 1)
    sizes = table.sum(axis=1, keepdims=True)

    def count_pairs(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count pairs of the same artist, and all pairs, within the columns of `counts`."""
        same = draws @ (counts * (counts - 1) / 2).sum(axis=1)
        others = (draws @ counts) ** 2 - draws**2 @ counts**2
        return same, same + others.sum(axis=1) / 2

    both, by_cluster = count_pairs(table)
    by_artist, pairs = count_pairs(sizes)
    expected = by_artist * by_cluster / pairs
    with np.errstate(invalid="ignore"):
        return (both - expected) / ((by_artist + by_cluster) / 2 - expected)


def differences(
    first: np.ndarray, second: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return the differences between two systems' mean scores, (1 + resamples,).

    Parameters
    ----------
    first, second : (seeds, 1 + resamples) float
        Scores of each training run of a system: of the original tracks, then of each resample.
    """

    def mean_of_drawn_seeds(scores: np.ndarray) -> np.ndarray:
        seeds, resamples = scores.shape[0], scores.shape[1] - 1
        drawn = generator.integers(seeds, size=(seeds, resamples))
        means = np.take_along_axis(scores[:, 1:], drawn, axis=0).mean(axis=0)
        return np.append(scores[:, 0].mean(), means)

    return mean_of_drawn_seeds(first) - mean_of_drawn_seeds(second)


def average_folds(differences: Sequence[np.ndarray], artists: Sequence[int]) -> np.ndarray:
    """Return the mean of the folds' `differences`, weighted by their numbers of artists."""
    if len(differences) == 1:
        return differences[0]
    scaled = [
        fold[0] + np.sqrt(count / (count - 1)) * (fold - fold[0])
        for fold, count in zip(differences, artists, strict=True)
    ]
    return np.average(scaled, axis=0, weights=artists)


def percentile_interval(values: np.ndarray) -> Interval:
    """Return the 95 % interval of the result of `differences` or `average_folds`."""
    lower, upper = np.nanquantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(lower), float(upper))
