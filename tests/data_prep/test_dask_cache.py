"""Tests that a mel cache made on a Dask cluster is identical to one made by a single process."""

import os
import signal
import threading
import time

import pandas as pd
import pytest

from data_prep import mel_cache_writer
from tests.conftest import error_of, run_script
from tests.data_prep.files import clip, wav

distributed = pytest.importorskip("distributed", reason="needs requirements-dask.txt")
from tests.data_prep.test_dask_map import running  # noqa: E402

TRACKS = 40
MUSIC = clip(10.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return (table, audio folder) with tracks of 3 to 4 s, two of them unusable."""
    folder = tmp_path_factory.mktemp("audio")
    paths = [f"{number}.wav" for number in range(TRACKS)]
    for number, path in enumerate(paths):
        first = 2_000 * number
        (folder / path).write_bytes(wav(MUSIC[first : first + 68_000 + 300 * number]))
    (folder / paths[5]).write_bytes(b"")
    (folder / paths[30]).unlink()
    subset = ["train", "valid"] * (TRACKS // 2)
    table = {"track_id": paths, "path": paths, "subset": subset, "artist": "a"}
    return pd.DataFrame(table), folder


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    """Return the bytes of a cache and failure list made by this process."""
    out = tmp_path_factory.mktemp("here") / "here.h5"
    report = mel_cache_writer.make_mel_cache(*corpus, out)
    assert (report.tracks, len(report.failed)) == (TRACKS - 2, 2)
    return contents(out)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Yield the scheduler file of a cluster with two worker processes."""
    with running(tmp_path_factory.mktemp("cluster"), workers=2) as started:
        yield str(started.file)


def contents(out):
    return out.read_bytes(), out.with_suffix(".failures.csv").read_bytes()


def worker_pids(client):
    client.wait_for_workers(2, timeout=30)
    return client.run(os.getpid)


@pytest.mark.slow
def test_cluster_makes_an_identical_cache_after_a_worker_is_killed(
    corpus, expected, scheduler, tmp_path
):
    out = tmp_path / "there.h5"
    killed = []

    def kill_one():
        """Kill a busy worker as soon as the first tracks are done."""
        making, end = out.with_name(out.name + ".making"), time.monotonic() + 60
        while not killed and time.monotonic() < end:
            time.sleep(0.001)
            if any(journal.stat().st_size for journal in making.rglob("journal")):
                busy = [pids[name] for name, keys in client.processing().items() if keys]
                killed.extend(busy[:1])
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
        unfinished.append(not out.exists())

    with distributed.Client(scheduler_file=scheduler, set_as_default=False) as client:
        pids, unfinished = worker_pids(client), []
        killer = threading.Thread(target=kill_one)
        killer.start()
        mel_cache_writer.make_mel_cache(*corpus, out, scheduler=scheduler)
        killer.join()
        assert unfinished == [True] and killed[0] in pids.values()
        assert killed[0] not in worker_pids(client).values()
    assert contents(out) == expected


@pytest.mark.slow
def test_script_runs_on_the_cluster(corpus, expected, scheduler, tmp_path):
    split, out = tmp_path / "split.csv", tmp_path / "there.h5"
    corpus[0].to_csv(split, index=False)
    command = "data_prep/2_cache_mels.py", split, "--audio", corpus[1], "--out", out
    assert "nor a Dask scheduler's file" in error_of(*command, "--dask", tmp_path / "absent")
    run_script(*command, "--dask", scheduler, "--allow-failures")
    assert contents(out) == expected
