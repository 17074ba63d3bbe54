"""GMM-UBM: the speaker-recognition baseline of arxiv2017, 256 diagonal Gaussians on MFCCs.

A universal background model (UBM) is trained on the frames of all training
tracks; an artist's model is the UBM with means adapted to the artist's frames;
a trial's score is the log-likelihood ratio of the two (Reynolds, Quatieri,
Dunn: Speaker verification using adapted Gaussian mixture models, 2000).

The joint log-density of frame and mixture is linear in [z², z, 1], z being the
frame with the mixture model's own mean taken off and its standard deviation
divided out; without that the squares would cancel badly. So it is one matrix
product, and the statistics are another. Frames are taken a few at a time: no
array grows with their number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import threadpoolctl
from numpy.typing import ArrayLike
from sklearn.cluster import MiniBatchKMeans

from common import cli
from common.errors import InputError
from common.parallel import map_in_threads
from common.reservoir import Reservoir

_ROWS = 1024  # frames of one matrix product: its result stays in the processor's cache
_TASK = 16 * _ROWS  # frames that a thread takes at a time
_NEAR = -16.0  # log of the least posterior of a mixture that a trial's score is made of
_FAINT = -60.0  # log of the least posterior told from 0: denormal numbers would be slow
_ROUNDING = 1e-4  # nats a frame that single precision may cost; beyond it is not used
_STARVED = 1e-8  # frames: a mixture that has fewer keeps its mean and variance
_SAMPLE = 200  # frames for each mixture that the start is made from

Blocks = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True, eq=False)
class DiagonalGMM:
    """A mixture of k Gaussians with diagonal covariances over d dimensions, all float64.

    `weights` (k,) are positive and sum to 1; `means` and `variances` are (k, d),
    the variances positive.

    Raises
    ------
    ValueError
        Shapes, or values, that no mixture has.
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def __post_init__(self):
        for name in ("weights", "means", "variances"):
            object.__setattr__(self, name, np.array(getattr(self, name), np.float64))
        shape = self.means.shape
        if len(shape) != 2 or self.variances.shape != shape or self.weights.shape != shape[:1]:
            raise ValueError("weights, means, variances: their shapes are not (k,), (k, d), (k, d)")
        if not all(np.isfinite(a).all() for a in (self.weights, self.means, self.variances)):
            raise ValueError("weights, means, variances: hold NaN or infinity")
        if (self.variances <= 0).any() or (self.weights <= 0).any():
            raise ValueError("weights, variances: are not all positive")
        if abs(self.weights.sum() - 1) > 1e-6:
            raise ValueError("weights: do not sum to 1")

    def log_likelihood(self, frames: np.ndarray) -> np.ndarray:
        """Log p(x), natural, of each row of `frames` (n, d): (n,) float64."""
        frames, linear = _checked(frames, self), _Linear(self, np.float64)
        return _joined([_exponentiate(joint)[0] for _, joint in linear.pieces(frames)])

    def posteriors(self, frames: np.ndarray) -> np.ndarray:
        """Probability of each mixture for each row of `frames` (n, d): (n, k) float64."""
        frames, linear = _checked(frames, self), _Linear(self, np.float64)
        found = np.empty((len(frames), len(self.weights)))
        first = 0
        for _, joint in linear.pieces(frames):
            total = _exponentiate(joint)[1]
            found[first : first + len(total)] = (joint / total).T
            first += len(total)
        return found

    def statistics(self, frames: np.ndarray, *, second: bool = False) -> tuple[np.ndarray, ...]:
        """Baum-Welch statistics of `frames` (n, d): sums over frames of posterior times x^0, x, x².

        Not centred. Of no frames they are zeros.

        Returns
        -------
        zeroth (k,), first (k, d), and with `second` also second (k, d), float64.
        """
        linear = _Linear(self, np.float64)
        sums, *_ = linear.sums(_checked(frames, self))
        squares, zs, zeroth = linear.parted(sums)
        first = linear.scale * zs + linear.centre * zeroth[:, None]
        if not second:
            return zeroth, first
        # x² from x = centre + scale z
        crossed = linear.centre * (2 * first - linear.centre * zeroth[:, None])
        return zeroth, first, linear.scale**2 * squares + crossed


