"""Parallel maps that keep the order and bound their memory; one outlives its workers."""

import collections
import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

import threadpoolctl

from common.errors import InputError

_AHEAD_PER_WORKER = 4  # items drawn before the oldest of them is yielded
_TRIES = 2  # the first loss may be due to something else, such as a shortage of memory
_TICK = 1.0  # seconds; see `_Crew.wait`


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

    At most four items a worker are drawn before the oldest of them is yielded,
    so memory does not grow with the number of items. An item whose process
    dies twice (a decoder that crashes), or that takes more than `patience`
    seconds, yields `WorkerLost`; the other items are not touched by that.
    Workers run BLAS on one thread each, so that the result does not depend on
    their number, and end with their parent even if that is killed.

    Raises
    ------
    InputError
        The worker processes cannot start.
    """
    numbered = enumerate(items)
    again: collections.deque[_Task] = collections.deque()
    done: dict[int, Outcome] = {}
    turn = 0  # number of the item that is yielded next
    crew = _Crew(function, workers, patience)
    try:
        while True:
            while crew.has_room():
                ahead = len(crew.busy) + len(done)
                if again:
                    crew.give(again.popleft())
                elif ahead < workers * _AHEAD_PER_WORKER and (drawn := next(numbered, None)):
                    crew.give(_Task(*drawn))
                else:
                    break
            if turn in done:
                yield done.pop(turn)
                turn += 1
            elif crew.busy:
                for task, outcome in crew.wait():
                    if isinstance(outcome.error, _Died) and task.tries < _TRIES:
                        again.append(task)
                    else:
                        done[task.number] = outcome
            else:
                return
    finally:
        crew.close()


def map_in_threads(function: Callable[[Any], Any], items: Iterable) -> Iterator:
    """Yield the function of each item, in order, computed by threads a few items ahead.

    For work that NumPy does without Python's lock. BLAS gets one thread in each: its
    own threads help the products only, and get in each other's way on a busy machine.
    """
    workers = available_cores()
    ahead: collections.deque = collections.deque()
    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def one_blas_thread() -> contextlib.AbstractContextManager:
    """Keep NumPy's BLAS to one thread: with more, some processors round products otherwise."""
    return _blas().limit(limits=1)


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    """NumPy's BLAS; looked for once, since that takes longer than a short song's scores."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def available_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Died(WorkerLost):
    """The worker's end, as told by its pipe."""


@dataclass
class _Task:
    number: int
    item: Any
    tries: int = 0


@dataclass
class _Worker:
    """A process with a pipe of its own, so that its death harms no other's results."""

    process: SpawnProcess
    pipe: Connection
    started: bool = False
    task: _Task | None = None
    waited: float = 0.0  # seconds for this task


class _Crew:
    """Up to `size` workers, each with one task at a time.

    Not concurrent.futures: there, a worker killed while it sends a result
    leaves the pool's thread, and with it the interpreter's end, waiting for
    ever; and all items under way are lost with it.
    """

    def __init__(self, function: Callable, size: int, patience: float):
        self._function, self._size, self._patience = function, size, patience
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task]

    def has_room(self) -> bool:
        return len(self.busy) < self._size

    def give(self, task: _Task) -> None:
        free = next((worker for worker in self._workers if not worker.task), None)
        worker = free or self._hire()
        task.tries += 1
        worker.task, worker.waited = task, 0.0
        with contextlib.suppress(OSError):  # it has died: waiting for it will tell
            worker.pipe.send(task.item)

    def wait(self) -> Iterator[tuple[_Task, Outcome]]:
        """Wait for some worker; yield what came back, or was given up."""
        busy, before = self.busy, time.monotonic()
        ready = multiprocessing.connection.wait([worker.pipe for worker in busy], _TICK)
        # Summed up in ticks: hours between two of them (Ctrl-Z, sleep) are no worker's fault.
        passed = min(time.monotonic() - before, _TICK)
        for worker in busy:
            task = worker.task
            if worker.pipe in ready:
                outcome = self._receive(worker)
                if outcome is not None:
                    worker.task = None
                    yield task, outcome
                continue
            worker.waited += passed
            if worker.waited >= self._patience:
                self._dismiss(worker)
                yield task, Outcome(task.item, error=WorkerLost("its decoder did not come back"))

    def close(self) -> None:
        for worker in list(self._workers):
            self._dismiss(worker)

    def _hire(self) -> _Worker:
        # Spawned, not forked: a fork of a process with running threads may deadlock.
        context = multiprocessing.get_context("spawn")
        pipe, far_end = context.Pipe()
        resource_tracker.ensure_running()  # else the first worker's start does, and resets the mask
        # Workers do not hear Ctrl-C: it is their parent's to end them, and to say so once.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = context.Process(target=_work, args=(far_end, self._function), daemon=True)
            process.start()
        except OSError as error:
            pipe.close()
            raise _cannot_start(error.strerror) from error
        finally:
            far_end.close()  # so that the pipe ends when the worker does
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        worker = _Worker(process, pipe)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: _Worker) -> Outcome | None:
        """The outcome that has come, or None for a worker's first sign of life."""
        item = worker.task.item
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            self._dismiss(worker)
            if not worker.started:
                raise _cannot_start("one ended at once") from error
            return Outcome(item, error=_Died("its decoder crashed"))
        worker.waited = 0.0
        if not worker.started:
            worker.started = True
            return None
        try:
            result, error = pickle.loads(message)
        except Exception as unreadable:  # an exception class that cannot be put together again
            return Outcome(item, error=unreadable)
        return Outcome(item, result, error)

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join(timeout=5)  # one that waits for a dead disk cannot even be killed
        worker.pipe.close()


def _cannot_start(why: str | None) -> InputError:
    return InputError(
        f"worker processes cannot start ({why}); take fewer --workers, or free some memory"
    )


def _work(pipe: Connection, function: Callable) -> None:
    """The life of a worker; that `function` comes with it has loaded the libraries it uses."""
    threadpoolctl.threadpool_limits(1)
    # C decoders print warnings of their own about damaged files; we report them in one line.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent has left
        pipe.send(None)
        while True:
            pipe.send_bytes(_answer(function, pipe.recv()))


def _answer(function: Callable, item: Any) -> memoryview:
    try:
        return ForkingPickler.dumps((function(item), None))
    except Exception as error:
        return _packed(error)


def _packed(error: Exception) -> memoryview:
    try:
        return ForkingPickler.dumps((None, error))
    except Exception:  # it holds something that cannot be sent
        return ForkingPickler.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
