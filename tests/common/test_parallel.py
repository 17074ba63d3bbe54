"""Tests that parallel maps preserve order, bound memory use and survive lost worker processes."""

import contextlib
import os
import signal
import subprocess
import time
from functools import partial

import pytest

from common.errors import InputError
from common.parallel import Outcome, WorkerLost, available_cores, map_in_threads, ordered_map
from tests.common.worker_actions import act
from tests.conftest import start_python

SLEEP_FOREVER = ("sleep", 3600)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie, which has exited but has not been waited for, does not count as alive.
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return stat.stdout.strip()[:1] not in ("", "Z")


def wait_until(condition, seconds=20):
    """Return whether `condition` becomes true within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


# ---------------------------------------------------------------- checks for any ordered map
# These checks are also used by the Dask tests. `run` maps `act` over actions with two workers.


def check_order_and_window(run):
    drawn = 0

    def actions():
        nonlocal drawn
        for number in range(40):
            drawn += 1
            yield ("sleep", 0.1) if number % 7 == 0 else ("double", number)

    ahead, results = [], []
    for outcome in run(actions()):
        results.append(outcome.result)
        ahead.append(drawn - len(results))
    assert results == [0.1 if number % 7 == 0 else 2 * number for number in range(40)]
    assert max(ahead) == 7  # 2 workers x 4 items, minus the item just yielded


def check_errors_are_outcomes(run):
    names = ("double", "raise", "unpicklable", "unsendable", "sleep")
    actions = [(name, 0) for name in names]
    outcomes = list(run(actions))
    assert [outcome.item for outcome in outcomes] == actions
    assert outcomes[0] == Outcome(actions[0], 0) and outcomes[4].result == 0
    assert isinstance(outcomes[1].error, ValueError) and str(outcomes[1].error) == "0"
    errors = [outcome.error for outcome in outcomes[1:4]]
    assert all(errors) and not any(isinstance(error, WorkerLost) for error in errors)


def check_lost_workers_cost_their_item_only(run, tmp_path):
    actions = [("double", number) for number in range(12)]
    actions[3], actions[5] = ("die", 0), ("die once", str(tmp_path / "died"))
    outcomes = list(run(actions))
    assert [outcome.item for outcome in outcomes] == actions
    assert isinstance(outcomes[3].error, WorkerLost) and "crashed" in str(outcomes[3].error)
    assert isinstance(outcomes[5].error, FileExistsError)
    rest = [number for number in range(12) if number not in (3, 5)]
    assert [outcomes[number].result for number in rest] == [2 * number for number in rest]


def check_hang_costs_its_item_only(run):
    outcomes = list(run([("double", 1), SLEEP_FOREVER, ("double", 3), ("double", 4)]))
    assert [outcome.result for outcome in outcomes] == [2, None, 6, 8]
    assert isinstance(outcomes[1].error, WorkerLost) and "not come back" in str(outcomes[1].error)


def check_error_of_the_items_is_raised(run):
    def actions():
        yield ("double", 1)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        list(run(actions()))


# ---------------------------------------------------------------- ordered_map and map_in_threads

run = partial(ordered_map, act, workers=2)


def test_ordered_map_preserves_order_and_limits_items_ahead():
    check_order_and_window(run)


def test_ordered_map_returns_errors_as_outcomes():
    check_errors_are_outcomes(run)


def test_ordered_map_survives_lost_workers(tmp_path):
    check_lost_workers_cost_their_item_only(run, tmp_path)


@pytest.mark.slow
def test_ordered_map_survives_a_hanging_worker():
    check_hang_costs_its_item_only(partial(run, patience=4.0))


def test_ordered_map_propagates_errors_raised_by_the_items_iterator():
    check_error_of_the_items_is_raised(run)


def test_closing_ordered_map_early_ends_the_workers():
    outcomes = run(("pid", number) for number in range(10**9))
    pids = {next(outcomes).result for _ in range(30)}
    assert pids and all(is_alive(pid) for pid in pids)
    outcomes.close()
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_map_in_threads_preserves_order():
    assert list(map_in_threads(lambda number: 2 * number, range(50))) == list(range(0, 100, 2))
    assert 1 <= available_cores() <= os.cpu_count()


# ---------------------------------------------------------------- programs that use ordered_map

PROGRAM = """
import os, sys, time
from pathlib import Path
from common.parallel import ordered_map

if __name__ == "__mp_main__" and {slow_start}:
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(2)

def task(number):
    if {big}:
        return bytes(30_000_000)
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep({sleep})

if __name__ == "__main__" or {unguarded}:
    outcomes = ordered_map(task, range(100), workers=2)
    next(outcomes)
    {then}
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts PROGRAM in a process group that is killed after the test."""
    started = []

    def start(argument=tmp_path, *, sleep=0.0, then="", **flags):
        script = tmp_path / "program.py"
        flags = {"big": False, "unguarded": False, "slow_start": False, **flags}
        script.write_text(PROGRAM.format(sleep=sleep, then=then, **flags), encoding="utf-8")
        process = start_python(script, argument, cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def pids(tmp_path):
    """Return the folder in which workers record their process ids."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def worker_pids(folder):
    assert wait_until(lambda: len(list(folder.iterdir())) == 2)
    return [int(path.name) for path in folder.iterdir()]


def test_workers_exit_when_their_parent_is_killed(start, pids):
    parent = start(pids, sleep=3600)
    workers = worker_pids(pids)
    assert all(is_alive(pid) for pid in workers)
    parent.kill()
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))


@pytest.mark.parametrize("then", ["outcomes.close(); print('left')", "print('left')"])
def test_program_can_exit_while_results_are_being_sent(start, then):
    process = start(big=True, then=then)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "left\n", "")


@pytest.mark.parametrize("slow_start", [False, True])
def test_workers_ignore_ctrl_c(start, pids, slow_start):
    """Test that only the parent handles Ctrl-C, which terminals send to the whole process group."""
    process = start(pids, sleep=3600, slow_start=slow_start)
    workers = worker_pids(pids)
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert not wait_until(lambda: not all(is_alive(pid) for pid in workers), seconds=0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.count("Traceback") == 1 and err.strip().endswith("KeyboardInterrupt")
    assert not any(is_alive(pid) for pid in workers)


def test_ordered_map_raises_input_error_if_workers_cannot_start(start):
    process = start(unguarded=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "worker processes cannot start" in err
