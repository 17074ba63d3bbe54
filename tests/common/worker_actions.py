"""Functions that the tests run in worker processes, which import this module."""

import os
import signal
import time

import numpy as np
import threadpoolctl


class Unpicklable(Exception):
    """An exception that pickle cannot load."""

    def __init__(self, first, second):
        super().__init__(first)


def act(action):
    """Perform an action, given as (name, value)."""
    name, value = action
    if name == "double":
        return 2 * value
    if name == "pid":
        time.sleep(0.01)
        return os.getpid()
    if name == "sleep":
        time.sleep(value)
        return value
    if name == "raise":
        raise ValueError(value)
    if name == "unpicklable":
        raise Unpicklable(value, value)
    if name == "unsendable":
        return lambda: value
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "kill the parent":
        os.kill(os.getppid(), signal.SIGKILL)
    if name == "die once":
        with open(value, "x"):  # fails on the second attempt
            os.kill(os.getpid(), signal.SIGKILL)
    return None


def blas_threads(size):
    """Return the number of threads used by BLAS."""
    np.ones((size, size)) @ np.ones((size, size))
    return max(library["num_threads"] for library in threadpoolctl.threadpool_info())
