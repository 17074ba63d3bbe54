"""i-vectors: one short vector per track from a total-variability model, a baseline in arxiv2017.

The frames of a track that component c of the universal background model (UBM) accounts for have
mean m_c + T_c w and the UBM's variances S_c. Stacked over components, this is Dehak's model

    M = m + T w,    w ~ N(0, I)

The i-vector is the posterior mean of w given the track's Baum-Welch statistics N_c and F_c
(`DiagonalGMM.statistics`). With F̃_c = F_c - N_c m_c,

    L = I + Σ_c N_c T_c' S_c⁻¹ T_c,    E[w] = L⁻¹ Σ_c T_c' S_c⁻¹ F̃_c,    cov(w) = L⁻¹

Shapes: C UBM components, D frame dimensions, R i-vector dimensions.

References: Dehak, Kenny, Dehak, Dumouchel, Ouellet: *Front-End Factor Analysis for Speaker
Verification*, IEEE TASLP 19 (4), 2011. Kenny, Boulianne, Dumouchel: *Eigenvoice Modeling with
Sparse Training Data*, IEEE TSAP 13 (3), 2005 (the EM algorithm).
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from common.parallel import map_in_threads, one_blas_thread
from evaluation.feature_checks import check_features
from recognition.gmm_ubm import DiagonalGMM
from recognition.packed import PackedSymmetric

_BLOCK_CELLS = 2**25  # entries in the packed R x R matrices for a block of tracks; 256 MiB
_TASK = 16  # tracks per thread task
_PARTS = 8  # thread tasks per matrix product; fixed, so that results do not depend on the machine
# Scale of the random initial T, in UBM standard deviations. It is small, so that w is nearly
# unknown in the first E-step and the first M-step turns T towards the tracks' actual variation.
_START = 0.1
_NO_FRAMES = 1e-10  # a component with fewer frames over all tracks keeps its T_c
# Fraction of the largest variance below which a variance is only rounding (float32: 7 digits).
SINGULAR = 1e-12


@dataclass(frozen=True)
class TotalVariability:
    """A total-variability model."""

    matrix: np.ndarray  # (C, D, R) float64, T
    ubm: DiagonalGMM

    def transform(self, zeroth: ArrayLike, first: ArrayLike) -> np.ndarray:
        """Return the i-vectors E[w] (tracks, R) float64 for the statistics of some tracks.

        As in `fit_total_variability`, `zeroth` is N (tracks, C) and `first` is F (tracks, C, D).
        """
        with one_blas_thread():
            blocks = _posteriors(self, np.asarray(zeroth), np.asarray(first), moments=False)
            return np.concatenate([mean for _, _, mean, _, _ in blocks])


def fit_total_variability(
    zeroth: ArrayLike,
    first: ArrayLike,
    ubm: DiagonalGMM,
    *,
    dimensions: int,
    iterations: int = 10,
    seed: int,
    resume_from: tuple[TotalVariability, np.ndarray] | None = None,
    on_iteration: Callable[[TotalVariability, np.ndarray], None] = lambda model, gains: None,
) -> tuple[TotalVariability, np.ndarray]:
    """Train T (R = 256 dimensions in arxiv2017) by EM from a random start.

    `zeroth` (tracks, C) is N, the number of frames per component, and `first` (tracks, C, D) is F,
    the sum of frames per component, not centred; both are computed with `ubm`, which remains
    unchanged. `resume_from` and `on_iteration` are as in `fit_gmm`.

    Also return the log-likelihood gain over T = 0 before each iteration, (iterations,) float64.

    Examples
    --------
    >>> ubm, _ = fit_gmm(np.concatenate(tracks), components=256, seed=0)
    >>> zeroth, first = collect_statistics(ubm, tracks, len(tracks))
    >>> model, _ = fit_total_variability(zeroth, first, ubm, dimensions=256, seed=0)
    >>> ivectors = model.transform(zeroth, first)
    """
    if resume_from:
        model, so_far = resume_from
    else:
        draw = np.random.default_rng(seed).standard_normal((*ubm.means.shape, dimensions))
        start = _START * np.sqrt(ubm.variances)[..., None] * draw
        model, so_far = TotalVariability(start, ubm), np.zeros(0)
    gains = list(so_far)
    remaining = range(len(gains), iterations)
    for _ in cli.progress_bar(remaining, desc="total variability", unit="iteration"):
        with one_blas_thread():
            model, gain = em_step(model, zeroth, first)
        gains.append(gain)
        on_iteration(model, np.array(gains))
    return model, np.array(gains)


def em_step(
    model: TotalVariability, zeroth: ArrayLike, first: ArrayLike
) -> tuple[TotalVariability, float]:
    """Run one EM iteration, followed by a minimum-divergence step.

    Also return the gain: the marginal log-likelihood of the tracks under the given model minus that
    for T = 0.
    """
    zeroth, first = np.asarray(zeroth), np.asarray(first)
    c, d, rank = model.matrix.shape
    symmetric = PackedSymmetric(rank)
    # Σ_s N_c E[w w'], summed over tracks s, and in the last row Σ_s E[w w']
    moments = np.zeros((c + 1, symmetric.size))
    cross = np.zeros((c * d, rank))  # Σ_s F̃ E[w]'
    gain = 0.0
    blocks = _posteriors(model, zeroth, first, moments=True)
    for counts, centred, mean, moment, block_gain in blocks:

        def add_moments(part: slice, counts=counts, moment=moment) -> None:
            moments[:, part] += counts.T @ moment[:, part]

        def add_cross(part: slice, centred=centred, mean=mean) -> None:
            cross[part] += centred[:, part].T @ mean

        _run_in_parts(add_moments, symmetric.size)
        _run_in_parts(add_cross, c * d)
        gain += block_gain
    matrix, cross = model.matrix.copy(), cross.reshape(c, d, rank)

    def update(component: int) -> None:
        """Solve T_c Σ_s N_c E[w w'] = Σ_s F̃_c E[w]' for T_c."""
        left = symmetric.unpack(moments[component])
        matrix[component] = np.linalg.solve(left, cross[component].T).T

    seen = np.flatnonzero(zeroth.sum(axis=0, dtype=np.float64) > _NO_FRAMES)
    _run_in_threads(update, seen)
    # Minimum divergence: w follows N(0, P), where P is the mean of E[w w'], more closely than
    # N(0, I). Replacing T by T P^(1/2) makes w standard normal again.
    root = np.linalg.cholesky(symmetric.unpack(moments[-1] / len(zeroth)))
    return TotalVariability(matrix @ root, model.ubm), gain


def _posteriors(
    model: TotalVariability, zeroth: np.ndarray, first: np.ndarray, *, moments: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]]:
    """Run the E-step in blocks of n tracks, so memory use does not grow with the number of tracks.

    Yield [N, 1] (n, C + 1), F̃ (n, C D), E[w] (n, R), E[w w'] (n, R (R + 1) / 2), packed, and the
    gain summed over the tracks. The last two are defined only with `moments`, and the next block
    overwrites E[w w'].
    """
    c, d, rank = model.matrix.shape
    symmetric = PackedSymmetric(rank)
    weighted = model.matrix / model.ubm.variances[..., None]  # S⁻¹ T
    products = np.empty((c + 1, symmetric.size))  # T_c' S_c⁻¹ T_c and, in the last row, I
    products[-1] = symmetric.pack(np.eye(rank))

    def multiply(component: int) -> None:
        products[component] = symmetric.pack(model.matrix[component].T @ weighted[component])

    _run_in_threads(multiply, range(c))
    weighted = weighted.reshape(c * d, rank)
    step = min(max(1, _BLOCK_CELLS // symmetric.size), len(zeroth))
    buffer = np.empty((step, symmetric.size))
    for start in range(0, len(zeroth), step):
        counts = np.ones((min(step, len(zeroth) - start), c + 1))
        counts[:, :c] = zeroth[start : start + step]
        centred = first[start : start + step] - counts[:, :c, None] * model.ubm.means
        centred = centred.reshape(len(counts), c * d)
        precision, projected = buffer[: len(counts)], np.empty((len(counts), rank))

        def compute_precision(part: slice, counts=counts, precision=precision) -> None:
            np.matmul(counts, products[:, part], out=precision[:, part])  # L

        def project(part: slice, centred=centred, projected=projected) -> None:
            np.matmul(centred, weighted[:, part], out=projected[:, part])  # T' S⁻¹ F̃

        _run_in_parts(compute_precision, symmetric.size)
        _run_in_parts(project, rank)
        gain = _solve(symmetric, precision, projected, moments)
        yield counts, centred, projected, precision, gain


def _run_in_threads(function: Callable, items: Iterable) -> None:
    """Call a function for each item in threads."""
    collections.deque(map_in_threads(function, items), maxlen=0)


def _run_in_parts(function: Callable[[slice], None], size: int) -> None:
    """Call a function in threads for consecutive slices of `size` rows or columns.

    BLAS itself uses one thread, as its idle threads would wait in busy loops beside these.
    """
    step = -(-size // _PARTS)
    _run_in_threads(function, (slice(start, start + step) for start in range(0, size, step)))


def _solve(
    symmetric: PackedSymmetric, precision: np.ndarray, b: np.ndarray, moments: bool
) -> float:
    """Replace b = T' S⁻¹ F̃ by E[w] and, with `moments`, L by E[w w'], in place; return the gain."""

    def solve(start: int) -> float:
        gain, rows = 0.0, slice(start, start + _TASK)
        for matrix, mean in zip(precision[rows], b[rows], strict=True):
            projected = mean.copy()
            log_determinant = symmetric.solve(matrix, mean)
            gain += (projected @ mean - log_determinant) / 2
            if moments:
                symmetric.second_moment(matrix, mean)
        return gain

    return sum(map_in_threads(solve, range(0, len(b), _TASK)))


@dataclass(frozen=True)
class Whitening:
    """The affine map that gives the vectors it was fitted to mean 0 and covariance I."""

    mean: np.ndarray  # (d,) float64
    matrix: np.ndarray  # (d, d) float64; symmetric (ZCA) and therefore unique

    @classmethod
    def fit(cls, x: ArrayLike) -> "Whitening":
        """Fit the map to vectors (n, d), which must span all d dimensions."""
        x = check_features(x, "i-vectors")
        mean = x.mean(axis=0)
        variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False, bias=True)))
        rank = np.sum(variances > SINGULAR * variances[-1])
        if rank < x.shape[1]:
            raise InputError(
                f"whitening: {len(x)} vectors of {x.shape[1]} dimensions span only {rank}; "
                "use fewer dimensions or more tracks"
            )
        return cls(mean, directions / np.sqrt(variances) @ directions.T)

    def transform(self, x: ArrayLike) -> np.ndarray:
        """Return the whitened vectors (n, d) as float64."""
        return (check_features(x, "i-vectors") - self.mean) @ self.matrix


def length_normalise(x: ArrayLike) -> np.ndarray:
    """Scale vectors (n, d) to unit Euclidean length as float64; zero vectors remain zero.

    Length normalisation makes i-vectors nearly Gaussian, as PLDA assumes (Garcia-Romero,
    Espy-Wilson: *Analysis of i-vector Length Normalization in Speaker Recognition Systems*,
    Interspeech 2011).
    """
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)
