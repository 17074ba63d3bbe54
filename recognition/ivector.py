"""i-vectors: one short vector a song from a total-variability model (arxiv2017's baseline).

Dehak, Kenny, Dehak, Dumouchel, Ouellet: *Front-End Factor Analysis for Speaker Verification*,
IEEE TASLP 19 (4), 2011, with the EM of Kenny, Boulianne, Dumouchel: *Eigenvoice Modeling with
Sparse Training Data*, IEEE TSAP 13 (3), 2005. A frame that mixture c of the universal background
model (UBM) accounts for has mean m_c + T_c w and the UBM's variances S_c; w, one a song, is
standard normal before its frames are seen. The i-vector is the mean of w after.

Everywhere: k mixtures, d dimensions of a frame, R dimensions of an i-vector.
"""

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from common.parallel import map_in_threads
from evaluation.feature_checks import check_features

# Numbers held of the songs' packed R × R matrices at a time; 256 MiB.
_BLOCK_CELLS = 2**25

_TASK = 8  # songs that a thread takes at a time

# Spread of the random start, in standard deviations of the UBM. Small: the first E-step then
# sees w as nearly unknown, and the first M-step turns T towards where the songs do vary.
_START = 0.1

# Fewer frames than this, over all songs, say nothing of a mixture.
_NO_FRAMES = 1e-10

# Below this share of the largest variance a direction is rounding: float32 keeps 7 digits.
_SINGULAR = 1e-12


@dataclass(frozen=True)
class TotalVariability:
    """A total-variability model over a UBM with diagonal covariances.

    matrix : (k, d, R) float64, T
    means, variances : (k, d) float64, the UBM's
    """

    matrix: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def transform(self, zeroth: ArrayLike, first: ArrayLike) -> np.ndarray:
        """The i-vectors of songs, (songs, R) float64, from their statistics as in `fit`.

        Raises
        ------
        InputError
            As `fit`.
        """
        zeroth, first = _checked(zeroth, first, self.means)
        blocks = [block.mean for block in _posteriors(self, zeroth, first, moments=False)]
        return np.concatenate(blocks)


def fit_total_variability(
    zeroth: ArrayLike,
    first: ArrayLike,
    means: ArrayLike,
    variances: ArrayLike,
    *,
    dimensions: int,
    iterations: int = 10,
    seed: int = 0,
    begun: tuple[TotalVariability, ArrayLike] | None = None,
    after: Callable[[TotalVariability, np.ndarray], None] = lambda model, gains: None,
) -> tuple[TotalVariability, np.ndarray]:
    """Train T from a seeded random start; the UBM stays as it is.

    Parameters
    ----------
    zeroth : (songs, k) float, N
        Frames that each mixture accounts for: the sum of its posterior probabilities.
    first : (songs, k, d) float, F
        Sum of the frames weighted so, not centred.
    means, variances : (k, d) float
        The UBM's.
    dimensions : int
        R.
    begun
        What an earlier call with the same arguments gave to `after`: training goes on
        from there, to the very end that it would have come to.
    after
        Called with the model and the gains so far, after each iteration.

    Returns
    -------
    The model, and (iterations,) float64, what `em_step` says of the model that each
    iteration began with; this never falls.

    Raises
    ------
    InputError
        Shapes that do not fit one another, NaN or infinity, negative counts, a
        song without a frame, variances not above zero, or R not from 1 to k d.
    """
    model, gains = begun or (random_start(means, variances, dimensions, seed), [])
    gains = list(gains)
    left = range(len(gains), iterations)
    for _ in cli.progress_bar(left, desc="total variability", unit="iteration"):
        model, gain = em_step(model, zeroth, first)
        gains.append(gain)
        after(model, np.array(gains))
    return model, np.array(gains)


def random_start(
    means: ArrayLike, variances: ArrayLike, dimensions: int, seed: int
) -> TotalVariability:
    """A model whose T is drawn from a normal distribution, for `em_step` to improve."""
    means, variances = (np.asarray(each, dtype=np.float64) for each in (means, variances))
    if means.ndim != 2 or means.shape != variances.shape:
        raise InputError(
            f"i-vector: UBM means of shape {means.shape} and variances of shape "
            f"{variances.shape}; give both as (mixtures, dimensions)"
        )
    if not (np.isfinite(means).all() and np.isfinite(variances).all() and variances.min() > 0):
        raise InputError(
            "i-vector: the UBM has NaN, infinity or a variance not above zero; train it again"
        )
    if not 1 <= dimensions <= means.size:
        raise InputError(
            f"i-vector: {dimensions} dimensions of {means.size} UBM means; "
            f"take from 1 to {means.size}"
        )
    draw = np.random.default_rng(seed).standard_normal((*means.shape, dimensions))
    return TotalVariability(_START * np.sqrt(variances)[..., None] * draw, means, variances)


