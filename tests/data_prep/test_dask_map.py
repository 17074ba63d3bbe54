"""Tests of the ordered map on a Dask cluster and of the errors for unusable clusters."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import InputError
from common.parallel import WorkerLost
from data_prep import dask_map
from data_prep.dask_map import ordered_map
from tests.common.test_parallel import (
    check_error_of_the_items_is_raised,
    check_errors_are_outcomes,
    check_hang_costs_its_item_only,
    check_lost_workers_cost_their_item_only,
    check_order_and_window,
    wait_until,
)
from tests.common.worker_actions import act, blas_threads
from tests.conftest import ROOT

distributed = pytest.importorskip("distributed", reason="needs requirements-dask.txt")
import dask  # noqa: E402

# Dask gives up on a task whose first worker died, and does not limit BLAS threads itself.
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.nanny.pre-spawn-environ": {},
}


@contextlib.contextmanager
def running(folder, workers, cwd=ROOT):
    """Start a scheduler and workers in `cwd`; yield the scheduler's file and process."""
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
                assert wait_until(lambda: file.exists() and file.stat().st_size), log.read_text()
        yield SimpleNamespace(file=file, scheduler=scheduler)


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def dask_cluster():
    """Yield a cluster of two single-threaded workers, with the scheduler in this process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**SETTINGS, "temporary-directory": folder}
        with (
            dask.config.set(settings),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
            ) as cluster,
        ):
            yield cluster


@pytest.fixture
def address(dask_cluster):
    """Yield the scheduler address; check for two workers before and no leftover tasks after."""
    assert wait_until(lambda: len(dask_cluster.scheduler.workers) == 2)
    yield dask_cluster.scheduler_address
    assert wait_until(lambda: not dask_cluster.scheduler.tasks)


def message_of(scheduler):
    """Return the one-line error raised by an ordered map that uses this scheduler."""
    with pytest.raises(InputError) as refused:
        list(ordered_map(act, [("double", 1)], scheduler=str(scheduler)))
    assert "\n" not in str(refused.value) and "; " in str(refused.value)
    return str(refused.value)


# ---------------------------------------------------------------- shared with local processes


@pytest.fixture
def run(address):
    """Return the ordered map of `act` on the cluster."""
    return partial(ordered_map, act, scheduler=address)


def test_dask_map_keeps_order_and_bounds_the_window(run):
    check_order_and_window(run)


def test_dask_map_uses_all_workers_with_one_blas_thread_each(run, address):
    pids = {outcome.result for outcome in run([("pid", 0)] * 30)}
    assert len(pids) == 2 and os.getpid() not in pids
    outcomes = ordered_map(blas_threads, [64] * 4, scheduler=address)
    assert [outcome.result for outcome in outcomes] == [1, 1, 1, 1]


def test_dask_map_returns_errors_as_outcomes(run):
    check_errors_are_outcomes(run)


def test_dask_map_survives_lost_workers(run, tmp_path):
    check_lost_workers_cost_their_item_only(run, tmp_path)


@pytest.mark.slow
def test_dask_map_survives_a_hanging_item(run):
    check_hang_costs_its_item_only(partial(run, patience=4.0))


def test_dask_map_reports_an_item_whose_workers_were_lost(run):
    (outcome,) = run([("kill the parent", 0)])
    assert isinstance(outcome.error, WorkerLost)


def test_dask_map_reports_a_scheduler_that_times_out(address):
    with contextlib.closing(dask_map._Cluster(address)) as cluster:
        lost = pytest.raises(InputError, match="the scheduler is lost; start it again")
        with lost, cluster._connection():
            raise TimeoutError


def test_dask_map_raises_errors_from_its_iterable(run):
    check_error_of_the_items_is_raised(run)


def test_dask_map_releases_yielded_results(run, dask_cluster):
    outcomes = run(("double", number) for number in range(10**9))
    assert [next(outcomes).result for _ in range(30)] == list(range(0, 60, 2))
    # The fixture checks that no tasks remain after closing.
    assert wait_until(lambda: len(dask_cluster.scheduler.tasks) <= 8)
    outcomes.close()


# ---------------------------------------------------------------- unusable clusters


def test_dask_map_without_dask_prints_how_to_install_it(monkeypatch):
    monkeypatch.setattr(dask_map, "distributed", None)
    assert "pip install -r requirements-dask.txt" in message_of("tcp://127.0.0.1:8786")


def test_dask_map_reports_an_unresponsive_port(monkeypatch):
    monkeypatch.setattr(dask_map, "_CONNECT", 1.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        assert f"{place}: no Dask scheduler answers" in message_of(place)
        listener.listen()  # connections are never accepted
        assert f"{place}: no Dask scheduler answers" in message_of(place)


@pytest.mark.parametrize("place", ["tcp://", "tcp://127.0.0.1", "tcp://x:y", "carrier://pigeon:1"])
def test_dask_map_rejects_invalid_addresses(place):
    assert f"{place}: neither an address" in message_of(place)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"address": []}', '{"address": "x"}'])
def test_dask_map_rejects_invalid_scheduler_files(tmp_path, content):
    if content is not None:
        (tmp_path / "file").write_text(content)
    assert "nor a Dask scheduler's file" in message_of(tmp_path / "file")


def test_dask_map_reports_missing_workers_and_scheduler(monkeypatch, tmp_path):
    monkeypatch.setattr(dask_map, "_CONNECT", 2.0)
    with running(tmp_path, workers=0) as started:
        assert "has no workers; start some" in message_of(started.file)
        place = json.loads(started.file.read_text())["address"]
        end(started.scheduler)
        assert "no Dask scheduler answers" in message_of(place)


def test_dask_map_reports_workers_without_the_package(tmp_path):
    with running(tmp_path, workers=1, cwd=tmp_path) as started:
        message = message_of(started.file)
    # An installed package lacks only the tests, which contain the function to run.
    missing = "(data_prep|tests)"
    assert re.search(
        rf"cannot load this .+ModuleNotFoundError: No module named '{missing}'", message
    )


# Kills the scheduler (argument 2 is its process id) after an item has killed its process twice.
PROGRAM = """
import itertools, os, signal, sys
from common import cli
from data_prep.dask_map import ordered_map
from tests.common.worker_actions import act

def main():
    items = itertools.chain([("double", 1), ("die", 0)], itertools.repeat(("double", 2)))
    for number, outcome in enumerate(ordered_map(act, items, scheduler=sys.argv[1])):
        if number < 3:
            print(outcome.result, outcome.error)
        if number == 2:
            os.killpg(int(sys.argv[2]), signal.SIGKILL)

cli.run_script(main)
"""


@pytest.mark.slow
def test_dask_map_reports_a_lost_scheduler_in_one_line(tmp_path):
    with running(tmp_path, workers=2) as started:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, started.file, str(started.scheduler.pid)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert result.stdout.splitlines() == ["2 None", "None its decoder crashed", "4 None"]
    assert result.returncode == 1
    lost = "the scheduler is lost; start it again and run the same command"
    assert result.stderr == f"error: {started.file}: {lost}\n"