def fit_gmm(
    blocks: Blocks,
    mixtures: int = 256,
    *,
    iterations: int = 20,
    seed: int,
    start: str | DiagonalGMM = "kmeans",
    floor: float = 1e-3,
    tolerance: float = 1e-4,
    begun: tuple[DiagonalGMM, ArrayLike] | None = None,
    after: Callable[[DiagonalGMM, np.ndarray], None] = lambda gmm, history: None,
) -> tuple[DiagonalGMM, np.ndarray]:
    """Fit a mixture to frames by expectation-maximisation, in a pass over them an iteration.

    Matrix products are in single precision where their rounding is below 1e-4
    nats a frame, in double elsewhere; sums over blocks are double. The result
    does not depend on the number of threads.

    Parameters
    ----------
    blocks
        Called for each pass; gives the frames anew as (n, d) arrays of any n, the
        same ones in the same order. A few are held at a time, so each must be an
        array of its own, or a slice of one that stays.
    mixtures
        k; 256 in arxiv2017.
    iterations
        At most so many.
    seed
        Of the sample and the start.
    start
        "kmeans": clusters of 200 frames for each mixture; "random": that many frames as
        means, with the variance of all frames; or a mixture to go on from.
    floor
        Least variance, as a fraction of that of all frames, for each dimension.
    tolerance
        Nats a frame: stop when an iteration gains less.
    begun
        What an earlier call with the same arguments gave to `after`: training goes on
        from there, to the very end that it would have come to.
    after
        Called with the mixture and the likelihoods so far, after each iteration.

    Returns
    -------
    The mixture, and the mean log-likelihoods (iterations done,) float64 of a
    frame; each is that of the mixture which the iteration began with.

    Raises
    ------
    InputError
        Fewer frames than mixtures, NaN or infinity, or a dimension that is the
        same in all frames.
    ValueError
        `blocks` does not give the same frames again, or a wrong setting.
    """
    if mixtures < 1 or iterations < 1 or not 0 < floor < 1:
        raise ValueError("mixtures, iterations: at least 1; floor: between 0 and 1")
    data = _survey(blocks, mixtures, seed)
    gmm, history = begun or (_begun(data, mixtures, seed, start, floor), [])
    if gmm.means.shape != (mixtures, len(data.mean)):
        raise ValueError(f"start: {gmm.means.shape}, not {(mixtures, len(data.mean))}")
    history = list(history)

    def ended() -> bool:
        slow = len(history) > 1 and history[-1] - history[-2] < tolerance
        return slow or len(history) >= iterations

    left = data.count * (iterations - len(history))
    with cli.progress_bar(total=left, desc="UBM", unit="frame", unit_scale=True) as bar:
        while not ended():
            linear = _Linear(gmm)
            sums, total, seen = np.zeros(linear.matrix.shape), 0.0, 0
            for part, likelihood, count in map_in_threads(linear.sums, _tasks(blocks())):
                sums += part
                total += likelihood
                seen += count
                bar.update(count)
            if seen != data.count:
                raise ValueError("blocks: other frames than before; give them anew each time")
            gmm = _maximised(gmm, linear, sums, floor * data.variance)
            history.append(total / data.count)
            after(gmm, np.array(history))
    return gmm, np.array(history)


