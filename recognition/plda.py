"""Probabilistic linear discriminant analysis (PLDA) for recognising the artist of a track.

This is the two-covariance model. The vector of a track is

    x = y + e,    y ~ N(m, B),    e ~ N(0, W)

where y is shared by all tracks by an artist, and e is specific to the track. B is the
between-artist covariance, and W the within-artist covariance.

Shapes: n tracks, a artists, d dimensions.
Functions raise `InputError` if their arrays contain NaN or infinity, or have incompatible shapes.

References
----------
Prince, Elder: *Probabilistic Linear Discriminant Analysis for Inferences About Identity*,
ICCV 2007.

Ioffe: *Probabilistic Linear Discriminant Analysis*, ECCV 2006.

Brümmer, de Villiers: *The Speaker Partitioning Problem*, Odyssey 2010.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg

from common.errors import InputError
from evaluation.feature_checks import check_features

# Fraction of the largest variance below which a variance is only rounding (float32: 7 digits).
_SINGULAR = 1e-12


@dataclass(frozen=True)
class PLDA:
    """A trained PLDA model.

    Attributes
    ----------
    mean : (d,) float64, m
    between : (d, d) float64, B; singular if trained on fewer artists than dimensions
    within : (d, d) float64, W

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(100, 8))
    >>> model = PLDA.fit(vectors, np.repeat(np.arange(20), 5))
    >>> model.score(vectors[:2], 1, vectors[2:5]).shape
    (2, 3)
    """

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray

    @classmethod
    def fit(cls, vectors: ArrayLike, artists: ArrayLike, *, iterations: int = 10) -> "PLDA":
        """Train by EM, starting from the between-artist and within-artist scatter.

        The likelihood never decreases; with 0 iterations, the initial model is returned.

        Parameters
        ----------
        vectors : (n, d) float, finite
        artists : (n,) labels

        Raises
        ------
        InputError
            If the vectors contain NaN or infinity; labels are missing or differ in number from the
            vectors; there are fewer than two artists, or none with two or more tracks; or the
            within-artist scatter is singular.
        """
        tracks = _TrackSums.of(vectors, artists)
        model = tracks.start()
        for _ in range(iterations):
            model = tracks.em_step(model)
        return model

    def score(self, enrolment: ArrayLike, counts: ArrayLike, tests: ArrayLike) -> np.ndarray:
        """Score every trial by the log-likelihood ratio of same artist versus different artists.

            log p(x_1, …, x_n, x_test) - log p(x_1, …, x_n) - log p(x_test)

        This depends on the enrolment tracks x_1, …, x_n only through their mean and their number.

        Parameters
        ----------
        enrolment : (m, d) float
            Mean vector of each artist's enrolment tracks.
        counts : (m,) int, or one int for all
            Number of tracks averaged in each mean; 1 treats the mean as a single track.
        tests : (t, d) float

        Returns
        -------
        scores : (m, t) float64; positive values favour the same artist
        """
        axes, ratio = self._diagonalise()
        x = (self._check(enrolment, "enrolment") - self.mean) @ axes
        x_test = (self._check(tests, "test") - self.mean) @ axes
        n = np.broadcast_to(np.asarray(counts, np.float64), len(x))[:, None]
        if not (n >= 1).all():
            raise InputError("PLDA: an artist has no enrolment tracks; give counts of at least one")
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

    def _check(self, vectors: ArrayLike, name: str) -> np.ndarray:
        vectors = check_features(vectors, f"PLDA, {name} vectors")
        if vectors.shape[1] != len(self.mean):
            raise InputError(
                f"PLDA: {name} vectors of {vectors.shape[1]} dimensions for a model of "
                f"{len(self.mean)}; extract both with the same model"
            )
        return vectors

    def _diagonalise(self) -> tuple[np.ndarray, np.ndarray]:
        """Return V (d, d) and ψ (d,) such that V' W V = I and V' B V = diag(ψ)."""
        try:
            ratio, axes = linalg.eigh(self.between, self.within)
        except linalg.LinAlgError as error:
            raise InputError(
                "PLDA: the within-artist covariance is singular; train again with fewer dimensions "
                "or more tracks"
            ) from error
        return axes, np.maximum(ratio, 0)  # rounding makes some ratios slightly negative


class _TrackSums(NamedTuple):
    """Sufficient statistics for training.

    counts : (a,) int64, number of tracks by each artist
    means : (a, d), mean vector of each artist's tracks
    scatter : (d, d), sum over tracks of (x - artist mean)(x - artist mean)'
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, vectors: ArrayLike, artists: ArrayLike) -> "_TrackSums":
        vectors, artists = check_features(vectors, "PLDA, training vectors"), np.asarray(artists)
        if artists.shape != (len(vectors),) or pd.isna(artists).any():
            raise InputError(
                f"PLDA: {len(vectors)} vectors, but artists of shape {artists.shape} or with "
                "missing values; give each track its artist"
            )
        codes, names = pd.factorize(artists)
        # Group tracks by artist, so that each artist's sum is over a contiguous slice.
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=len(names))
        sums = np.add.reduceat(vectors[order], np.cumsum(counts) - counts, axis=0)
        means = sums / counts[:, None]
        centred = vectors - means[codes]
        return cls(counts, means, centred.T @ centred)

    def start(self) -> PLDA:
        """Return the initial model, from the between-artist and within-artist scatter."""
        artists, tracks = len(self.counts), self.counts.sum()
        if artists < 2:
            raise InputError("PLDA: all tracks are by one artist; train on more artists")
        if tracks == artists:
            raise InputError(
                f"PLDA: each of the {artists} artists has only one track, so the within-artist "
                "covariance is unknown; train on artists with two or more tracks"
            )
        within = self.scatter / (tracks - artists)
        variances = linalg.eigvalsh(within)
        rank = np.sum(variances > _SINGULAR * max(variances[-1], 0))
        if rank < len(within):
            raise InputError(
                f"PLDA: {tracks} tracks of {artists} artists vary within artists in only {rank} "
                f"of {len(within)} dimensions; reduce them with LDA first, or train on more tracks"
            )
        mean = self.means.mean(axis=0)
        centred = self.means - mean
        return PLDA(mean, centred.T @ centred / artists, within)

    def em_step(self, model: PLDA) -> PLDA:
        """Update m, B and W from the posterior of each artist's y."""
        axes, ratio = model._diagonalise()
        counts = self.counts[:, None]
        spread = ratio / (1 + counts * ratio)  # posterior variance of y
        centred = (self.means - model.mean) @ axes
        posterior = counts * spread * centred  # E[y]
        shift = posterior.mean(axis=0)
        deviation = posterior - shift
        residual = centred - posterior
        between = deviation.T @ deviation + np.diag(spread.sum(axis=0))
        within = (counts * residual).T @ residual + np.diag((counts * spread).sum(axis=0))
        back = axes.T @ model.within  # the inverse of the axes is V' W, because V' W V = I
        between = back.T @ (between / len(counts)) @ back
        within = (self.scatter + back.T @ within @ back) / counts.sum()
        return PLDA(model.mean + shift @ back, _symmetrise(between), _symmetrise(within))


def _symmetrise(matrix: np.ndarray) -> np.ndarray:
    """Remove the asymmetry caused by rounding."""
    return (matrix + matrix.T) / 2