def em_step(
    model: TotalVariability, zeroth: ArrayLike, first: ArrayLike
) -> tuple[TotalVariability, float]:
    """One iteration of EM with its minimum-divergence step; statistics and errors as in `fit`.

    Returns
    -------
    The better model, and the marginal log-likelihood of the songs under the one
    given, less that under T = 0 (the UBM alone), which no iteration changes.
    """
    zeroth, first = _checked(zeroth, first, model.means)
    k, d, rank = model.matrix.shape
    triangle = _Triangle(rank)
    total = np.zeros(triangle.size)  # sum of E[w w'] over the songs
    second = np.zeros((k, triangle.size))  # the same for each mixture, weighted with N
    cross = np.zeros((k * d, rank))  # sum of F E[w]', F centred
    gain = 0.0
    for block in _posteriors(model, zeroth, first, moments=True):
        total += block.moment.sum(axis=0)
        second += block.zeroth.T @ block.moment
        cross += block.first.T @ block.mean
        gain += block.gain
    matrix, cross = model.matrix.copy(), cross.reshape(k, d, rank)

    def update(c: int) -> None:
        """T_c (sum of N E[w w']) = sum of F E[w]'."""
        matrix[c] = np.linalg.solve(triangle.unpacked(second[c]), cross[c].T).T

    # A mixture without frames keeps its T_c.
    seen = np.flatnonzero(zeroth.sum(axis=0, dtype=np.float64) > _NO_FRAMES)
    collections.deque(map_in_threads(update, seen), maxlen=0)
    # Minimum divergence: w fits a normal of covariance P better than the standard one, and
    # T w with such a w is T P^(1/2) times a standard w.
    spread = np.linalg.cholesky(triangle.unpacked(total / len(zeroth)))
    return TotalVariability(matrix @ spread, model.means, model.variances), gain


# ---------------------------------------------------------------- E-step


class _Posteriors(NamedTuple):
    """A block of songs and what is known of their w once their frames are seen.

    zeroth : (n, k); first : (n, k d), centred
    mean : (n, R), E[w]
    moment : (n, R (R + 1) / 2), E[w w'], packed; without meaning unless asked for
    gain : the songs' marginal log-likelihood, less that under T = 0
    """

    zeroth: np.ndarray
    first: np.ndarray
    mean: np.ndarray
    moment: np.ndarray
    gain: float


