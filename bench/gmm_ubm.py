"""How much faster is an iteration of our GMM training than one of scikit-learn's?

256 diagonal Gaussians on the same 2,000,000 float32 frames of 20 coefficients, from the
same start. scikit-learn holds several arrays of frames x mixtures at once, so that this
takes some 10 GB. It runs with BLAS as it comes and with BLAS on one thread (a busy machine
prefers that), and the faster of the two is what counts. An iteration's time is that of a
fit of four less that of a fit of one, over three; the first round warms up and does not
count. The sides take turns. Prints how far apart the log-likelihoods of a frame are after
the same iterations, and as its last line the median over the rounds of the ratio of times:
`vs_sklearn X`.
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

from models import gmm_ubm

FRAMES, DIMENSIONS, MIXTURES, ROUNDS, SHORT, LONG = 2_000_000, 20, 256, 3, 1, 4
START = 250_000  # frames that the start is fitted to


def main() -> None:
    frames = made_frames()
    start, _ = gmm_ubm.train(lambda: [frames[:START]], MIXTURES, iterations=1, seed=0)
    print(f"{FRAMES} frames made; peak memory {peak():.2f} GB", flush=True)

    def ours(iterations: int) -> float:
        _, history = gmm_ubm.train(
            lambda: [frames],
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
        ).fit(frames)
        return fitted.lower_bounds_[-1]

    def theirs_on_one_thread(iterations: int) -> float:
        with threadpoolctl.threadpool_limits(1, "blas"):
            return theirs(iterations)

    sides = {
        "ours": ours,
        "scikit-learn": theirs,
        "scikit-learn, BLAS on one thread": theirs_on_one_thread,
    }
    warnings.simplefilter("ignore", ConvergenceWarning)
    ratios, apart = [], 0.0
    for number in range(ROUNDS + 1):
        seconds, likelihoods = {}, {}
        for name, fit in sides.items():
            seconds[name], likelihoods[name] = timed(fit)
            print(
                f"{name}: {seconds[name] / FRAMES * 1e9:.0f} ns a frame and iteration, "
                f"log-likelihood {likelihoods[name]:.5f}; peak memory so far {peak():.2f} GB",
                flush=True,
            )
        own, *others = seconds.values()
        apart = max(apart, abs(likelihoods["ours"] - likelihoods["scikit-learn"]))
        if number:
            ratios.append(min(others) / own)
    print(f"log-likelihoods of a frame differ by {apart:.1e}")
    print(f"vs_sklearn {statistics.median(ratios):.2f}")


def timed(fit: Callable[[int], float]) -> tuple[float, float]:
    """Seconds of an iteration, and the log-likelihood of a frame at the last one."""
    seconds = []
    for iterations in (SHORT, LONG):
        began = time.perf_counter()
        likelihood = fit(iterations)
        seconds.append(time.perf_counter() - began)
    return (seconds[1] - seconds[0]) / (LONG - SHORT), float(likelihood)


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
