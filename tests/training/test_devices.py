"""Test training shared by several devices or processes (on the CPU), and rejected set-ups."""

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
from tests.conftest import start_script, without_progress
from tests.training.fixtures import read_log
from training.devices import PROCESSES, Devices, open_devices

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
BACKEND = keras.backend.backend()
needs_jax = pytest.mark.skipif(BACKEND != "jax", reason="several processes need JAX")
EPOCHS = 4
# With 12 training and 8 validation tracks, two devices share batches of 4 evenly. A margin above 2
# keeps every hinge active, so processor-dependent rounding cannot switch one on or off.
OPTIONS = ("--epochs", EPOCHS, "--batch-size", 4, "--negatives", 2, "--margin", 3)
OPTIONS += ("--learning-rate", 0.001)
TIMEOUT = 120  # seconds; enough on a busy machine for runs that normally take ten

TWO_CPUS = """
import models.keras_backend
import tensorflow as tf
from common import cli
import train_siamese

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
cli.run_script(train_siamese.main)
"""

KILLED_AFTER_EPOCH_2 = """
import os, signal
from common import cli
from training import loop
import train_siamese

class EndingCallback(loop.CheckpointCallback):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if epoch + 1 == 2:
            os.kill(os.getpid(), signal.SIGKILL)

loop.CheckpointCallback = EndingCallback
cli.run_script(train_siamese.main)
"""


@pytest.fixture(scope="module")
def one_device(small_corpus, tmp_path_factory):
    """Train on one device and return the run folder."""
    split, _, cache = small_corpus
    folder = tmp_path_factory.mktemp("one_device") / "run"
    with pytest.MonkeyPatch.context() as patch:
        arguments = (split, cache, "--out", folder, *OPTIONS)
        patch.setattr(sys, "argv", ["train_siamese.py", *map(str, arguments)])
        train_siamese.main()
    losses = read_log(folder)["val_loss"]
    assert losses.iloc[-1] < losses[0] - 0.05, "hardly anything was learnt"
    return folder


def assert_same_training(folder, expected_folder):
    """Check that logs and weights agree up to the rounding of reordered float32 sums."""
    pd.testing.assert_frame_equal(read_log(folder), read_log(expected_folder), rtol=1e-5)
    for name in ("best.h5", "last.h5"):
        ours, theirs = (
            pretrained.load_weights(str(one / name)).encoder_arrays
            for one in (folder, expected_folder)
        )
        for array, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=2e-5)


