"""A parallel map that keeps the order, bounds its memory and outlives its workers."""

import collections
import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import threadpoolctl

_IN_FLIGHT_PER_WORKER = 4


@dataclass(frozen=True)
class Outcome:
    """What became of one item: its result, or the exception that it raised."""

    item: Any
    result: Any = None
    error: Exception | None = None


class WorkerLost(Exception):
    """The item killed the process that worked on it, or never came back."""


def ordered_map(
    function: Callable[[Any], Any],
    items: Iterable,
    *,
    workers: int,
    patience: float = 300.0,
) -> Iterator[Outcome]:
    """Apply `function` to each item in worker processes; yield outcomes in order.

    At most a few items a worker are in flight, so memory does not grow with
    the number of items. An item whose process dies (a decoder that crashes),
    or that takes more than `patience` seconds, yields `WorkerLost`; the items
    that shared its pool are done again. Workers run BLAS on one thread each,
    so that the result does not depend on their number, and end with their
    parent even if that is killed.
    """
    items = iter(items)
    waiting: collections.deque = collections.deque()
    pool = _pool(workers)
    try:
        while True:
            while len(waiting) < workers * _IN_FLIGHT_PER_WORKER:
                try:
                    item = next(items)
                except StopIteration:
                    break
                waiting.append((item, _submit(pool, function, item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            outcome = _outcome(item, future, patience)
            if isinstance(outcome.error, WorkerLost):
                # Which of those in flight did it? The oldest is tried alone;
                # if it is innocent, the others get their turn to be the oldest.
                _kill(pool)
                outcome = _alone(function, item, patience)
                pool = _pool(workers)
                waiting = collections.deque(
                    (other, done if _finished(done) else _submit(pool, function, other))
                    for other, done in waiting
                )
            yield outcome
    finally:
        _kill(pool)


def usable_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _outcome(item: Any, future: concurrent.futures.Future, patience: float) -> Outcome:
    try:
        return Outcome(item, result=future.result(timeout=patience))
    except (BrokenProcessPool, concurrent.futures.TimeoutError):
        return Outcome(item, error=WorkerLost("its decoder crashed or did not come back"))
    except Exception as error:
        return Outcome(item, error=error)


def _alone(function: Callable, item: Any, patience: float) -> Outcome:
    pool = _pool(1)
    try:
        return _outcome(item, _submit(pool, function, item), patience)
    finally:
        _kill(pool)


def _pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    # Spawned, not forked: a fork of a process with running threads may deadlock.
    return concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker
    )


def _submit(pool, function, item) -> concurrent.futures.Future:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        # The pool broke between two results; the loop meets it at this item's turn.
        failed: concurrent.futures.Future = concurrent.futures.Future()
        failed.set_exception(error)
        return failed


def _finished(future: concurrent.futures.Future) -> bool:
    return (
        future.done()
        and not future.cancelled()
        and not isinstance(future.exception(), BrokenProcessPool)
    )


def _kill(pool: concurrent.futures.ProcessPoolExecutor) -> None:
    # The executor cannot end a worker that hangs (before Python 3.14), so we reach inside it.
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def _start_worker() -> None:
    threadpoolctl.threadpool_limits(1)
    # C decoders print warnings of their own about damaged files; we report them in one line.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
