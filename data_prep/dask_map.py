"""The ordered map of `common.parallel`, on the machines of a Dask cluster.

A cluster is one scheduler and any number of workers. Each is started in this
package's folder, where requirements.txt and requirements-dask.txt are
installed, and each sees the audio at the same path:

    python -m dask scheduler --port 8786
    python -m dask worker tcp://HOST:8786 --nthreads 1 --nworkers 8

(`python -m dask` and not `dask`, which would not find this package.)

Give only a scheduler of your own, on a network of your own: Dask sends pickled
objects, so the scheduler can run any program here, and whoever reaches its
port can run any program on its workers.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import json
import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import threadpoolctl

from common.errors import InputError
from common.parallel import Outcome, WorkerLost

try:
    import distributed
except ImportError:  # it is wanted on clusters only
    distributed = None

_REACH = 10.0  # seconds for the scheduler to answer, and for its first worker to be there
_GONE = 60.0  # seconds without any worker, in the middle of the work; a nanny needs some for a new
_TRIES = 2  # alone, of an item that may have killed its worker
_TICK = 1.0  # seconds between two looks at what the cluster does
_LOOK = 5.0  # seconds after which workers are counted anew


def ordered_map(
    function: Callable[[Any], Any],
    items: Iterable,
    *,
    scheduler: str,
    ahead_per_worker: int = 4,
    patience: float = 300.0,
) -> Iterator[Outcome]:
    """Apply `function` to each item on a Dask cluster; yield outcomes in order.

    As `common.parallel.ordered_map`: at most `ahead_per_worker` items a worker's
    thread are drawn before the oldest of them is yielded. An item whose worker
    dies again and again, also while nothing else is under way, or that takes
    more than `patience` seconds, yields `WorkerLost`; the others are not
    touched by that. Workers may come and go meanwhile. BLAS has one thread.
    No result stays on the cluster.

    Parameters
    ----------
    function
        Of a module that the workers can import, as they do by its name.
    scheduler
        Its address tcp://HOST:PORT, or the path of the file that
        `dask scheduler --scheduler-file` has written.

    Raises
    ------
    InputError
        Dask is not installed, the scheduler cannot be reached or is lost, it
        has no workers, or these cannot import `function`.
    """
    rest, under_way = iter(items), collections.deque()
    with contextlib.closing(_Cluster(scheduler, patience)) as cluster:
        while True:
            room = ahead_per_worker * cluster.threads() - len(under_way)
            for item in itertools.islice(rest, max(room, 0)):
                under_way.append(_Task(cluster, function, item))
            if not under_way:
                return
            yield under_way.popleft().outcome(under_way)


class _Task:
    """An item's way through the cluster, as bytes that Dask does not look into."""

    def __init__(self, cluster: "_Cluster", function: Callable, item: Any):
        self._cluster, self._item = cluster, item
        self._order = pickle.dumps((function, item))
        self._future = cluster.submit(self._order)

    def outcome(self, others: Iterable["_Task"]) -> Outcome:
        """Wait for what comes of it; `others` are all tasks that may be under way beside it."""
        with contextlib.suppress(distributed.KilledWorker):
            return self._answer()
        # Dask blames a worker's death on all tasks that it had, whether it had begun them or not.
        # Of these, only the guilty one dies alone, and once may be due to something else.
        for _ in range(_TRIES):
            self._cluster.wait_for([other._future for other in others])
            self._future = self._cluster.submit(self._order)
            with contextlib.suppress(distributed.KilledWorker):
                return self._answer()
        return Outcome(self._item, error=WorkerLost("its decoder crashed"))

    def _answer(self) -> Outcome:
        try:
            return Outcome(self._item, *_unpacked(self._cluster.result(self._future)))
        except WorkerLost as error:
            return Outcome(self._item, error=error)


