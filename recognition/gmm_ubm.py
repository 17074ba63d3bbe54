"""GMM-UBM, arxiv2017's first speaker-recognition baseline: 256 diagonal Gaussians on MFCCs.

The universal background model (UBM) is a Gaussian mixture fitted to the frames x of all training
tracks:

    p(x) = Σ_c w_c N(x; m_c, S_c),    S_c diagonal

An artist's model is the UBM with its means adapted to the artist's frames (`adapt_means`). A trial
is scored by the log-likelihood ratio of the two models, averaged over the frames of the test track
(`llr_scores`).

Shapes: C mixture components, D frame dimensions. Frames that contain NaN or infinite values raise
`InputError`.

Implementation: log w_c N(x; m_c, S_c) is linear in [z², z, 1], where z is x standardised by the
overall mean and standard deviation of the mixture, because the squares of x would suffer from
cancellation. One matrix product therefore gives all densities for a block of frames, and another
gives their statistics.

Reference: Reynolds, Quatieri, Dunn: *Speaker Verification Using Adapted Gaussian Mixture Models*,
Digital Signal Processing 10, 2000.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import threadpoolctl
from numpy.typing import ArrayLike
from sklearn.cluster import MiniBatchKMeans

from common import cli
from common.arrays import Reservoir
from common.errors import InputError
from common.parallel import map_in_threads
from recognition import RELEVANCE, kernels

_BLOCK = 1024  # frames per matrix product, so that the result fits in the CPU cache
_TASK = 16 * _BLOCK  # frames per thread task
_NEAR = -16.0  # log posterior below which `llr_scores` ignores a component
_LOWEST_RATIO = -60.0  # below this, terms that `add_exponentials` cuts off would be noticeable
_MAX_ROUNDING = 1e-4  # largest rounding error, in nats per frame, at which float32 is used
_MIN_FRAMES = 1e-8  # a component with fewer (fractional) frames keeps its mean and variance
_SAMPLE = 200  # frames sampled per component to initialise the mixture


@dataclass(eq=False)
class DiagonalGMM:
    """Gaussian mixture with diagonal covariances; raises `ValueError` if its arrays are invalid."""

    weights: np.ndarray  # (C,) float64, w_c; positive and summing to 1
    means: np.ndarray  # (C, D) float64, m_c
    variances: np.ndarray  # (C, D) float64, the diagonals of S_c; positive

    def __post_init__(self):
        arrays = [np.array(a, np.float64) for a in (self.weights, self.means, self.variances)]
        weights, means, variances = self.weights, self.means, self.variances = arrays
        valid = means.ndim == 2 and variances.shape == means.shape
        valid = valid and weights.shape == means.shape[:1]
        valid = valid and all(np.isfinite(array).all() for array in arrays)
        if not valid or min(weights.min(), variances.min()) <= 0 or abs(weights.sum() - 1) > 1e-6:
            raise ValueError("weights, means and variances are not those of a Gaussian mixture")

    def statistics(self, frames: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the Baum-Welch statistics of frames (n, D); they are zero if n is 0.

        They are N_c = Σ_x p(c | x), (C,) float64, and F_c = Σ_x p(c | x) x, (C, D) float64, in the
        precision of `fit_gmm`.
        """
        linear, d = _LinearGMM(self), self.means.shape[1]
        sums, *_ = linear.e_step(_check_frames(frames))
        z_sums, zeroth = sums[:, d : 2 * d], sums[:, 2 * d]
        return zeroth, linear.scale * z_sums + linear.centre * zeroth[:, None]


