"""Trainings that several devices and several processes share, on the CPU; and what is refused."""

import contextlib
import re
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

import train_siamese
from common.errors import InputError
from models import pretrained
from tests.conftest import start_script
from tests.training.fixtures import log
from training.devices import PROCESSES, Devices, open_devices

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own conversions
BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="several processes need JAX")
EPOCHS = 4
# 12 songs train and 8 validate: two devices share batches of 4 as one device would have them.
# JAX's seed is one that has no hinge on the edge: there rounding, which is each processor's own,
# decides which side it falls to, and the trainings part. Each backend draws weights of its own.
SEED = 4 if BACKEND == "jax" else 0
SETTINGS = ("--epochs", EPOCHS, "--batch", 4, "--rate", 0.001, "--negatives", 2, "--seed", SEED)
TIMEOUT = 120  # seconds for what takes ten, on a machine that is busy

TWO_CPUS = """
import sys
import models.keras_backend
import tensorflow as tf
from common import cli
import train_siamese

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
cli.run_script(train_siamese.main)
"""

# A process that comes to an end after epoch 2.
AFTER_TWO = """
import os, signal
from common import cli
from training import loop
import train_siamese

class Ends(loop.CheckpointCallback):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if epoch + 1 == 2:
            {what}

loop.CheckpointCallback = Ends
cli.run_script(train_siamese.main)
"""
KILLED = AFTER_TWO.format(what="os.kill(os.getpid(), signal.SIGKILL)")
STOPPED = AFTER_TWO.format(what="raise KeyboardInterrupt")


@pytest.fixture(scope="module")
def alone(small_corpus, tmp_path_factory):
    """The folder of the training on one device."""
    split, _, cache = small_corpus
    folder = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        given = (split, cache, "--out", folder, *SETTINGS)
        patch.setattr(sys, "argv", ["train_siamese.py", *map(str, given)])
        train_siamese.main()
    losses = log(folder)["val_loss"]
    assert losses.iloc[-1] < 0.98 * losses[0], "hardly anything was learnt"
    return folder