def _posteriors(
    model: TotalVariability, zeroth: np.ndarray, first: np.ndarray, *, moments: bool
) -> Iterator[_Posteriors]:
    """The songs in their order, a block at a time; `moments` asks for E[w w'] and the gain.

    The posterior of w has the precision L = I + sum over c of N_c T_c' S_c^-1 T_c and
    the mean L^-1 b with b = sum over c of T_c' S_c^-1 (F_c - N_c m_c).
    """
    k, d, rank = model.matrix.shape
    triangle = _Triangle(rank)
    weighted = model.matrix / model.variances[..., None]
    # T_c' S_c^-1 T_c of all mixtures, packed: the sums over c are then one matrix product.
    products = np.empty((k, triangle.size))
    for c in range(k):
        products[c] = triangle.packed(model.matrix[c].T @ weighted[c])
    identity = triangle.packed(np.eye(rank))
    step = max(1, _BLOCK_CELLS // triangle.size)
    for start in range(0, len(zeroth), step):
        counts = np.asarray(zeroth[start : start + step], dtype=np.float64)
        centred = first[start : start + step] - counts[..., None] * model.means
        centred = centred.reshape(len(counts), k * d)
        moment = counts @ products
        moment += identity  # L so far
        mean = centred @ weighted.reshape(k * d, rank)  # b so far
        gain = _solve(triangle, moment, mean, moments)
        yield _Posteriors(counts, centred, mean, moment, gain)


def _solve(triangle: "_Triangle", precision: np.ndarray, b: np.ndarray, moments: bool) -> float:
    """In place: b (n, R) to E[w], packed L to E[w w'] with `moments`; return the gain (or 0)."""

    def solve(start: int) -> float:
        some = slice(start, start + _TASK)
        full = triangle.unpacked(precision[some])
        if not moments:
            b[some] = np.linalg.solve(full, b[some, :, None])[..., 0]
            return 0.0
        covariance = np.linalg.inv(full)
        mean = (covariance @ b[some, :, None])[..., 0]
        factors = np.diagonal(np.linalg.cholesky(full), axis1=1, axis2=2)  # of |L|, as roots
        gain = np.sum(b[some] * mean) / 2 - np.log(factors).sum()
        covariance += mean[:, :, None] * mean[:, None, :]
        precision[some], b[some] = triangle.packed(covariance), mean
        return gain

    return sum(map_in_threads(solve, range(0, len(b), _TASK)))


class _Triangle:
    """Symmetric (R, R) matrices packed as their lower triangles, row by row: half the work."""

    def __init__(self, rank: int):
        self._lower = np.flatnonzero(np.tri(rank, dtype=bool))
        self.size = self._lower.size
        places = np.zeros((rank, rank), dtype=np.intp)
        places.ravel()[self._lower] = np.arange(self.size)
        self._places = np.maximum(places, places.T)

    def packed(self, full: np.ndarray) -> np.ndarray:
        """(…, R, R) to (…, size)."""
        return full.reshape(*full.shape[:-2], -1)[..., self._lower]

    def unpacked(self, packed: np.ndarray) -> np.ndarray:
        """(…, size) to (…, R, R)."""
        return packed[..., self._places]


def _checked(
    zeroth: ArrayLike, first: ArrayLike, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics as arrays of any float type that fit the UBM, or an `InputError`."""
    zeroth, first = np.asanyarray(zeroth), np.asanyarray(first)
    if first.shape != (len(first), *means.shape) or zeroth.shape != first.shape[:2]:
        raise InputError(
            f"i-vector: statistics of shapes {zeroth.shape} and {first.shape} for a UBM of shape "
            f"{means.shape}; give (songs, mixtures) and (songs, mixtures, dimensions)"
        )
    if not len(first):
        raise InputError("i-vector: statistics of no song; check the subset column of the split")
    good = np.isfinite(zeroth).all(axis=1) & (zeroth.min(axis=1) >= 0) & zeroth.any(axis=1)
    for start in range(0, len(first), 1024):  # a block at a time: together they are large
        good[start : start + 1024] &= np.isfinite(first[start : start + 1024]).all(axis=(1, 2))
    if not good.all():
        raise InputError(
            f"i-vector: the statistics of {np.sum(~good)} of {len(good)} songs have NaN, infinity, "
            f"a negative count or no frame, the first is row {np.argmin(good)}; make them again"
        )
    return zeroth, first


# ---------------------------------------------------------------- before scoring


@dataclass(frozen=True)
class Whitening:
    """The affine map after which the vectors it was fitted to have mean 0 and covariance I.

    mean : (d,) float64
    matrix : (d, d) float64, symmetric: the one such map that turns nothing
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, x: ArrayLike) -> "Whitening":
        """Fit to vectors (n, d).

        Raises
        ------
        InputError
            NaN or infinity, or a covariance that is singular.
        """
        x = check_features(x, "i-vectors")
        mean = x.mean(axis=0)
        variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False, bias=True)))
        spanned = np.sum(variances > _SINGULAR * variances[-1])
        if spanned < x.shape[1]:
            raise InputError(
                f"whitening: {len(x)} vectors of {x.shape[1]} dimensions span only {spanned}; "
                "take fewer dimensions or more songs"
            )
        return cls(mean, directions / np.sqrt(variances) @ directions.T)

    def transform(self, x: ArrayLike) -> np.ndarray:
        """Vectors (n, d) whitened, float64."""
        x = check_features(x, "i-vectors")
        if x.shape[1] != len(self.mean):
            raise InputError(
                f"whitening: vectors of {x.shape[1]} dimensions, fitted to {len(self.mean)}; "
                "extract both with the same model"
            )
        return (x - self.mean) @ self.matrix


def length_normalise(x: ArrayLike) -> np.ndarray:
    """Vectors (n, d) at Euclidean length 1, float64; a zero vector stays zero.

    It makes i-vectors nearly normal, which PLDA takes them to be. Garcia-Romero,
    Espy-Wilson: *Analysis of i-vector Length Normalization*, Interspeech 2011.
    """
    x = check_features(x, "i-vectors")
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)
