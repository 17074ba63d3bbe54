"""Compare the time per iteration of GMM training with scikit-learn's.

Both implementations fit 256 diagonal Gaussians to float32 frames of 20 coefficients, starting from
the same model. This package uses 2,000,000 frames. scikit-learn holds several arrays of frames x
mixtures at once, which would take 28 GB, so it uses only the first 500,000 frames, and all times
are per frame. scikit-learn runs both with BLAS as configured and with single-threaded BLAS, which
is faster on a busy machine; the faster of the two counts. The time per iteration is a third of the
difference between the times for four iterations and for one. The implementations alternate, and
the first round is a warm-up. Prints the difference in log-likelihood per frame after the same four
iterations on the same frames and, as the last line, the median time ratio over the rounds:
`vs_sklearn X`.
"""

import statistics
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from bench.resources import peak_memory, timed
from recognition import gmm_ubm

FRAMES, DIMENSIONS, MIXTURES, ROUNDS, SHORT, LONG = 2_000_000, 20, 256, 3, 1, 4
PART = 500_000  # number of frames used by scikit-learn and to initialise the starting model


def main() -> None:
    frames = make_frames()
    start, _ = gmm_ubm.fit_gmm(frames[:PART], MIXTURES, iterations=1, seed=0)
    print(f"{FRAMES} frames; peak memory {peak_memory():.2f} GB", flush=True)

    def ours(iterations: int, count: int = FRAMES) -> float:
        _, history = gmm_ubm.fit_gmm(
            frames[:count],
            MIXTURES,
            iterations=iterations,
            seed=0,
            resume_from=(start, np.zeros(0)),
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
            times[name] = iteration_seconds(fit) / count * 1e9
            print(
                f"{name}: {times[name]:.0f} ns per frame and iteration; peak memory so far "
                f"{peak_memory():.2f} GB",
                flush=True,
            )
        own, *others = times.values()
        if number:
            ratios.append(min(others) / own)
    difference = abs(ours(LONG, PART) - theirs(LONG))
    print(f"log-likelihoods per frame differ by {difference:.1e}")
    print(f"vs_sklearn {statistics.median(ratios):.2f}")


def iteration_seconds(fit: Callable[[int], float]) -> float:
    """Return the time per iteration of a fit, in seconds."""
    short, long = (timed(partial(fit, iterations))[1] for iterations in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def make_frames() -> np.ndarray:
    """Return frames (FRAMES, DIMENSIONS) float32, drawn from 500 overlapping clusters."""
    random = np.random.default_rng(0)
    means = random.normal(size=(500, DIMENSIONS))
    frames = random.normal(scale=0.7, size=(FRAMES, DIMENSIONS)).astype(np.float32)
    frames += means.astype(np.float32)[random.integers(len(means), size=FRAMES)]
    return frames


if __name__ == "__main__":
    main()