def assert_ended_alike(folder, alone):
    """To what float32 makes of sums in another order."""
    pd.testing.assert_frame_equal(log(folder), log(alone), rtol=1e-5)
    for name in ("best.h5", "last.h5"):
        found, expected = (pretrained.load_weights(str(one / name)) for one in (folder, alone))
        for ours, theirs in zip(found.encoder_arrays, expected.encoder_arrays, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


class Started:
    """Scripts that run at the same time, of which none outlives the test."""

    def __init__(self, small_corpus):
        split, _, cache = small_corpus
        self._given = (split, cache, "--distribute", *SETTINGS)
        self._processes = []

    def __call__(self, out, *more, script=("train_siamese.py",), **variables):
        arguments = (*script, *self._given, "--out", out, *more)
        self._processes.append(start_script(*arguments, KERAS_BACKEND=BACKEND, **variables))

    def pair(self, first, second, *more, scripts=(("train_siamese.py",),) * 2):
        """Two processes that share a training, with the folder of each."""
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        for number, (out, script) in enumerate(zip((first, second), scripts, strict=True)):
            variables = {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                PROCESSES: "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
            }
            self(out, *more, script=script, **variables)

    def ended(self) -> list[tuple[int, str, str]]:
        """(status, stdout, stderr) of each, once all have ended."""
        try:
            texts = [process.communicate(timeout=TIMEOUT) for process in self._processes]
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {TIMEOUT} s: {self.kill()}")
        statuses = [process.returncode for process in self._processes]
        self._processes = []
        return [(status, *text) for status, text in zip(statuses, texts, strict=True)]

    def kill(self) -> list[tuple[str, str]]:
        """End those that still run; what all of them said."""
        left, self._processes = self._processes, []
        for process in left:
            process.kill()
        return [process.communicate() for process in left]


@pytest.fixture
def started(small_corpus):
    made = Started(small_corpus)
    yield made
    made.kill()


# ---------------------------------------------------------------- several devices


@pytest.mark.skipif(BACKEND == "torch", reason="torch trains on one device here")
def test_two_devices_end_as_one(alone, started, tmp_path):
    """Also where a normalisation takes its statistics from a batch that both share."""
    if BACKEND == "jax":
        flags = "--xla_force_host_platform_device_count=2"
        started(tmp_path / "run", "--data", "resident", XLA_FLAGS=flags)
    else:
        started(tmp_path / "run", "--data", "resident", script=("-c", TWO_CPUS))
    ((status, out, err),) = started.ended()
    assert (status, err) == (0, ""), err
    assert out.startswith(f"{tmp_path / 'run'}: on 2 CPUs ({BACKEND}), float32, frames on the dev")
    assert_ended_alike(tmp_path / "run", alone)


@pytest.mark.skipif(BACKEND == "torch", reason="torch trains on one device here")
def test_one_device_is_all_there_is(monkeypatch):
    monkeypatch.delenv(PROCESSES, raising=False)
    before = keras.distribution.distribution()
    with open_devices(True) as found:
        assert found == Devices("cpu") and found.writes
        assert str(found) == f"the CPU ({BACKEND})"
    assert keras.distribution.distribution() is before


# ---------------------------------------------------------------- several processes


@on_jax
def test_a_process_is_lost_and_the_same_commands_go_on(alone, started, tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere/run"
    scripts = ("train_siamese.py",), ("-c", KILLED)
    started.pair(folder, elsewhere, "--data", "stream", scripts=scripts)
    (status, out, err), (other, _, _) = started.ended()
    assert other == -signal.SIGKILL
    assert status == 1 and re.fullmatch(r"error: a process of the 2 was lost.* again .*\n", err)
    assert f"{folder}: on 2 CPUs of 2 processes (jax), float32, crops streamed" in out
    assert list(log(folder)["epoch"]) == [1, 2]
    assert not elsewhere.exists(), "the second process wrote files"

    started.pair(folder, folder, "--data", "resident")
    (status, out, _), (other, silent, _) = started.ended()
    assert status == other == 0
    assert f"{folder}: going on after epoch 2 of {EPOCHS}\n" in out
    assert "complete" in out and str(folder) not in silent
    assert_ended_alike(folder, alone)
    names = {path.name for path in folder.iterdir()}
    assert names == {"best.h5", "last.h5", "log.csv", "run.json", "tensorboard"}


@on_jax
def test_a_process_that_ends_by_itself_ends_the_other(started, tmp_path):
    """Each soon, and in one line."""
    started.pair(
        tmp_path / "run", tmp_path / "run", scripts=(("train_siamese.py",), ("-c", STOPPED))
    )
    (first, _, lost), (second, _, stopped) = started.ended()
    assert first == second == 1
    assert re.fullmatch(r"error: stopped; .*\n", stopped), stopped
    assert re.fullmatch(r"error: a process of the 2 was lost.*\n", lost), lost
    assert not (tmp_path / "run/lock").exists()


@on_jax
def test_processes_that_see_different_folders_are_refused(monkeypatch):
    from jax.experimental import multihost_utils

    # What the other process sends is 3.
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.array([3, own]))
    second = Devices("cpu", 2, 1, 2)
    second.require_same(3, "run: finished epochs")
    with pytest.raises(InputError, match=r"run: finished epochs: .* see \[3, 0\]; put the folder"):
        second.require_same(0, "run: finished epochs")


def test_each_process_has_its_part_of_a_batch():
    batch = np.arange(12).reshape(6, 2)
    parts = [Devices("cpu", 6, process, 3).own_part(batch) for process in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), batch)
    assert {len(part) for part in parts} == {2}
    assert [Devices("cpu", 6, process, 3).writes for process in range(3)] == [True, False, False]
    np.testing.assert_array_equal(Devices().own_part(batch), batch)
    Devices().require_same(3, "of one process")


def test_devices_say_what_they_are():
    assert str(Devices("gpu")) == f"one GPU ({BACKEND})"
    assert str(Devices("gpu", 8)) == f"8 GPUs ({BACKEND})"
    assert str(Devices("tpu", 8, 1, 2)) == f"8 TPUs of 2 processes ({BACKEND})"


# ---------------------------------------------------------------- what cannot be shared


def refused(all_of_them: bool) -> str:
    """The line with which this is refused."""
    with pytest.raises(InputError) as error, open_devices(all_of_them):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


def test_several_processes_are_not_to_train_each_for_itself(monkeypatch):
    monkeypatch.setenv(PROCESSES, "2")
    assert refused(all_of_them=False) == f"{PROCESSES} is set; add --distribute, or unset it"


@pytest.mark.skipif(BACKEND == "jax", reason="JAX can")
def test_backends_that_cannot(monkeypatch):
    if BACKEND == "torch":
        assert "not with torch; set KERAS_BACKEND to" in refused(all_of_them=True)
    monkeypatch.setenv(PROCESSES, "2")
    assert "set KERAS_BACKEND" in refused(all_of_them=True)


@on_jax
@pytest.mark.parametrize("wrong", [{"JOB_ADDRESSES": "a:1,b:1,c:1"}, {"PROCESS_ID": "x"}], ids=str)
def test_processes_that_are_told_of_each_other_wrongly(wrong, monkeypatch):
    right = {"JOB_ADDRESSES": "127.0.0.1:1", "NUM_PROCESSES": "2", "PROCESS_ID": "0"}
    for name, value in {**right, **wrong}.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    assert "the processes did not find each other: " in refused(all_of_them=True)