def fit_gmm(
    frames: np.ndarray,
    components: int = 256,
    *,
    iterations: int = 20,
    seed: int,
    start: str = "kmeans",
    variance_floor: float = 1e-3,
    tolerance: float = 1e-4,
    resume_from: tuple[DiagonalGMM, np.ndarray] | None = None,
    on_iteration: Callable[[DiagonalGMM, np.ndarray], None] = lambda gmm, history: None,
) -> tuple[DiagonalGMM, np.ndarray]:
    """Fit a mixture of C components (256 in arxiv2017) by expectation-maximisation (EM).

    Matrix products use single precision if that costs less than 1e-4 nats per frame, and double
    precision otherwise; sums over blocks use double precision. The result does not depend on the
    number of threads.

    Parameters
    ----------
    frames
        (n, D) float. The array may be memory-mapped; each iteration reads it once.
    start
        "kmeans" clusters a sample of 200 frames per component. "random" takes randomly chosen
        frames as means and the overall variance as variances.
    variance_floor
        Lower bound on each variance, as a fraction of that dimension's overall variance.
    tolerance
        Training stops when an iteration gains less log-likelihood than this, in nats per frame.
    on_iteration
        Called after each iteration with the current mixture and the log-likelihoods so far.
    resume_from
        The last arguments of `on_iteration`, to continue an interrupted fit bit-identically.

    Returns
    -------
    gmm : DiagonalGMM
    history : (iterations run,) float64, mean log-likelihood per frame before each iteration

    Examples
    --------
    >>> frames = np.random.default_rng(0).normal(size=(1000, 20))
    >>> ubm, history = fit_gmm(frames, components=4, seed=0)
    >>> ubm.means.shape
    (4, 20)
    """
    mean, variance, sample = _summarise(frames, components, seed)
    history = list(resume_from[1]) if resume_from else []
    if resume_from:
        gmm = resume_from[0]
    else:
        z = (sample - mean) / np.sqrt(variance)
        weights, means, variances = _initialise(z, components, start, seed)
        variances = np.maximum(variances, variance_floor) * variance
        gmm = DiagonalGMM(weights, mean + np.sqrt(variance) * means, variances)
    remaining = len(frames) * (iterations - len(history))
    with cli.progress_bar(total=remaining, desc="UBM", unit="frame", unit_scale=True) as progress:
        while len(history) < iterations:
            if len(history) > 1 and history[-1] - history[-2] < tolerance:
                break
            linear = _LinearGMM(gmm)
            sums, log_likelihood = np.zeros(linear.matrix.shape), 0.0
            tasks = (frames[start : start + _TASK] for start in range(0, len(frames), _TASK))
            for part, part_log_likelihood, part_frames in map_in_threads(linear.e_step, tasks):
                sums += part
                log_likelihood += part_log_likelihood
                progress.update(part_frames)
            gmm = _m_step(gmm, linear, sums, variance_floor * variance)
            history.append(log_likelihood / len(frames))
            on_iteration(gmm, np.array(history))
    return gmm, np.array(history)


