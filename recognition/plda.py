"""Probabilistic linear discriminant analysis: are these songs by the same artist? (arxiv2017)

The two-covariance model. A song's vector is x = y + e: y ~ N(m, B) is its artist's and shared
by the artist's songs, e ~ N(0, W) is the song's own. Ioffe: *Probabilistic Linear Discriminant
Analysis*, ECCV 2006; Brümmer, de Villiers: *The Speaker Partitioning Problem*, Odyssey 2010.

Everywhere: n songs, a artists, d dimensions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg

from common.errors import InputError
from evaluation.feature_checks import check_features

# Below this share of the largest variance a direction is rounding: float32 keeps 7 digits.
_SINGULAR = 1e-12


@dataclass(frozen=True)
class PLDA:
    """A trained model.

    mean : (d,) float64, m
    between : (d, d) float64, B; may be singular, as it is from fewer artists than dimensions
    within : (d, d) float64, W
    """

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray

    @classmethod
    def fit(cls, vectors: ArrayLike, artists: ArrayLike, *, iterations: int = 10) -> "PLDA":
        """Train by EM, from the scatter of the artists' means and that of the songs around them.

        The likelihood never falls from one iteration to the next; 0 iterations give
        the start itself.

        Parameters
        ----------
        vectors : (n, d) float, finite
        artists : (n,) labels

        Raises
        ------
        InputError
            NaN or infinity, labels that are missing or do not fit, fewer than two
            artists, no artist with two songs, or songs that around their artists'
            means do not span all dimensions.
        """
        songs = _Songs.of(vectors, artists)
        model = songs.start()
        for _ in range(iterations):
            model = songs.em_step(model)
        return model

    def log_likelihood(self, vectors: ArrayLike, artists: ArrayLike) -> float:
        """Logarithm of the density of vectors (n, d), songs of the same artist together."""
        songs = _Songs.of(vectors, artists)
        axes, ratio = self._diagonalised()
        counts = songs.counts[:, None]
        centred = (songs.means - self.mean) @ axes
        of_means = counts * centred**2 / (1 + counts * ratio) + np.log1p(counts * ratio)
        n, d = songs.counts.sum(), len(self.mean)
        around = np.sum(axes * (songs.scatter @ axes))
        volume = 2 * np.linalg.slogdet(axes)[1] - d * np.log(2 * np.pi)
        return float(n * volume - around - of_means.sum()) / 2

    def score(self, enrolment: ArrayLike, counts: ArrayLike, tests: ArrayLike) -> np.ndarray:
        """Log-likelihood ratio of every trial, same artist over different artists.

        By the book: the density of the enrolment songs and the test song as one
        artist's, over the product of the two densities. It depends on the enrolment
        songs only through their mean and their number.

        Parameters
        ----------
        enrolment : (m, d) float
            Mean vector of each artist's enrolment songs.
        counts : (m,) int, or one int for all
            Songs in that mean. Correlated songs are worth fewer than they are; 1
            takes the mean as if it were one song.
        tests : (t, d) float

        Returns
        -------
        (m, t) float64; positive speaks for the same artist

        Raises
        ------
        InputError
            NaN or infinity, other dimensions than the model's, or counts below one.
        """
        axes, ratio = self._diagonalised()
        enrolment = (self._checked(enrolment, "enrolment") - self.mean) @ axes
        tests = (self._checked(tests, "test") - self.mean) @ axes
        counts = _checked_counts(counts, len(enrolment))[:, None]
        # Along these axes W is I and B is diagonal. Enrolment leaves the artist's y uncertain by
        # `spread`, and the test song is then N(expected, variance) instead of N(0, 1 + ratio).
        spread = ratio / (1 + counts * ratio)
        expected = counts * spread * enrolment
        variance = 1 + spread
        quadratic = (1 / (1 + ratio) - 1 / variance) / 2
        linear = expected / variance
        constant = np.log1p(ratio) - np.log(variance) - expected * linear
        scores = linear @ tests.T
        scores += quadratic @ (tests**2).T
        scores += constant.sum(axis=1, keepdims=True) / 2
        return scores

    def _checked(self, vectors: ArrayLike, what: str) -> np.ndarray:
        vectors = check_features(vectors, f"PLDA, {what} vectors")
        if vectors.shape[1] != len(self.mean):
            raise InputError(
                f"PLDA: {what} vectors of {vectors.shape[1]} dimensions for a model of "
                f"{len(self.mean)}; extract both with the same model"
            )
        return vectors

    def _diagonalised(self) -> tuple[np.ndarray, np.ndarray]:
        """(d, d) V and (d,) variances ψ so that V' W V = I and V' B V = diag ψ."""
        try:
            ratio, axes = linalg.eigh(self.between, self.within)
        except linalg.LinAlgError as error:
            raise InputError(
                "PLDA: the within-artist covariance is singular; train it again on fewer "
                "dimensions or more songs"
            ) from error
        return axes, np.maximum(ratio, 0)  # rounding leaves some just below


class _Songs(NamedTuple):
    """All that training needs of the songs.

    counts : (a,) int64; means : (a, d), of each artist's songs
    scatter : (d, d), sum over songs of (x - its artist's mean)(x - its artist's mean)'
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, vectors: ArrayLike, artists: ArrayLike) -> "_Songs":
        vectors, artists = check_features(vectors, "PLDA, training vectors"), np.asarray(artists)
        if artists.shape != (len(vectors),) or pd.isna(artists).any():
            raise InputError(
                f"PLDA: {len(vectors)} vectors but artists of shape {artists.shape} or some "
                "missing; give each song its artist"
            )
        codes, names = pd.factorize(artists)
        # Songs of an artist side by side, so that sums are over slices.
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=len(names))
        sums = np.add.reduceat(vectors[order], np.cumsum(counts) - counts, axis=0)
        means = sums / counts[:, None]
        around = vectors - means[codes]
        return cls(counts, means, around.T @ around)

    def start(self) -> PLDA:
        """The model from the two scatters, or an `InputError` if they do not make one."""
        artists, songs = len(self.counts), self.counts.sum()
        if artists < 2:
            raise InputError("PLDA: all songs are by one artist; train it on more artists")
        if songs == artists:
            raise InputError(
                f"PLDA: each of the {artists} artists has one song, which tells nothing of how "
                "an artist's songs differ; train it on artists with two or more"
            )
        within = self.scatter / (songs - artists)
        variances = linalg.eigvalsh(within)
        spanned = np.sum(variances > _SINGULAR * max(variances[-1], 0))
        if spanned < len(within):
            raise InputError(
                f"PLDA: {songs} songs of {artists} artists differ within artists in only {spanned} "
                f"of {len(within)} dimensions; reduce them with LDA first, or train on more songs"
            )
        mean = self.means.mean(axis=0)
        around = self.means - mean
        return PLDA(mean, around.T @ around / artists, within)

    def em_step(self, model: PLDA) -> PLDA:
        """One iteration: the posterior of each artist's y, then m, B and W from them."""
        axes, ratio = model._diagonalised()
        counts = self.counts[:, None]
        spread = ratio / (1 + counts * ratio)  # of y, around its posterior mean
        centred = (self.means - model.mean) @ axes
        artist = counts * spread * centred
        shift = artist.mean(axis=0)
        rest = centred - artist
        between = (artist - shift).T @ (artist - shift) + np.diag(spread.sum(axis=0))
        within = (counts * rest).T @ rest + np.diag((counts * spread).sum(axis=0))
        # Back from the axes: their inverse is V' W, as V' W V = I.
        back = axes.T @ model.within
        between = back.T @ (between / len(counts)) @ back
        within = (self.scatter + back.T @ within @ back) / counts.sum()
        return PLDA(model.mean + shift @ back, _symmetric(between), _symmetric(within))


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    """Without the asymmetry that rounding leaves."""
    return (matrix + matrix.T) / 2


def _checked_counts(counts: ArrayLike, artists: int) -> np.ndarray:
    """(m,) float64, one count an artist."""
    counts = np.asarray(counts, dtype=np.float64)
    if counts.shape not in ((), (artists,)) or not (np.isfinite(counts) & (counts >= 1)).all():
        raise InputError(
            f"PLDA: counts of enrolment songs of shape {counts.shape}; give each of the {artists} "
            "enrolled artists a number of one or more"
        )
    return np.broadcast_to(counts, (artists,))
