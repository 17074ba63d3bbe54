"""Time and memory of the benchmarks."""

import resource
import sys
import time
from collections.abc import Callable


def timed(function: Callable[[], object]) -> tuple:
    """Return the result of a function and the seconds that it took."""
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def peak_memory() -> float:
    """Return the largest resident size of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
