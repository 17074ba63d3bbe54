"""How much faster is an iteration of our GMM training than one of scikit-learn's?

256 diagonal Gaussians on float32 frames of 20 coefficients, from the same start. Ours
takes 2,000,000 frames. scikit-learn holds several arrays of frames x mixtures at once,
28 GB for so many, so that it gets the first 500,000 and is counted by the frame. It runs
with BLAS as it comes and with BLAS on one thread (a busy machine prefers that), and the
faster of the two is what counts. An iteration's time is that of a fit of four less that of
a fit of one, over three; the first round warms up and does not count. The sides take
turns. Prints how far apart the log-likelihoods of a frame are after the same four
iterations on the same frames, and as its last line the median over the rounds of the ratio
of times: `vs_sklearn X`.
"""

import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from recognition import gmm_ubm

FRAMES, DIMENSIONS, MIXTURES, ROUNDS, SHORT, LONG = 2_000_000, 20, 256, 3, 1, 4
PART = 500_000  # frames that scikit-learn has the memory for, and that the start is fitted to


def main() -> None:
    frames = made_frames()
    start, _ = gmm_ubm.fit_gmm(frames[:PART], MIXTURES, iterations=1, seed=0)
    print(f"{FRAMES} frames made; peak memory {peak():.2f} GB", flush=True)

    def ours(iterations: int, count: int = FRAMES) -> float:
        _, history = gmm_ubm.fit_gmm(
            frames[:count],
            MIXTURES,
            iterations=iterations,
            seed=0,
            start=start,
            tolerance=-np.inf,
        )
        return history[-1]

    def theirs(iterations: int) -> float:
        fitted = GaussianMixture(
            MIXTURES,
            covariance_type="diag",
            reg_covar=0,
            tol=0,
            max_iter=iterations,
            init_params="random",
            weights_init=start.weights,
            means_init=start.means,
            precisions_init=1 / start.variances,
        ).fit(frames[:PART])
        return fitted.lower_bounds_[-1]

    def theirs_on_one_thread(iterations: int) -> float:
        with threadpoolctl.threadpool_limits(1, "blas"):
            return theirs(iterations)

    sides = {
        "ours": (ours, FRAMES),
        "scikit-learn": (theirs, PART),
        "scikit-learn, BLAS on one thread": (theirs_on_one_thread, PART),
    }
    warnings.simplefilter("ignore", ConvergenceWarning)
    ratios = []
    for number in range(ROUNDS + 1):
        times = {}
        for name, (fit, count) in sides.items():
            times[name] = timed(fit) / count * 1e9
            print(
                f"{name}: {times[name]:.0f} ns a frame and iteration; peak memory so far "
                f"{peak():.2f} GB",
                flush=True,
            )
        own, *others = times.values()
        if number:
            ratios.append(min(others) / own)
    apart = abs(ours(LONG, PART) - theirs(LONG))
    print(f"log-likelihoods of a frame differ by {apart:.1e}")
    print(f"vs_sklearn {statistics.median(ratios):.2f}")


def timed(fit: Callable[[int], float]) -> float:
    """Seconds of an iteration."""
    seconds = []
    for iterations in (SHORT, LONG):
        began = time.perf_counter()
        fit(iterations)
        seconds.append(time.perf_counter() - began)
    return (seconds[1] - seconds[0]) / (LONG - SHORT)


def made_frames() -> np.ndarray:
    """(FRAMES, DIMENSIONS) float32 out of 500 overlapping clusters."""
    random = np.random.default_rng(0)
    means = random.normal(size=(500, DIMENSIONS))
    frames = random.normal(scale=0.7, size=(FRAMES, DIMENSIONS)).astype(np.float32)
    frames += means.astype(np.float32)[random.integers(len(means), size=FRAMES)]
    return frames


def peak() -> float:
    """Most memory that the process ever held, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


if __name__ == "__main__":
    main()