def collect_statistics(
    ubm: DiagonalGMM, tracks: Iterable[np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute `DiagonalGMM.statistics` for each of `count` tracks, given their frames (n, D).

    The arrays (count, C) and (count, C, D) are float32, because 30,000 tracks would take 1.2 GB in
    float64.
    """
    zeroth = np.empty((count, *ubm.weights.shape), np.float32)
    first = np.empty((count, *ubm.means.shape), np.float32)
    statistics = map_in_threads(ubm.statistics, tracks)
    statistics = cli.progress_bar(statistics, total=count, desc="statistics", unit="track")
    for track, (track_zeroth, track_first) in enumerate(statistics):
        zeroth[track], first[track] = track_zeroth, track_first
    return zeroth, first


def adapt_means(
    ubm: DiagonalGMM, zeroth: np.ndarray, first: np.ndarray, relevance: float = RELEVANCE
) -> DiagonalGMM:
    """Adapt the means of the UBM to an artist's frames by maximum a posteriori estimation.

    For a component with n_c frames and their mean E_c (Reynolds et al. 2000, equations 11 to 14),

        m_c' = α_c E_c + (1 - α_c) m_c,    α_c = n_c / (n_c + r)

    `zeroth` (C,) and `first` (C, D) are the `DiagonalGMM.statistics` of the artist's frames, summed
    over tracks; `relevance` is r.
    """
    means = (first + relevance * ubm.means) / (zeroth + relevance)[:, None]
    return DiagonalGMM(ubm.weights, means, ubm.variances)


def llr_scores(
    models: Sequence[DiagonalGMM], ubm: DiagonalGMM, tracks: Iterable[np.ndarray]
) -> np.ndarray:
    """Score each track against each artist's model by the log-likelihood ratio, in nats per frame.

        score = 1/n Σ_x (log p(x | artist) - log p(x | UBM))

    For each frame, components whose posterior under the UBM is below e^-16 are ignored (Reynolds
    et al. keep the best five). On music, this changes scores by about 1e-3 and at most 4e-3, while
    their standard deviation is 0.7. Single precision, used as in `fit_gmm`, changes scores by 1e-6.

    The models must be made from the UBM by `adapt_means`; each track has frames (n, D). The scores
    are (tracks, models) float64.
    """
    linear = _LinearGMM(ubm)
    shifts = linear.mean_shifts(models)
    scores = [
        *map_in_threads(lambda track: linear.log_ratios(_check_frames(track), shifts), tracks)
    ]
    return np.array(scores).reshape(len(scores), len(models))


class _LinearGMM:
    """A mixture stored as the matrix that maps [z², z, 1] to log w_c N(x; m_c, S_c).

    The matrix is float32 if that is accurate enough, and float64 otherwise.
    """

    def __init__(self, gmm: DiagonalGMM):
        self.centre = gmm.weights @ gmm.means
        self.scale = np.sqrt(gmm.weights @ (gmm.variances + (gmm.means - self.centre) ** 2))
        self.means = (gmm.means - self.centre) / self.scale
        self.variances = gmm.variances / self.scale**2
        squares = self.means**2 / self.variances
        # Each dimension contributes terms of magnitude about squares + 1 to a log density.
        rounding = np.finfo(np.float32).eps * gmm.weights @ (squares + 1).sum(axis=1)
        self.dtype = np.dtype(np.float32 if rounding < _MAX_ROUNDING else np.float64)
        volume = np.log(2 * np.pi * gmm.variances)
        constant = np.log(gmm.weights) - 0.5 * (squares + volume).sum(axis=1)
        columns = [-0.5 / self.variances, self.means / self.variances, constant[:, None]]
        self.matrix: np.ndarray = np.concatenate(columns, axis=1).astype(self.dtype)

    def joint_log_densities(self, frames: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield [z², z, 1] (n, 2 D + 1) and log w_c N(x; m_c, S_c) (C, n), with n at most 1,024.

        The next block overwrites both arrays. Components are on the first axis because NumPy's
        maximum and sum are several times faster over the first axis than over the last.
        """
        longest, d = min(_BLOCK, len(frames)), len(self.centre)
        expanded = np.empty((longest, 2 * d + 1), self.dtype)
        buffer = np.empty(len(self.means) * longest, self.dtype)
        for start in range(0, len(frames), _BLOCK):
            block = frames[start : start + _BLOCK]
            z = expanded[: len(block)]
            kernels.expand(block, self.centre, self.scale, z)
            joint = buffer[: len(self.means) * len(block)].reshape(-1, len(block))
            yield z, np.matmul(self.matrix, z.T, out=joint)

    def e_step(self, frames: np.ndarray) -> tuple[np.ndarray, float, int]:
        """Return Σ p(c | x) [z², z, 1] (C, 2 D + 1), Σ log p(x), and the number of frames."""
        sums, log_likelihood = np.zeros(self.matrix.shape), 0.0
        for z, joint in self.joint_log_densities(frames):
            log_p, total = _exponentiate(joint)
            log_likelihood += log_p.sum()
            z /= total[:, None]  # normalising z is cheaper than normalising the larger `joint`
            sums += joint @ z
        return sums, log_likelihood, len(frames)

    def mean_shifts(self, models: Sequence[DiagonalGMM]) -> np.ndarray:
        """Return maps (C, D + 2, models) from [z, 1, y] to y plus the change in log density."""
        shifts = np.ones((len(self.means), len(self.centre) + 2, len(models)), self.dtype)
        for number, model in enumerate(models):
            means = (model.means - self.centre) / self.scale
            shifts[:, :-2, number] = (means - self.means) / self.variances
            constant = ((means**2 - self.means**2) / self.variances).sum(axis=1)
            shifts[:, -2, number] = -0.5 * constant
        return shifts

    def log_ratios(self, frames: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Return the mean over frames of log Σ_c p(c | x) exp(shift_c), as (models,)."""
        sums, d = np.zeros(shifts.shape[2]), len(self.centre)
        for z, joint in self.joint_log_densities(frames):
            log_p, _ = _exponentiate(joint.copy())
            joint -= log_p.astype(self.dtype)
            ratios = _sum_near_components(z[:, d:], joint, shifts)
            np.log(ratios, out=ratios)
            # Recompute models so far from the UBM that the sum is infinite or nearly 0.
            is_far = (ratios.min(axis=0) < _LOWEST_RATIO) | np.isinf(ratios.max(axis=0))
            for number in np.flatnonzero(is_far):
                shifted = joint + shifts[:, :-1, number] @ z[:, d:].T
                ratios[:, number] = _exponentiate(shifted)[0]
            sums += ratios.sum(axis=0, dtype=np.float64)
        return sums / len(frames)


def _sum_near_components(
    z: np.ndarray, log_posterior: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """Sum p(c | x) exp(shift_c) over the components near each frame, as (n, models).

    `z` is [z, 1] (n, D + 1), and `log_posterior` is log p(c | x) (C, n). Each frame is near about
    30 of 256 components. Looping over components lets all models share one matrix product.
    """
    sums = np.zeros((len(z), shifts.shape[2]), z.dtype)
    near = log_posterior > _NEAR
    for c in np.flatnonzero(near.any(axis=1)):
        rows = np.flatnonzero(near[c])
        terms = np.column_stack([z[rows], log_posterior[c, rows]]) @ shifts[c]
        kernels.add_exponentials(sums, rows, terms)
    return sums


def _exponentiate(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert joint log densities (C, n) in place to posteriors times a factor per frame.

    Return log p(x) (n,) float64 and the factors (n,).
    """
    peak, total = np.empty((2, joint.shape[1]), joint.dtype)
    kernels.exponentiate(joint, peak, total)
    return peak + np.log(total, dtype=np.float64), total


def _check_frames(frames: ArrayLike) -> np.ndarray:
    frames = np.asarray(frames)
    if not np.isfinite(frames).all():
        raise InputError("frames: contain NaN or infinite values; rebuild the mel cache")
    return frames


def _summarise(
    frames: np.ndarray, components: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean (D,), the variance (D,) and a uniform sample (s, D) of the frames."""
    if len(frames) < components:
        raise InputError(
            f"frames: {len(frames)} for {components} components; use fewer --components or more "
            "tracks"
        )
    count, sample = 0, Reservoir(_SAMPLE * components, seed)
    mean, squares, varies = np.zeros((3, frames.shape[1]))
    starts = range(0, len(frames), _TASK)
    for start in cli.progress_bar(starts, desc="UBM, start", unit_scale=_TASK, unit="frame"):
        block = _check_frames(frames[start : start + _TASK]).astype(np.float64)
        # Update the mean and the sum of squares block by block (Chan, Golub, LeVeque 1983).
        block_mean = block.mean(axis=0)
        difference, count = block_mean - mean, count + len(block)
        mean += difference * len(block) / count
        squares += ((block - block_mean) ** 2).sum(axis=0)
        squares += difference**2 * len(block) * (count - len(block)) / count
        varies += (block != frames[0]).any(axis=0)
        sample.offer(block)
    if not varies.all():
        raise InputError(f"frames: coefficient {np.argmin(varies)} is constant; leave it out")
    return mean, squares / count, sample.drawn()


def _initialise(
    z: np.ndarray, components: int, start: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return initial weights (C,), means and variances (C, D) from standardised frames z (s, D)."""
    if start == "random":
        chosen = np.random.default_rng(seed).choice(len(z), components, replace=False)
        weights = np.full(components, 1 / components)
        return weights, z[chosen], np.ones((components, z.shape[1]))
    # Use one thread, so that the summation order, and hence the result, depends only on the seed.
    with threadpoolctl.threadpool_limits(1):
        clusters = MiniBatchKMeans(components, n_init=1, batch_size=4096, random_state=seed)
        cluster = clusters.fit(z).labels_
    means = clusters.cluster_centers_
    # Add one pseudo-frame with the overall variance, for clusters with at most one frame.
    counts = np.bincount(cluster, minlength=components) + 1.0
    squares = (z - means[cluster]) ** 2
    sums = np.array([np.bincount(cluster, s, minlength=components) for s in squares.T]).T
    return counts / counts.sum(), means, (sums + 1) / counts[:, None]


def _m_step(
    gmm: DiagonalGMM, linear: _LinearGMM, sums: np.ndarray, variance_floor: np.ndarray
) -> DiagonalGMM:
    d = sums.shape[1] // 2
    squares, z_sums, zeroth = sums[:, :d], sums[:, d : 2 * d], sums[:, 2 * d]
    starved = (zeroth < _MIN_FRAMES)[:, None]
    count = np.where(starved, 1, zeroth[:, None])
    mean = z_sums / count
    variance = np.maximum(linear.scale**2 * (squares / count - mean**2), variance_floor)
    return DiagonalGMM(
        zeroth / zeroth.sum(),
        np.where(starved, gmm.means, linear.centre + linear.scale * mean),
        np.where(starved, gmm.variances, variance),
    )
