"""What the workers of the tests do; a module that a thread of any process can import."""

import os
import signal
import time

import numpy as np
import threadpoolctl


class Picky(Exception):
    """An exception that pickle cannot put together again."""

    def __init__(self, first, second):
        super().__init__(first)


def work(order):
    """Do what the order (name, value) says, in a worker."""
    name, value = order
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
    if name == "picky":
        raise Picky(value, value)
    if name == "unsendable":
        return lambda: value
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "die once":
        with open(value, "x"):  # the second time, this fails
            os.kill(os.getpid(), signal.SIGKILL)
    return None


def blas_threads(size):
    """On how many threads BLAS runs here."""
    np.ones((size, size)) @ np.ones((size, size))
    return max(library["num_threads"] for library in threadpoolctl.threadpool_info())