class Launcher:
    """Launcher of concurrent training scripts, which are killed when the test ends."""

    def __init__(self, small_corpus):
        split, _, cache = small_corpus
        self._arguments = (split, cache, "--distribute", *OPTIONS)
        self._processes = []

    def start(self, out, *more, script=("train_siamese.py",), **variables):
        arguments = (*script, *self._arguments, "--out", out, *more)
        self._processes.append(start_script(*arguments, KERAS_BACKEND=BACKEND, **variables))

    def start_pair(self, first, second, *more, scripts=(("train_siamese.py",),) * 2):
        """Start two processes that share a training run, each with its own --out."""
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        for number, (out, script) in enumerate(zip((first, second), scripts, strict=True)):
            variables = {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                PROCESSES: "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
            }
            self.start(out, *more, script=script, **variables)

    def wait(self) -> list[tuple[int, str, str]]:
        """Wait until all processes have ended; return (status, stdout, stderr) for each."""
        try:
            texts = [process.communicate(timeout=TIMEOUT) for process in self._processes]
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {TIMEOUT} s: {self.kill()}")
        statuses = [process.returncode for process in self._processes]
        self._processes = []
        return [
            (status, out, without_progress(err))
            for status, (out, err) in zip(statuses, texts, strict=True)
        ]

    def kill(self) -> list[tuple[str, str]]:
        """Kill the remaining processes and return their (stdout, stderr)."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.kill()
        return [process.communicate() for process in processes]


@pytest.fixture
def launcher(small_corpus):
    launcher = Launcher(small_corpus)
    yield launcher
    launcher.kill()


# ---------------------------------------------------------------- several devices


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="torch trains on one device here")
def test_two_devices_produce_the_same_weights_as_one(one_device, launcher, tmp_path):
    """Batch normalisation must compute its statistics over both devices."""
    if BACKEND == "jax":
        flags = "--xla_force_host_platform_device_count=2"
        launcher.start(tmp_path / "run", "--data", "resident", XLA_FLAGS=flags)
    else:
        launcher.start(tmp_path / "run", "--data", "resident", script=("-c", TWO_CPUS))
    ((status, out, err),) = launcher.wait()
    assert (status, err) == (0, ""), err
    assert out.startswith(f"{tmp_path / 'run'}: on 2 CPUs ({BACKEND}), float32, frames on the dev")
    assert_same_training(tmp_path / "run", one_device)


@pytest.mark.skipif(BACKEND == "torch", reason="torch trains on one device here")
def test_distribute_works_on_a_single_device(monkeypatch):
    monkeypatch.delenv(PROCESSES, raising=False)
    before = keras.distribution.distribution()
    with open_devices(distribute=True) as devices:
        assert devices == Devices("cpu") and devices.writes
        assert str(devices) == f"the CPU ({BACKEND})"
    assert keras.distribution.distribution() is before


# ---------------------------------------------------------------- several processes


@needs_jax
@pytest.mark.slow
def test_two_processes_resume_after_one_is_killed(one_device, launcher, tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere/run"
    scripts = ("train_siamese.py",), ("-c", KILLED_AFTER_EPOCH_2)
    launcher.start_pair(folder, elsewhere, "--data", "stream", scripts=scripts)
    (status, out, err), (other, _, _) = launcher.wait()
    assert other == -signal.SIGKILL
    assert status == 1 and re.fullmatch(r"error: one of the 2 processes was lost.* again .*\n", err)
    assert f"{folder}: on 2 CPUs of 2 processes (jax), float32, crops streamed" in out
    assert list(read_log(folder)["epoch"]) == [1, 2]
    assert not elsewhere.exists(), "the second process wrote files"

    launcher.start_pair(folder, folder, "--data", "resident")
    (status, out, _), (other, other_out, _) = launcher.wait()
    assert status == other == 0
    assert f"{folder}: resuming after epoch 2 of {EPOCHS}\n" in out
    assert "complete" in out and str(folder) not in other_out
    assert_same_training(folder, one_device)
    names = {path.name for path in folder.iterdir()}
    assert names == {"best.h5", "last.h5", "log.csv", "run.json", "tensorboard"}


@needs_jax
def test_processes_with_different_folders_are_rejected(monkeypatch):
    from jax.experimental import multihost_utils

    # Simulate another process that reports 3 epochs.
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.array([3, own]))
    second = Devices("cpu", 2, 1, 2)
    second.require_same(3, "run: finished epochs")
    with pytest.raises(InputError, match=r"run: finished epochs: .* see \[3, 0\]; put the folder"):
        second.require_same(0, "run: finished epochs")


def test_each_process_gets_its_own_part_of_a_batch():
    batch = np.arange(12).reshape(6, 2)
    devices = [Devices("cpu", 6, process, 3) for process in range(3)]
    parts = [one.own_part(batch) for one in devices]
    np.testing.assert_array_equal(np.concatenate(parts), batch)
    assert {len(part) for part in parts} == {2}
    assert [one.writes for one in devices] == [True, False, False]
    assert [str(Devices(*one)) for one in (("gpu",), ("gpu", 8), ("tpu", 8, 1, 2))] == [
        f"{name} ({BACKEND})" for name in ("one GPU", "8 GPUs", "8 TPUs of 2 processes")
    ]


# ---------------------------------------------------------------- rejected set-ups


def open_error(distribute: bool) -> str:
    """Return the message of the error that `open_devices` raises."""
    with pytest.raises(InputError) as error, open_devices(distribute):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


def test_several_processes_without_distribute_are_rejected(monkeypatch):
    monkeypatch.setenv(PROCESSES, "2")
    assert open_error(distribute=False) == f"{PROCESSES} is set; add --distribute, or unset it"


@pytest.mark.skipif(BACKEND == "jax", reason="JAX supports several processes")
def test_backends_without_distributed_training_are_rejected(monkeypatch):
    if BACKEND == "torch":
        message = "--distribute: not available with torch; set KERAS_BACKEND to jax or tensorflow"
        assert open_error(distribute=True) == message
    monkeypatch.setenv(PROCESSES, "2")
    assert "set KERAS_BACKEND" in open_error(distribute=True)


@needs_jax
@pytest.mark.parametrize("wrong", [{"JOB_ADDRESSES": "a:1,b:1,c:1"}, {"PROCESS_ID": "x"}], ids=str)
def test_invalid_process_settings_are_rejected(wrong, monkeypatch):
    right = {"JOB_ADDRESSES": "127.0.0.1:1", "NUM_PROCESSES": "2", "PROCESS_ID": "0"}
    for name, value in {**right, **wrong}.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    assert "the processes did not find each other: " in open_error(distribute=True)
