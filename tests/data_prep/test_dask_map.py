"""The map on a Dask cluster: what holds for the one here holds there, whatever dies."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import InputError
from common.parallel import Outcome, WorkerLost
from data_prep import dask_map
from data_prep.dask_map import ordered_map
from tests.common.orders import blas_threads, work
from tests.common.test_parallel import comes_true
from tests.conftest import ROOT

distributed = pytest.importorskip("distributed", reason="needs requirements-dask.txt")
import dask  # noqa: E402

# A death is the task's own fault at once, so that few workers need die here; and it is to us
# that BLAS has one thread.
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.nanny.pre-spawn-environ": {},
}


@contextlib.contextmanager
def running(folder, workers, cwd=ROOT):
    """A scheduler and workers started in `cwd` as the module says; yields its file and process."""
    folder = Path(folder)
    file, log = folder / "scheduler.json", folder / "cluster.log"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["DASK_TEMPORARY_DIRECTORY"] = str(folder)
    commands = [["scheduler", "--port", "0"], ["worker", "--nthreads", "1", "--nworkers", workers]]
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", file]
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w"))
        for command in commands[: 2 if workers else 1]:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, command + here)],
                cwd=cwd,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            stack.callback(end, process)
            if command[0] == "scheduler":
                scheduler = process
                assert comes_true(lambda: file.exists() and file.stat().st_size), log.read_text()
        yield SimpleNamespace(file=file, scheduler=scheduler)


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def dask_cluster():
    """Two workers of one thread, whose scheduler is in this process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**SETTINGS, "temporary-directory": folder}
        with (
            dask.config.set(settings),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
            ) as made,
        ):
            yield made


@pytest.fixture
def address(dask_cluster):
    """Its scheduler's; both workers are there, and afterwards no task is."""
    assert comes_true(lambda: len(dask_cluster.scheduler.workers) == 2)
    yield dask_cluster.scheduler_address
    assert comes_true(lambda: not dask_cluster.scheduler.tasks)


def message_of(scheduler):
    """The one line with which a map there is refused."""
    with pytest.raises(InputError) as refused:
        list(ordered_map(work, [("double", 1)], scheduler=str(scheduler)))
    assert "\n" not in str(refused.value) and "; " in str(refused.value)
    return str(refused.value)


# ---------------------------------------------------------------- as on one machine


def test_order_is_kept_and_items_are_drawn_no_further_ahead_than_the_window(address):
    drawn = 0

    def orders():
        nonlocal drawn
        for number in range(40):
            drawn += 1
            yield ("sleep", 0.1) if number % 7 == 0 else ("double", number)

    ahead, results = [], []
    for outcome in ordered_map(work, orders(), scheduler=address):
        results.append(outcome.result)
        ahead.append(drawn - len(results))
    assert results == [0.1 if number % 7 == 0 else 2 * number for number in range(40)]
    assert max(ahead) == 7  # 2 workers x 4, less the one just yielded


def test_all_workers_work_on_one_thread_each(address):
    pids = {outcome.result for outcome in ordered_map(work, [("pid", 0)] * 30, scheduler=address)}
    assert len(pids) == 2 and os.getpid() not in pids
    outcomes = ordered_map(blas_threads, [64] * 4, scheduler=address)
    assert [outcome.result for outcome in outcomes] == [1, 1, 1, 1]


def test_an_exception_is_the_items_own_outcome(address):
    orders = [("double", 1), ("raise", "no"), ("picky", "x"), ("unsendable", 1), ("double", 2)]
    outcomes = list(ordered_map(work, orders, scheduler=address))
    assert [outcome.item for outcome in outcomes] == orders
    assert outcomes[0] == Outcome(orders[0], 2) and outcomes[4].result == 4
    assert isinstance(outcomes[1].error, ValueError) and str(outcomes[1].error) == "no"
    assert outcomes[2].error is not None and outcomes[3].error is not None
    assert not any(isinstance(outcome.error, WorkerLost) for outcome in outcomes)


def test_a_death_costs_only_its_item_and_is_tried_again_once(address, tmp_path):
    orders = [("double", number) for number in range(12)]
    orders[3], orders[5] = ("die", 0), ("die once", str(tmp_path / "died"))
    outcomes = list(ordered_map(work, orders, scheduler=address))
    assert [outcome.item for outcome in outcomes] == orders
    assert isinstance(outcomes[3].error, WorkerLost) and "crashed" in str(outcomes[3].error)
    assert isinstance(outcomes[5].error, FileExistsError)
    rest = [number for number in range(12) if number not in (3, 5)]
    assert [outcomes[number].result for number in rest] == [2 * number for number in rest]


