"""Time and memory measurements for the benchmarks."""

import resource
import sys
import time
from collections.abc import Callable


def timed(function: Callable[[], object]) -> tuple:
    """Return a function's result and its running time in seconds."""
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def cpu_seconds() -> tuple[float, float]:
    """Return the CPU seconds of this process, and of the child processes that have ended."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def peak_memory() -> float:
    """Return this process's peak resident memory so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
