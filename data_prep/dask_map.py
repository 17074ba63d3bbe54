"""A version of `common.parallel.ordered_map` that runs on a Dask cluster.

README.md in this folder describes how to start the scheduler and the workers. Only use your own
scheduler, on a network that you trust: Dask sends pickled objects, so whoever can reach the
scheduler can run arbitrary code on the workers and on this machine.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import json
import logging
import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.parallel import AHEAD_PER_WORKER, Outcome, WorkerLost, WorkerProcess

try:
    import distributed
except ImportError:  # Dask is optional
    distributed = None  # type: ignore[assignment]

_CONNECT = 10.0  # seconds allowed for the scheduler to answer and to have a worker
_NO_WORKERS = 60.0  # seconds without workers before the map fails; nannies restart lost workers
_TICK = 5.0  # seconds between checks for workers while an outcome is awaited
_local = threading.local()  # on a worker, the process of each thread


def ordered_map(
    function: Callable[[Any], Any], items: Iterable, *, scheduler: str, patience: float = 300.0
) -> Generator[Outcome, None, None]:
    """Apply a function to each item on a Dask cluster and yield the outcomes in order.

    `scheduler` is an address tcp://HOST:PORT, or the file written by `dask scheduler
    --scheduler-file`. The workers must be able to import the function. Each thread of a worker
    calls it in a process of its own, supervised as in `common.parallel.ordered_map`, so that an
    item on which the function crashes or hangs affects no other item. Workers may join and leave
    at any time; Dask repeats what they leave unfinished. No results remain on the cluster.
    """
    items, task, threads = iter(items), pickle.dumps((function, patience)), 0
    pending: collections.deque[tuple[Any, distributed.Future]] = collections.deque()
    with contextlib.closing(_Cluster(scheduler)) as cluster:
        while True:
            if 2 * len(pending) <= AHEAD_PER_WORKER * threads:
                threads = cluster.count_threads()
                free = max(AHEAD_PER_WORKER * threads - len(pending), 0)
                for item in itertools.islice(items, free):
                    pending.append((item, cluster.submit(task, item)))
            if not pending:
                return
            item, future = pending.popleft()
            yield cluster.wait_for_outcome(item, future)


class _Cluster:
    """A connection to a Dask scheduler that reports problems as `InputError`."""

    def __init__(self, scheduler: str):
        if distributed is None:
            raise InputError(
                "a cluster needs dask.distributed; pip install -r requirements-dask.txt"
            )
        # Silence Dask's loggers: this class reports lost workers and connections if they matter.
        for logger in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        self._name, address = scheduler, _address(scheduler)
        try:
            asyncio.run(asyncio.wait_for(_shake_hands(address), _CONNECT))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about other Dask versions, which mostly work
                self._client = distributed.Client(address, timeout=_CONNECT, set_as_default=False)
        except Exception as error:  # anything may be listening on that port
            raise InputError(
                f"{scheduler}: no Dask scheduler answers there; check the address, or start it "
                "with: python -m dask scheduler --port 8786"
            ) from error
        try:
            self._require_workers(_CONNECT)
        except InputError:
            self.close()
            raise

    def close(self) -> None:
        """Cancel unfinished work and disconnect, even if the scheduler is gone."""
        with contextlib.suppress(Exception):
            self._client.cancel(list(self._client.futures), force=True)
        with contextlib.suppress(Exception):
            self._client.close(timeout=_CONNECT)

    def count_threads(self) -> int:
        """Return how many items the cluster can process at once, at least one."""
        with self._connection():
            return max(sum(self._client.nthreads().values()), 1)

    def submit(self, task: bytes, item: Any) -> "distributed.Future":
        with self._connection():
            return self._client.submit(_process_item, task, item, pure=False)

    def wait_for_outcome(self, item: Any, future: "distributed.Future") -> Outcome:
        while True:
            with self._connection():
                try:
                    return future.result(timeout=_TICK)
                except TimeoutError:
                    pass
                except distributed.KilledWorker:  # several workers died with this item
                    return Outcome(item, error=WorkerLost("its decoder crashed"))
                except (OSError, concurrent.futures.CancelledError):
                    raise
                except Exception as error:  # errors raised by the function are part of the outcome
                    raise InputError(
                        f"{self._name}: its workers cannot load this package ({_cause(error)}); "
                        "start the scheduler and workers in its folder, with "
                        "requirements-dask.txt installed"
                    ) from error
            self._require_workers(_NO_WORKERS)

    def _require_workers(self, seconds: float) -> None:
        with self._connection():
            try:
                self._client.wait_for_workers(1, timeout=seconds)
            except TimeoutError as error:
                raise InputError(
                    f"{self._name}: has no workers; start some in this package's folder with: "
                    "python -m dask worker ADDRESS --nthreads 1 --nworkers N"
                ) from error

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        try:
            yield
        except (OSError, concurrent.futures.CancelledError) as error:
            raise InputError(
                f"{self._name}: the scheduler is lost; start it again and run the same command"
            ) from error


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


def _process_item(task: bytes, item: Any) -> Outcome:
    """Process an item on a worker; `task` is a pickle of the function and its time limit."""
    if getattr(_local, "task", None) != task:
        if hasattr(_local, "worker"):
            _local.worker.stop()
        # Dask marks its workers as daemons, which must not start processes.
        multiprocessing.current_process().daemon = False
        _local.task, _local.worker = task, WorkerProcess(*pickle.loads(task))
    return _local.worker.process_item(item)
