"""Parallel maps that preserve item order and use a bounded amount of memory."""

import atexit
import collections
import contextlib
import errno
import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import threadpoolctl

from common.errors import InputError

AHEAD_PER_WORKER = 4  # items submitted per worker before the oldest result is yielded
_ATTEMPTS = 2  # the item may not be the cause of the first crash; memory may have run out
_TICK = 1.0  # seconds between checks on a worker that has not yet answered
_START = 300.0  # seconds allowed for a process to import the function's module


@dataclass(frozen=True)
class Outcome:
    """The result for one item, or the exception that processing it raised."""

    item: Any
    result: Any = None
    error: Exception | None = None


class WorkerLost(Exception):
    """Raised if the worker process handling an item died or did not answer in time."""


def ordered_map(
    function: Callable[[Any], Any],
    items: Iterable,
    *,
    workers: int,
    patience: float = 300.0,
) -> Generator[Outcome, None, None]:
    """Apply a function to each item in worker processes and yield the outcomes in order.

    At most four items per worker are submitted ahead, so memory use does not depend
    on the number of items. If the process handling an item dies twice, for example
    because a decoder crashes, or if it takes longer than `patience` seconds, the item's
    outcome has the error `WorkerLost`; other items are unaffected. Each worker runs
    BLAS on one thread, so results do not depend on the number of workers. Workers
    exit when their parent process ends, even if it is killed.

    The function and the items must be picklable. If the worker processes cannot start,
    `InputError` is raised.

    Examples
    --------
    >>> [outcome.result for outcome in ordered_map(abs, [-1, -2], workers=2)]
    [1, 2]
    """
    tasks: queue.SimpleQueue = queue.SimpleQueue()
    crew = [WorkerProcess(function, patience) for _ in range(workers)]
    threads = [threading.Thread(target=_feed, args=(w, tasks), daemon=True) for w in crew]

    def submit(item: Any) -> Future:
        future: Future = Future()
        tasks.put((future, item))
        return future

    def close() -> None:
        for worker in crew:
            worker.close()
            tasks.put(None)
        for thread in threads:
            thread.join(timeout=10)  # a process blocked on a dead disk cannot be killed

    # If the first worker had to start the resource tracker, that would unblock SIGINT in its
    # thread.
    resource_tracker.ensure_running()
    atexit.register(close)  # else multiprocessing kills the processes and they are restarted
    try:
        for thread in threads:
            thread.start()
        yield from _in_order(submit, items, AHEAD_PER_WORKER * workers)
    finally:
        atexit.unregister(close)
        close()


def map_in_threads(function: Callable[[Any], Any], items: Iterable) -> Iterator:
    """Apply a function to each item in threads, a few items ahead, and yield results in order.

    Intended for NumPy functions that release the GIL. BLAS is limited to one thread
    per item, because its own threads would compete with these.
    """
    workers = available_cores()
    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        yield from _in_order(lambda item: pool.submit(function, item), items, 2 * workers + 1)


def _in_order(submit: Callable[[Any], Future], items: Iterable, ahead: int) -> Iterator:
    """Yield results in order, keeping at most `ahead` items submitted."""
    pending: collections.deque[Future] = collections.deque()
    for item in items:
        pending.append(submit(item))
        if len(pending) == ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def one_blas_thread() -> contextlib.AbstractContextManager:
    """Limit BLAS to one thread, because more threads change the rounding on some processors."""
    return _find_blas().limit(limits=1)


@functools.cache
def _find_blas() -> threadpoolctl.ThreadpoolController:
    """Find NumPy's BLAS once, because the search takes longer than scoring a short track."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def available_cores() -> int:
    """Return the number of CPU cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _feed(worker: "WorkerProcess", tasks: queue.SimpleQueue) -> None:
    """Pass items to a worker process, one at a time."""
    while (task := tasks.get()) is not None and not worker.is_closed:
        future, item = task
        try:
            future.set_result(worker.process_item(item))
        except BaseException as error:
            future.set_exception(error)
    worker.stop()


class WorkerProcess:
    """A process that is started on demand, processes one item at a time, and is replaced if lost.

    Unlike with concurrent.futures, a process that is killed while sending a result blocks neither
    the other processes nor the program's exit.
    """

    def __init__(self, function: Callable, patience: float):
        self._function, self._patience = function, patience
        self._process: SpawnProcess | None = None
        self.is_closed = False

    def close(self) -> None:
        """Kill the process, whatever it is doing; called from another thread."""
        self.is_closed = True
        if (process := self._process) is not None:
            process.kill()

    def stop(self) -> None:
        """Kill the process and wait until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.join(timeout=5)
            self._pipe.close()
            self._process = None

    def process_item(self, item: Any) -> Outcome:
        """Return the outcome of the function for an item."""
        for _ in range(_ATTEMPTS):
            if self._process is None:
                self._start()
            try:
                self._pipe.send(item)
                return Outcome(item, *pickle.loads(self._receive(self._patience)))
            except TimeoutError:
                self.stop()
                return Outcome(item, error=WorkerLost("its decoder did not come back"))
            except (EOFError, OSError):
                self.stop()
        return Outcome(item, error=WorkerLost("its decoder crashed"))

    def _start(self) -> None:
        # The process inherits this: only the parent handles Ctrl-C, and it terminates the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        # Spawned rather than forked, because forking a multi-threaded process may deadlock.
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        process = context.Process(target=_work, args=(far_end, self._function), daemon=True)
        try:
            if self.is_closed:
                raise EOFError
            process.start()
            self._process = process
            far_end.close()  # so that the pipe closes when the process ends
            if self.is_closed:  # close() may have run before it could see this process
                process.kill()
            self._receive(_START)
        except (EOFError, OSError) as error:
            self.stop()
            reason = getattr(error, "strerror", None) or "one ended at once"
            raise InputError(
                f"worker processes cannot start ({reason}); use fewer --workers or free some memory"
            ) from error

    def _receive(self, patience: float) -> bytes:
        """Wait for an answer in ticks, so that time spent suspended does not count as waiting."""
        waited = 0.0
        while not self._pipe.poll(_TICK):
            waited += _TICK
            if waited >= patience:
                raise TimeoutError(errno.ETIMEDOUT, "no answer")
        return self._pipe.recv_bytes()


def _work(pipe: Connection, function: Callable) -> None:
    """Process items in a worker process; unpickling `function` has already imported its module."""
    threadpoolctl.threadpool_limits(1)
    # Silence stderr: C decoders print warnings about damaged files, which the parent process
    # reports in one line anyway.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # raised once the parent has closed the pipe
        pipe.send_bytes(b"started")
        while True:
            pipe.send_bytes(_call(function, pipe.recv()))


def _call(function: Callable[[Any], Any], item: Any) -> bytes:
    """Call the function and return (result, error) as a pickle."""
    try:
        return pickle.dumps((function(item), None))
    except Exception as error:
        try:
            answer = pickle.dumps((None, error))
            pickle.loads(answer)  # some exception classes cannot be unpickled
            return answer
        except Exception:
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
