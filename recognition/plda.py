"""Probabilistic linear discriminant analysis (PLDA) for recognising the artist of a track.

This is the two-covariance model. The vector of a track is

    x = y + e,    y ~ N(m, B),    e ~ N(0, W)

where y is shared by all tracks by an artist, and e is specific to the track. B is the
between-artist covariance, and W the within-artist covariance.

Shapes: n tracks, a artists, d dimensions.

References: Prince, Elder: *Probabilistic Linear Discriminant Analysis for Inferences About
Identity*, ICCV 2007. Ioffe: *Probabilistic Linear Discriminant Analysis*, ECCV 2006. Brümmer, de
Villiers: *The Speaker Partitioning Problem*, Odyssey 2010.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg

from common.errors import InputError
from evaluation.feature_checks import check_features, check_labelled_features
from recognition.ivector import SINGULAR


@dataclass(frozen=True)
class PLDA:
    """A trained PLDA model.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(100, 8))
    >>> model = PLDA.fit(vectors, np.repeat(np.arange(20), 5))
    >>> model.score(vectors[:2], 1, vectors[2:5]).shape
    (2, 3)
    """

    mean: np.ndarray  # (d,) float64, m
    between: np.ndarray  # (d, d) float64, B; singular if trained on fewer artists than dimensions
    within: np.ndarray  # (d, d) float64, W

    @classmethod
    def fit(cls, vectors: ArrayLike, artists: ArrayLike, *, iterations: int = 10) -> "PLDA":
        """Train on vectors (n, d) by artists (n,) by EM, starting from their scatter matrices.

        The likelihood never decreases; with 0 iterations, the initial model is returned.
        """
        counts, means, scatter = _sum_by_artist(vectors, artists)
        n, a = counts.sum(), len(counts)
        if a < 2:
            raise InputError("PLDA: all tracks are by one artist; train on more artists")
        if n == a:
            raise InputError(
                f"PLDA: each of the {a} artists has only one track, so the within-artist "
                "covariance is unknown; train on artists with two or more tracks"
            )
        within = scatter / (n - a)
        variances = linalg.eigvalsh(within)
        rank = np.sum(variances > SINGULAR * max(variances[-1], 0))
        if rank < len(within):
            raise InputError(
                f"PLDA: {n} tracks of {a} artists vary within artists in only {rank} of "
                f"{len(within)} dimensions; reduce them with LDA first, or train on more tracks"
            )
        mean = means.mean(axis=0)
        centred = means - mean
        model = cls(mean, centred.T @ centred / a, within)
        for _ in range(iterations):
            model = model._em_step(counts[:, None], means, scatter)
        return model

    def _em_step(self, counts: np.ndarray, means: np.ndarray, scatter: np.ndarray) -> "PLDA":
        """Update m, B and W from the posterior of each artist's y; `counts` is (a, 1)."""
        axes, ratio = self._diagonalise()
        spread = ratio / (1 + counts * ratio)  # posterior variance of y
        centred = (means - self.mean) @ axes
        posterior = counts * spread * centred  # E[y]
        shift = posterior.mean(axis=0)
        deviation = posterior - shift
        residual = centred - posterior
        between = deviation.T @ deviation + np.diag(spread.sum(axis=0))
        within = (counts * residual).T @ residual + np.diag((counts * spread).sum(axis=0))
        back = axes.T @ self.within  # the inverse of the axes is V' W, because V' W V = I
        between = back.T @ (between / len(counts)) @ back
        within = (scatter + back.T @ within @ back) / counts.sum()
        # Averaging with the transpose removes the asymmetry caused by rounding.
        between, within = ((matrix + matrix.T) / 2 for matrix in (between, within))
        return PLDA(self.mean + shift @ back, between, within)

    def score(self, enrolment: ArrayLike, count: int, tests: ArrayLike) -> np.ndarray:
        """Score every trial by the log-likelihood ratio of same artist versus different artists.

            log p(x_1, …, x_n, x_test) - log p(x_1, …, x_n) - log p(x_test)

        This depends on the enrolment tracks x_1, …, x_n only through their mean and their number.
        `enrolment` (m, d) has the mean vector of each artist's `count` tracks, and `tests` (t, d)
        the test vectors. Scores are (m, t) float64; positive values favour the same artist.
        """
        axes, ratio = self._diagonalise()
        x = (check_features(enrolment, "PLDA, enrolment vectors") - self.mean) @ axes
        x_test = (check_features(tests, "PLDA, test vectors") - self.mean) @ axes
        n = np.full((len(x), 1), float(count))
        # In these coordinates, W = I and B = diag(ratio). Given the enrolment, y has variance
        # `spread`, and the test vector follows N(expected, variance) instead of N(0, 1 + ratio).
        spread = ratio / (1 + n * ratio)
        expected = n * spread * x
        variance = 1 + spread
        quadratic = (1 / (1 + ratio) - 1 / variance) / 2
        linear = expected / variance
        constant = np.log1p(ratio) - np.log(variance) - expected * linear
        scores = linear @ x_test.T
        scores += quadratic @ (x_test**2).T
        scores += constant.sum(axis=1, keepdims=True) / 2
        return scores

    def _diagonalise(self) -> tuple[np.ndarray, np.ndarray]:
        """Return V (d, d) and ψ (d,) such that V' W V = I and V' B V = diag(ψ)."""
        ratio, axes = linalg.eigh(self.between, self.within)
        return axes, np.maximum(ratio, 0)  # rounding makes some ratios slightly negative


def _sum_by_artist(
    vectors: ArrayLike, artists: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each artist's number of tracks (a,) and mean (a, d), and the scatter matrix (d, d).

    The scatter is the sum over tracks of (x - artist mean)(x - artist mean)'.
    """
    vectors, artists = check_labelled_features(vectors, artists, "PLDA, training vectors")
    codes, _ = pd.factorize(artists)
    # Group tracks by artist, so that each artist's sum is over a contiguous slice.
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    sums = np.add.reduceat(vectors[order], np.cumsum(counts) - counts, axis=0)
    means = sums / counts[:, None]
    centred = vectors - means[codes]
    return counts, means, centred.T @ centred
