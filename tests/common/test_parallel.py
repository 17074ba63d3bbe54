"""The parallel map: order, bounds, and what survives the death of a process."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from common.errors import InputError
from common.parallel import Outcome, WorkerLost, available_cores, ordered_map
from tests.common.orders import work
from tests.conftest import ROOT


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that nobody has waited for yet is gone all the same.
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return stat.stdout.strip()[:1] not in ("", "Z")


def comes_true(condition, seconds=20):
    """Whether `condition` holds within `seconds`: for what another process is about to do."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_order_is_kept_and_items_are_drawn_no_further_ahead_than_the_window():
    drawn = 0

    def orders():
        nonlocal drawn
        for number in range(40):
            drawn += 1
            yield ("sleep", 0.1) if number % 7 == 0 else ("double", number)

    ahead, results = [], []
    for outcome in ordered_map(work, orders(), workers=2):
        results.append(outcome.result)
        ahead.append(drawn - len(results))
    assert results == [0.1 if number % 7 == 0 else 2 * number for number in range(40)]
    assert max(ahead) == 7  # 2 workers x 4, less the one just yielded


def test_an_exception_is_the_items_own_outcome():
    orders = [("double", 1), ("raise", "no"), ("picky", "x"), ("unsendable", 1), ("double", 2)]
    outcomes = list(ordered_map(work, orders, workers=1))
    assert [outcome.item for outcome in outcomes] == orders
    assert outcomes[0] == Outcome(orders[0], 2) and outcomes[4].result == 4
    assert isinstance(outcomes[1].error, ValueError) and str(outcomes[1].error) == "no"
    assert outcomes[2].error is not None and outcomes[3].error is not None
    assert not any(isinstance(outcome.error, WorkerLost) for outcome in outcomes)


def test_a_death_costs_only_its_item_and_is_tried_again_once(tmp_path):
    orders = [("double", number) for number in range(8)]
    orders[3], orders[5] = ("die", 0), ("die once", str(tmp_path / "died"))
    outcomes = list(ordered_map(work, orders, workers=2))
    assert [outcome.item for outcome in outcomes] == orders
    assert [outcome.result for outcome in outcomes[:3]] == [0, 2, 4]
    assert isinstance(outcomes[3].error, WorkerLost) and "crashed" in str(outcomes[3].error)
    assert isinstance(outcomes[5].error, FileExistsError)
    assert [outcomes[number].result for number in (4, 6, 7)] == [8, 12, 14]


def test_a_hang_costs_only_its_item():
    orders = [("double", 1), ("sleep", 3600), ("double", 3), ("double", 4)]
    outcomes = list(ordered_map(work, orders, workers=1, patience=4.0))
    assert [outcome.result for outcome in outcomes] == [2, None, 6, 8]
    assert isinstance(outcomes[1].error, WorkerLost) and "not come back" in str(outcomes[1].error)


def test_nothing_runs_after_closing_early():
    outcomes = ordered_map(work, [("pid", n) for n in range(100)], workers=2)
    pids = {next(outcomes).result for _ in range(30)}
    assert pids and all(alive(pid) for pid in pids)
    outcomes.close()
    assert comes_true(lambda: not any(alive(pid) for pid in pids))


def test_no_items_start_no_process():
    assert list(ordered_map(work, [], workers=2)) == []


def test_usable_cores():
    assert 1 <= available_cores() <= os.cpu_count()


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
    """Run PROGRAM in a process group of its own, of which nothing outlives the test."""
    started = []

    def start(argument=tmp_path, *, sleep=0.0, then="", **flags):
        script = tmp_path / "program.py"
        flags = {"big": False, "unguarded": False, "slow_start": False, **flags}
        script.write_text(PROGRAM.format(sleep=sleep, then=then, **flags), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, script, argument],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_workers_die_with_a_killed_parent(start, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = start(pids, sleep=3600)
    assert comes_true(lambda: len(list(pids.iterdir())) == 2)
    workers = [int(path.name) for path in pids.iterdir()]
    assert all(alive(pid) for pid in workers)
    parent.kill()
    assert comes_true(lambda: not any(alive(pid) for pid in workers))


def test_leaving_while_results_are_on_their_way_does_not_hang(start):
    process = start(big=True, then="outcomes.close(); print('left')")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "left\n", "")


@pytest.mark.parametrize("slow_start", [False, True])
def test_ctrl_c_is_left_to_the_parent(start, tmp_path, slow_start):
    """The terminal sends it to all of the group; workers print no tracebacks of their own."""
    pids = tmp_path / "pids"
    pids.mkdir()
    process = start(pids, sleep=3600, slow_start=slow_start)
    assert comes_true(lambda: len(list(pids.iterdir())) == 2)
    workers = [int(path.name) for path in pids.iterdir()]
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert not comes_true(lambda: not all(alive(pid) for pid in workers), seconds=0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.count("Traceback") == 1 and err.strip().endswith("KeyboardInterrupt")
    assert not any(alive(pid) for pid in workers)


def test_workers_that_cannot_start_are_no_items_fault(start):
    process = start(unguarded=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "worker processes cannot start" in err


def test_an_endless_source_is_never_drawn_to_its_end():
    def endless():
        number = 0
        while True:
            yield ("double", number)
            number += 1

    outcomes = ordered_map(work, endless(), workers=1)
    assert [next(outcomes).result for _ in range(5)] == [0, 2, 4, 6, 8]
    outcomes.close()


def test_a_source_that_fails_ends_the_map():
    def failing():
        yield ("double", 1)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        list(ordered_map(work, failing(), workers=1))