class _Cluster:
    """A connection to the scheduler, whose troubles are told in one line."""

    def __init__(self, scheduler: str, patience: float):
        self._name, self._patience = scheduler, patience
        if distributed is None:
            raise InputError(
                "a cluster needs dask.distributed; pip install -r requirements-dask.txt"
            )
        # What it logs of lost workers and connections, we say ourselves where it matters.
        for chatty in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        self._client = self._connected(_address(scheduler))
        self._threads, self._looked = 0, -_LOOK
        try:
            self._client.wait_for_workers(1, timeout=_REACH)
        except OSError as error:
            self.close()
            raise self._no_workers("has no workers") from error

    def close(self) -> None:
        """Leave; what is under way is forgotten, and with it all that the cluster holds of us."""
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.cancel(list(self._client.futures), force=True)
        with contextlib.suppress(Exception):
            self._client.close(timeout=_REACH)

    def threads(self) -> int:
        """How many items the cluster can work on at a time, at least one."""
        if time.monotonic() - self._looked >= _LOOK:
            with self._told():
                self._threads = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return max(self._threads, 1)

    def submit(self, order: bytes) -> "distributed.Future":
        with self._told():
            return self._client.submit(_work, order, pure=False, retries=0)

    def wait_for(self, futures: list["distributed.Future"]) -> None:
        """Wait until none of them is under way any more, or patience ends."""
        with self._told(), self._client.as_current(), contextlib.suppress(TimeoutError):
            distributed.wait(futures, timeout=self._patience)

    def result(self, future: "distributed.Future") -> bytes:
        """Wait for an order's answer.

        Raises
        ------
        distributed.KilledWorker
            Workers died, of this task or of one beside it.
        WorkerLost
            It does not come back; its worker is started anew.
        """
        waited = alone = 0.0
        while not self._done(future):
            with self._told():
                processing = self._client.processing()
            worker = next((name for name, keys in processing.items() if future.key in keys), None)
            waited += _TICK if worker else 0.0  # while none has it, it is not to blame
            alone = 0.0 if processing else alone + _TICK
            if alone >= _GONE:
                raise self._no_workers("has lost all its workers")
            if waited >= self._patience:
                self._end(worker, future)
                raise WorkerLost("its decoder did not come back")
        try:
            with self._told():
                return future.result()
        except (InputError, distributed.KilledWorker):
            raise
        except Exception as error:  # not of the function, whose errors are in its answer
            raise InputError(
                f"{self._name}: its workers cannot load this package ({_cause(error)}); start the "
                "scheduler and them in its folder, where requirements-dask.txt is installed"
            ) from error

    def _done(self, future: "distributed.Future") -> bool:
        with self._told(), self._client.as_current():
            try:
                distributed.wait(future, timeout=_TICK)
            except TimeoutError:
                return False
            return True

    def _end(self, worker: str, future: "distributed.Future") -> None:
        with contextlib.suppress(Exception):  # one without a nanny stays as it is
            future.cancel(force=True)
            self._client.restart_workers([worker], timeout=_GONE, raise_for_error=False)

    def _connected(self, address: str) -> "distributed.Client":
        try:
            asyncio.run(asyncio.wait_for(_greet(address), _REACH))
            with warnings.catch_warnings():
                # Of versions that differ from ours. Where that matters, tasks fail and say so.
                warnings.simplefilter("ignore")
                return distributed.Client(address, timeout=_REACH, set_as_default=False)
        except Exception as error:  # whatever may listen at that port
            raise InputError(
                f"{self._name}: no Dask scheduler answers there; check the address, or start it "
                "with: python -m dask scheduler --port 8786"
            ) from error

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell of a connection that is lost."""
        try:
            yield
        except (OSError, concurrent.futures.CancelledError) as error:
            raise InputError(
                f"{self._name}: the scheduler is lost; start it again and run the same command"
            ) from error

    def _no_workers(self, what: str) -> InputError:
        return InputError(
            f"{self._name}: {what}; start some in this package's folder with: "
            "python -m dask worker ADDRESS --nthreads 1 --nworkers N"
        )


def _address(scheduler: str) -> str:
    """The address that is given, or that stands in the file; of the form that Dask knows."""
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


async def _greet(address: str) -> None:
    """Shake hands with a scheduler; a client would wait for ever for one that says nothing."""
    keys = distributed.Security().get_connection_args("client")
    greeted = await distributed.comm.connect(address, timeout=_REACH, **keys)
    greeted.abort()


def _cause(error: BaseException) -> str:
    """One line on what an error came from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _unpacked(answer: bytes) -> tuple[Any, Exception | None]:
    try:
        return pickle.loads(answer)
    except Exception as unreadable:  # an exception class that cannot be put together again
        return None, unreadable


def _work(order: bytes) -> bytes:
    """On a worker: the pickled result and error; raises only if the function cannot be had."""
    function, item = pickle.loads(order)
    # Each time: it concerns the libraries that are loaded, and the function brings its own.
    threadpoolctl.threadpool_limits(1)
    try:
        return pickle.dumps((function(item), None))
    except Exception as error:
        return _packed(error)


def _packed(error: Exception) -> bytes:
    try:
        return pickle.dumps((None, error))
    except Exception:  # it holds something that cannot be sent
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