def test_a_hang_costs_only_its_item(address):
    orders = [("double", 1), ("sleep", 3600), ("double", 3), ("double", 4)]
    outcomes = list(ordered_map(work, orders, scheduler=address, patience=2.0))
    assert [outcome.result for outcome in outcomes] == [2, None, 6, 8]
    assert isinstance(outcomes[1].error, WorkerLost) and "not come back" in str(outcomes[1].error)


def test_no_items(address):
    assert list(ordered_map(work, [], scheduler=address)) == []


def test_an_endless_source_is_never_drawn_to_its_end(address, dask_cluster):
    def endless():
        number = 0
        while True:
            yield ("double", number)
            number += 1

    outcomes = ordered_map(work, endless(), scheduler=address)
    assert [next(outcomes).result for _ in range(30)] == list(range(0, 60, 2))
    # What has been yielded is forgotten there; the fixture sees that the rest is, after this.
    assert comes_true(lambda: len(dask_cluster.scheduler.tasks) <= 8)
    outcomes.close()


def test_a_source_that_fails_ends_the_map(address):
    def failing():
        yield ("double", 1)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        list(ordered_map(work, failing(), scheduler=address))


# ---------------------------------------------------------------- clusters that are none


def test_dask_is_not_installed(monkeypatch):
    monkeypatch.setattr(dask_map, "distributed", None)
    assert "pip install -r requirements-dask.txt" in message_of("tcp://127.0.0.1:8786")


def test_nothing_answers(monkeypatch):
    monkeypatch.setattr(dask_map, "_REACH", 1.0)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{unheard.getsockname()[1]}"
        assert f"{place}: no Dask scheduler answers" in message_of(place)
        unheard.listen()  # nobody accepts
        assert f"{place}: no Dask scheduler answers" in message_of(place)


@pytest.mark.parametrize(
    "place", ["tcp://", "tcp://127.0.0.1", "tcp://x:y", "carrier://pigeon:1", "://", ""]
)
def test_an_address_that_is_none(place):
    assert f"{place}: neither an address" in message_of(place)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "tcp://127.0.0.1:8786", '"address"'])
def test_a_file_that_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "file").write_text(content)
    assert "nor a Dask scheduler's file" in message_of(tmp_path / "file")


@pytest.mark.parametrize("address", ["null", "[]", '"nowhere"', '"tcp://nowhere"'])
def test_a_file_without_an_address(tmp_path, address):
    (tmp_path / "file").write_text(f'{{"address": {address}}}')
    assert "nor a Dask scheduler's file" in message_of(tmp_path / "file")


def test_no_workers_and_then_no_scheduler(monkeypatch, tmp_path):
    monkeypatch.setattr(dask_map, "_REACH", 2.0)
    with running(tmp_path, workers=0) as started:
        assert "has no workers; start some" in message_of(started.file)
        place = json.loads(started.file.read_text())["address"]
        end(started.scheduler)
        assert "no Dask scheduler answers" in message_of(place)


def test_workers_that_cannot_import_the_package(tmp_path):
    with running(tmp_path, workers=1, cwd=tmp_path) as started:
        message = message_of(started.file)
    assert "cannot load this package (ModuleNotFoundError: No module named 'common')" in message


# Dies with its scheduler (argument 2 is its process), having seen an item kill two workers.
PROGRAM = """
import itertools, os, signal, sys
from common import cli
from data_prep.dask_map import ordered_map
from tests.common.orders import work

def main():
    items = itertools.chain([("double", 1), ("die", 0)], itertools.repeat(("double", 2)))
    for number, outcome in enumerate(ordered_map(work, items, scheduler=sys.argv[1])):
        if number < 3:
            print(outcome.result, outcome.error)
        if number == 2:
            os.killpg(int(sys.argv[2]), signal.SIGKILL)

cli.run_script(main)
"""


def test_a_lost_scheduler_is_told_in_one_line_and_deaths_in_none(monkeypatch, tmp_path):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with running(tmp_path, workers=2) as started:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, started.file, str(started.scheduler.pid)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.stdout.splitlines() == ["2 None", "None its decoder crashed", "4 None"]
    assert done.returncode == 1
    lost = "the scheduler is lost; start it again and run the same command"
    assert done.stderr == f"error: {started.file}: {lost}\n"
