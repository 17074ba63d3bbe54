"""A version of `common.parallel.ordered_map` that runs on a Dask cluster.

A cluster consists of one scheduler and any number of workers. Start each of them in
this package's folder, with requirements.txt and requirements-dask.txt installed and
the audio at the same path on every machine:

    python -m dask scheduler --port 8786
    python -m dask worker tcp://HOST:8786 --nthreads 1 --nworkers 8

(Use `python -m dask`, because plain `dask` does not find this package.)

Only use your own scheduler, on a network that you trust: Dask sends pickled objects,
so the scheduler can run arbitrary code on this machine, and anyone who can reach its
port can run arbitrary code on its workers.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import json
import logging
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import threadpoolctl

from common.errors import InputError
from common.parallel import Outcome, WorkerLost, call

try:
    import distributed
except ImportError:  # Dask is optional
    distributed = None  # type: ignore[assignment]

_CONNECT = 10.0  # seconds allowed for the scheduler to answer and to have a worker
_NO_WORKERS = 60.0  # seconds without workers before the map fails; nannies restart lost workers
_ATTEMPTS = 2  # attempts to process an item on its own after its worker died
_TICK = 1.0  # seconds between checks on an unfinished item
_COUNT = 5.0  # seconds between counts of the workers' threads


def ordered_map(
    function: Callable[[Any], Any],
    items: Iterable,
    *,
    scheduler: str,
    ahead_per_thread: int = 4,
    patience: float = 300.0,
) -> Generator[Outcome, None, None]:
    """Apply a function to each item on a Dask cluster and yield the outcomes in order.

    As in `common.parallel.ordered_map`, the number of items submitted ahead is bounded,
    a lost worker affects only its own item, and BLAS uses one thread. Workers may join
    and leave at any time. No results remain on the cluster.

    Parameters
    ----------
    function
        Function from a module that the workers can import.
    items
        Picklable arguments, one per call.
    scheduler
        Address tcp://HOST:PORT, or the file written by `dask scheduler --scheduler-file`.
    ahead_per_thread
        Maximum number of items submitted ahead per worker thread.
    patience
        Time limit per item, in seconds.

    Raises
    ------
    InputError
        If Dask is not installed, the scheduler is unreachable or the connection to it is
        lost, it has no workers, or the workers cannot import the function.
    """
    items = iter(items)
    pending: collections.deque[tuple[Any, distributed.Future]] = collections.deque()
    with contextlib.closing(_Cluster(scheduler, function, patience)) as cluster:
        while True:
            free = max(ahead_per_thread * cluster.count_threads() - len(pending), 0)
            pending.extend((item, cluster.submit(item)) for item in itertools.islice(items, free))
            if not pending:
                return
            item, future = pending.popleft()
            yield cluster.outcome(item, future, [other for _, other in pending])


class _Cluster:
    """A connection to a Dask scheduler that reports problems as `InputError`."""

    def __init__(self, scheduler: str, function: Callable, patience: float):
        self._name, self._function, self._patience = scheduler, function, patience
        if distributed is None:
            raise InputError(
                "a cluster needs dask.distributed; pip install -r requirements-dask.txt"
            )
        # Silence Dask's loggers: this class reports lost workers and connections if they matter.
        for logger in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        self._client = self._connect(_address(scheduler))
        self._threads, self._counted = 0, -_COUNT
        try:
            self._client.wait_for_workers(1, timeout=_CONNECT)
        except OSError as error:
            self.close()
            raise self._no_workers("has no workers") from error

    def _connect(self, address: str) -> "distributed.Client":
        try:
            asyncio.run(asyncio.wait_for(_shake_hands(address), _CONNECT))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about other Dask versions, which mostly work
                return distributed.Client(address, timeout=_CONNECT, set_as_default=False)
        except Exception as error:  # anything may be listening on that port
            raise InputError(
                f"{self._name}: no Dask scheduler answers there; check the address, or start it "
                "with: python -m dask scheduler --port 8786"
            ) from error

    def close(self) -> None:
        """Cancel unfinished work and disconnect, even if the scheduler is gone."""
        with contextlib.suppress(Exception):
            self._client.cancel(list(self._client.futures), force=True)
        with contextlib.suppress(Exception):
            self._client.close(timeout=_CONNECT)

    def count_threads(self) -> int:
        """Return how many items the cluster can process at once, at least one."""
        if time.monotonic() - self._counted >= _COUNT:
            with self._connection():
                self._threads = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return max(self._threads, 1)

    def submit(self, item: Any) -> "distributed.Future":
        with self._connection():
            return self._client.submit(_work, self._function, item, pure=False, retries=0)

    def outcome(self, item: Any, future: "distributed.Future", others: list) -> Outcome:
        """Wait for an item's outcome; `others` are the futures submitted after it."""
        try:
            with contextlib.suppress(distributed.KilledWorker):
                return Outcome(item, *self._result(future))
            # When a worker dies, Dask blames every task on it. Items are therefore retried one at
            # a time, so that only the item that killed the worker fails again.
            for _ in range(_ATTEMPTS):
                self._wait(others, self._patience)
                with contextlib.suppress(distributed.KilledWorker):
                    return Outcome(item, *self._result(self.submit(item)))
        except WorkerLost as error:
            return Outcome(item, error=error)
        return Outcome(item, error=WorkerLost("its decoder crashed"))

    def _result(self, future: "distributed.Future") -> tuple[Any, Exception | None]:
        waited = idle = stalled = 0.0
        previous: dict = {}
        while not self._wait([future], _TICK):
            with self._connection():
                processing = self._client.processing()
            worker = next((name for name, keys in processing.items() if future.key in keys), None)
            waited += _TICK if worker else 0.0  # time spent in the queue does not count
            idle = 0.0 if processing else idle + _TICK
            stalled = stalled + _TICK if processing == previous else 0.0
            previous = processing
            if idle >= _NO_WORKERS:
                raise self._no_workers("has lost all its workers")
            if worker and waited >= self._patience:
                with contextlib.suppress(Exception):
                    future.cancel(force=True)
                self._end_worker(worker)
                raise WorkerLost("its decoder did not come back")
            if not worker and stalled >= self._patience:  # all workers hang in other items
                for name in [name for name, keys in processing.items() if keys]:
                    self._end_worker(name)
                stalled = 0.0
        try:
            with self._connection():
                try:
                    return pickle.loads(future.result(timeout=self._patience))
                except TimeoutError:  # the worker that has the result hangs in another item
                    holders = self._client.who_has([future]).values()
        except (InputError, distributed.KilledWorker):
            raise
        except Exception as error:  # errors raised by the function are part of the result
            raise InputError(
                f"{self._name}: its workers cannot load this package ({_cause(error)}); start the "
                "scheduler and workers in its folder, with requirements-dask.txt installed"
            ) from error
        for holder in itertools.chain(*holders):
            self._end_worker(holder)
        return self._result(future)  # Dask computes a lost result again

    def _end_worker(self, worker: str) -> None:
        """End the process of a worker that hangs; the worker's nanny then starts a new one.

        The worker itself may be unable to answer, so its nanny kills it.
        """

        def end() -> None:
            with contextlib.suppress(Exception):
                self._client.run(_kill_worker, workers=[worker], nanny=True, on_error="ignore")

        thread = threading.Thread(target=end, daemon=True)  # the nanny may not answer either
        thread.start()
        thread.join(_CONNECT)

    def _wait(self, futures: list, timeout: float) -> bool:
        """Return whether all futures are done within `timeout` seconds."""
        with self._connection(), self._client.as_current():
            try:
                distributed.wait(futures, timeout=timeout)
                return True
            except TimeoutError:
                return False

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        try:
            yield
        except (OSError, concurrent.futures.CancelledError) as error:
            raise InputError(
                f"{self._name}: the scheduler is lost; start it again and run the same command"
            ) from error

    def _no_workers(self, problem: str) -> InputError:
        return InputError(
            f"{self._name}: {problem}; start some in this package's folder with: "
            "python -m dask worker ADDRESS --nthreads 1 --nworkers N"
        )


def _address(scheduler: str) -> str:
    """Return the scheduler's address, given as such or as the path of a scheduler file."""
    try:
        is_file = "://" not in scheduler
        address = json.loads(Path(scheduler).read_bytes())["address"] if is_file else scheduler
        distributed.comm.get_address_host_port(address, strict=True)
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{scheduler}: neither an address tcp://HOST:PORT nor a Dask scheduler's file; "
            "give one of these"
        ) from error
    return address


async def _shake_hands(address: str) -> None:
    """Connect to a scheduler; a client would never give up on a port that does not answer."""
    options = distributed.Security().get_connection_args("client")
    connection = await distributed.comm.connect(address, timeout=_CONNECT, **options)
    connection.abort()


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _kill_worker(dask_worker: Any) -> None:
    """Kill the worker of a nanny, in the nanny; Dask passes the nanny as `dask_worker`."""
    os.kill(dask_worker.pid, signal.SIGKILL)


def _work(function: Callable, item: Any) -> bytes:
    """Process an item on a worker and return its (result, error) as a pickle."""
    threadpoolctl.threadpool_limits(1)  # set for every item, since the first loads libraries
    return call(function, item)