def collect_statistics(
    ubm: DiagonalGMM, songs: Iterable[np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """`DiagonalGMM.statistics` of the frames (n, d) of `count` songs.

    Returns
    -------
    (count, k) and (count, k, d) float32: in double they would be 1.2 GB for 30,000 songs.

    Raises
    ------
    InputError
        A song without frames, or with NaN or infinity.
    """
    zeroth = np.empty((count, *ubm.weights.shape), np.float32)
    first = np.empty((count, *ubm.means.shape), np.float32)
    found = map_in_threads(lambda frames: ubm.statistics(_some(frames)), songs)
    found = cli.progress_bar(found, total=count, desc="statistics", unit="song")
    for song, both in enumerate(found):
        zeroth[song], first[song] = both
    return zeroth, first


def adapt_means(ubm: DiagonalGMM, frames: np.ndarray, relevance: float = 16.0) -> DiagonalGMM:
    """MAP adaptation of the means alone (Reynolds et al. 2000, equations 11 to 14).

    Mixture k, with n_k frames of mean E_k, gets the mean a E_k + (1 - a) m_k where
    a = n_k / (n_k + relevance). Weights and variances stay.

    Raises
    ------
    InputError
        No frames, as a silent track may have; or NaN or infinity among them.
    """
    return adapt_means_by(ubm, *ubm.statistics(_some(frames)), relevance)


def adapt_means_by(
    ubm: DiagonalGMM, zeroth: ArrayLike, first: ArrayLike, relevance: float = 16.0
) -> DiagonalGMM:
    """`adapt_means` to frames of which only the statistics (k,) and (k, d) are known."""
    if relevance <= 0:
        raise ValueError("relevance: must be positive")
    means = (first + relevance * ubm.means) / (zeroth + relevance)[:, None]
    return DiagonalGMM(ubm.weights, means, ubm.variances)


def log_likelihood_ratio(model: DiagonalGMM, ubm: DiagonalGMM, frames: np.ndarray) -> float:
    """Mean over `frames` (n, d) of log p(x | model) - log p(x | ubm), in nats.

    Raises
    ------
    InputError
        No frames, as a silent track may have; or NaN or infinity among them.
    """
    frames = _some(frames)
    return float(np.mean(model.log_likelihood(frames) - ubm.log_likelihood(frames)))


def llr_scores(
    models: Sequence[DiagonalGMM], ubm: DiagonalGMM, songs: Iterable[np.ndarray]
) -> np.ndarray:
    """`llr` of every song against every model that `adapt_means` made from `ubm`.

    Mixtures to which the UBM gives a posterior below e^-16 for a frame are passed over
    there; Reynolds et al. keep the best five. On music that changes a score by 1e-3 and
    seldom by up to 4e-3, where scores spread by 0.7. The products are single precision
    where the UBM allows it (see `train`), which changes them by 1e-6.

    Parameters
    ----------
    songs
        (n, d) frames each; a few are held at a time.

    Returns
    -------
    (songs, models) float64.

    Raises
    ------
    InputError
        A song without frames, or with NaN or infinity.
    ValueError
        A model's weights or variances are not the UBM's.
    """
    for model in models:
        if not (
            np.array_equal(model.weights, ubm.weights)
            and np.array_equal(model.variances, ubm.variances)
        ):
            raise ValueError("models: not made from this ubm by adapt_means")
    linear = _Linear(ubm)
    shifts = linear.shifts(models)

    def scores(frames: np.ndarray) -> np.ndarray:
        return linear.ratios(_checked(_some(frames), ubm), shifts)

    found = list(map_in_threads(scores, songs))
    return np.array(found).reshape(len(found), len(models))


class _Linear:
    """A mixture made ready for matrix products in one precision; None: the fastest that will do."""

    def __init__(self, gmm: DiagonalGMM, dtype: type | None = None):
        self.centre = gmm.weights @ gmm.means
        self.scale = np.sqrt(gmm.weights @ (gmm.variances + (gmm.means - self.centre) ** 2))
        self.means = (gmm.means - self.centre) / self.scale
        self.variances = gmm.variances / self.scale**2
        squares = self.means**2 / self.variances
        # What is summed up for a frame of each mixture is some (squares + 1) in each dimension.
        rounding = np.finfo(np.float32).eps * gmm.weights @ (squares + 1).sum(axis=1)
        self.dtype = dtype or (np.float32 if rounding < _ROUNDING else np.float64)
        volume = np.log(2 * np.pi * gmm.variances)
        constant = np.log(gmm.weights) - 0.5 * (squares + volume).sum(axis=1)
        columns = [-0.5 / self.variances, self.means / self.variances, constant[:, None]]
        self.matrix = np.concatenate(columns, axis=1).astype(self.dtype)

    def pieces(self, frames: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield [z², z, 1] (rows, 2 d + 1) and the joint log-density (k, rows), rows at most 1024.

        Both are written over by the next. Mixtures come first in the second, since NumPy's
        maximum and sum over the first axis are several times as fast as over the last.
        """
        longest, d = min(_ROWS, len(frames)), len(self.centre)
        expanded = np.ones((longest, 2 * d + 1), self.dtype)
        joint = np.empty((len(self.means), longest), self.dtype)
        for first in range(0, len(frames), _ROWS):
            piece = frames[first : first + _ROWS]
            z = expanded[: len(piece)]
            z[:, d : 2 * d] = (piece - self.centre) / self.scale
            z[:, :d] = z[:, d : 2 * d] ** 2
            z[:, 2 * d] = 1
            yield z, np.matmul(self.matrix, z.T, out=joint[:, : len(piece)])

    def sums(self, frames: np.ndarray) -> tuple[np.ndarray, float, int]:
        """Sums over frames of posterior times [z², z, 1], (k, 2 d + 1); of log p(x); and of 1."""
        sums, likelihood = np.zeros(self.matrix.shape), 0.0
        for z, joint in self.pieces(frames):
            log_p, total = _exponentiate(joint)
            likelihood += log_p.sum()
            z /= total[:, None]  # rather than the joint density, which is wider
            sums += joint @ z
        return sums, likelihood, len(frames)

    def parted(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The columns of `sums`: of z² (k, d), of z (k, d), and of 1 (k,)."""
        d = len(self.centre)
        return sums[:, :d], sums[:, d : 2 * d], sums[:, 2 * d]

    def shifts(self, models: Sequence[DiagonalGMM]) -> np.ndarray:
        """(k, d + 1, models): times [z, 1], what other means add to the joint log-density."""
        found = np.empty((*self.means.shape[:1], len(self.centre) + 1, len(models)), self.dtype)
        for number, model in enumerate(models):
            means = (model.means - self.centre) / self.scale
            found[:, :-1, number] = (means - self.means) / self.variances
            constant = ((means**2 - self.means**2) / self.variances).sum(axis=1)
            found[:, -1, number] = -0.5 * constant
        return found

    def ratios(self, frames: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """(models,) mean over frames of log sum_k posterior_k exp(shift_k): the ratio, directly."""
        found, d = np.zeros(shifts.shape[2]), len(self.centre)
        for z, joint in self.pieces(frames):
            log_p, _ = _exponentiate(joint.copy())
            joint -= log_p.astype(self.dtype)
            with np.errstate(over="ignore", divide="ignore"):
                ratios = np.log(_near_sums(z[:, d:], joint, shifts), dtype=np.float64)
            far = np.flatnonzero(~np.isfinite(ratios).all(axis=0))
            for number in far:  # so far from the UBM that its nearest mixtures do not matter
                shifted = joint + shifts[..., number] @ z[:, d:].T
                ratios[:, number] = _exponentiate(shifted)[0]
            found += ratios.sum(axis=0)
        return found / len(frames)


def _near_sums(x: np.ndarray, posterior: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(rows, models) sums over mixtures of posterior times exp(shift), those near the row only.

    A frame is near some 30 of 256 mixtures; taken a mixture at a time, all models
    share one matrix product.

    Parameters
    ----------
    x : (rows, d + 1), [z, 1]
    posterior : (k, rows), its logarithm
    shifts : (k, d + 1, models)
    """
    sums = np.zeros((len(x), shifts.shape[2]), x.dtype)
    near = posterior > _NEAR
    for k in np.flatnonzero(near.any(axis=1)):
        rows = np.flatnonzero(near[k])
        part = x[rows] @ shifts[k]
        part += posterior[k, rows, None]
        sums[rows] += np.exp(part, out=part)
    return sums


def _exponentiate(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn joint log-densities (k, n) into posteriors times a factor for each frame, in place.

    Returns
    -------
    log_p (n,) float64, the log of the sums of the densities; total (n,), the factors.
    """
    peak = joint.max(axis=0)
    joint -= peak
    np.maximum(joint, _FAINT, out=joint)
    np.exp(joint, out=joint)
    total = joint.sum(axis=0)
    return peak + np.log(total, dtype=np.float64), total


def _checked(frames: np.ndarray, gmm: DiagonalGMM) -> np.ndarray:
    frames, d = np.asarray(frames), gmm.means.shape[1]
    if frames.ndim != 2 or frames.shape[1] != d:
        raise InputError(f"frames: shape {frames.shape}, not (n, {d}); make them as the UBM's were")
    if not np.isfinite(frames).all():
        raise InputError("frames: hold NaN or infinity; make the mel cache again")
    return frames


def _some(frames: np.ndarray) -> np.ndarray:
    if not len(frames):
        raise InputError("frames: there are none, is the track silent? Leave it out")
    return frames


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _tasks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, long ones in parts."""
    for block in blocks:
        for first in range(0, len(block), _TASK):
            yield block[first : first + _TASK]


@dataclass(frozen=True)
class _Survey:
    """What the first pass finds: all frames' number, moments (d,), and some of them (s, d)."""

    count: int
    mean: np.ndarray
    variance: np.ndarray
    sample: np.ndarray


def _survey(blocks: Blocks, mixtures: int, seed: int) -> _Survey:
    """Go over the frames once; each has the same chance to be in the sample."""
    count, mean, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    sample = Reservoir(_SAMPLE * mixtures, seed)
    tasks = cli.progress_bar(_tasks(blocks()), desc="UBM, start", unit_scale=_TASK, unit="frame")
    for frames in tasks:
        if not np.isfinite(frames).all():
            raise InputError("frames: hold NaN or infinity; make the mel cache again")
        if frames.ndim != 2 or (count and frames.shape[1] != len(mean)):
            raise InputError(f"frames: shape {frames.shape} among others; make them all alike")
        frames = frames.astype(np.float64)
        here = frames.mean(axis=0)
        away, count = here - mean, count + len(frames)
        mean = mean + away * len(frames) / count
        squares = squares + ((frames - here) ** 2).sum(axis=0)
        squares += away**2 * len(frames) * (count - len(frames)) / count
        low, high = np.minimum(low, frames.min(axis=0)), np.maximum(high, frames.max(axis=0))
        sample.offer(frames)
    if count < mixtures:
        raise InputError(
            f"frames: {count} for {mixtures} mixtures; take fewer --mixtures, or more tracks"
        )
    constant = np.flatnonzero(low == high)
    if len(constant):
        raise InputError(f"frames: coefficient {constant[0]} is the same in all; leave it out")
    return _Survey(count, mean, squares / count, sample.drawn())


def _begun(
    data: _Survey, mixtures: int, seed: int, start: str | DiagonalGMM, floor: float
) -> DiagonalGMM:
    """The mixture that training starts from."""
    if isinstance(start, DiagonalGMM):
        return start
    deviation = np.sqrt(data.variance)
    z = (data.sample - data.mean) / deviation
    if start == "random":
        chosen = np.random.default_rng(seed).choice(len(z), mixtures, replace=False)
        means, spread = z[chosen], np.ones((mixtures, z.shape[1]))
        counts = np.ones(mixtures)
    elif start == "kmeans":
        # On one thread, so that the sums come in one order and the seed fixes the result.
        with threadpoolctl.threadpool_limits(1):
            clusters = MiniBatchKMeans(mixtures, n_init=1, batch_size=4096, random_state=seed)
            owner = clusters.fit(z).labels_
        means = clusters.cluster_centers_
        # One frame of the overall variance is added, for the clusters of one frame or none.
        counts = np.bincount(owner, minlength=mixtures) + 1.0
        distance = (z - means[owner]) ** 2
        spread = np.array([np.bincount(owner, d, minlength=mixtures) for d in distance.T]).T
        spread = (spread + 1) / counts[:, None]
    else:
        raise ValueError(f"start: {start!r} is none of kmeans, random")
    variances = np.maximum(spread, floor) * data.variance
    return DiagonalGMM(counts / counts.sum(), data.mean + deviation * means, variances)


def _maximised(
    gmm: DiagonalGMM, linear: _Linear, sums: np.ndarray, floor: np.ndarray
) -> DiagonalGMM:
    """The M-step; a mixture that hardly has a frame keeps its mean and variance."""
    squares, zs, zeroth = linear.parted(sums)
    starved = (zeroth < _STARVED)[:, None]
    count = np.where(starved, 1, zeroth[:, None])
    mean = zs / count
    variance = np.maximum(linear.scale**2 * (squares / count - mean**2), floor)
    return DiagonalGMM(
        zeroth / zeroth.sum(),
        np.where(starved, gmm.means, linear.centre + linear.scale * mean),
        np.where(starved, gmm.variances, variance),
    )
