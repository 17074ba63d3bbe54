"""The devices of a training: one, all of this machine, or those of several machines.

The communication is left to the backends. On JAX, Keras' data parallelism shares each batch
among all devices of all processes; on TensorFlow, a mirrored strategy does so among the
devices of one machine.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from models.keras_backend import keras

PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"  # set by the launcher of several; read by Keras


@dataclass(frozen=True)
class Devices:
    """The devices of a training.

    Attributes
    ----------
    kind
        "cpu", "gpu" or "tpu".
    count
        Number of devices in all processes, each of which gets an equal part of every batch.
    process, processes
        Number of this process, from 0, and of all processes.
    """

    kind: str = "cpu"
    count: int = 1
    process: int = 0
    processes: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.process == 0

    def own_part(self, batch: np.ndarray) -> np.ndarray:
        """Return the rows of a batch that this process computes."""
        rows = len(batch) // self.processes
        return batch[self.process * rows : (self.process + 1) * rows]

    def require_same(self, number: int, name: str) -> None:
        """Raise `InputError` unless all processes have the same number."""
        if self.processes == 1:
            return
        from jax.experimental import multihost_utils

        numbers = multihost_utils.process_allgather(np.array(number)).tolist()
        if len(set(numbers)) > 1:
            raise InputError(
                f"{name}: the processes see {numbers}; put the folder where all of them can read it"
            )

    def __str__(self) -> str:
        name = "the CPU" if self.kind == "cpu" else f"one {self.kind.upper()}"
        if self.count > 1:
            name = f"{self.count} {self.kind.upper()}s"
        if self.processes > 1:
            name += f" of {self.processes} processes"
        return f"{name} ({keras.backend.backend()})"


@contextlib.contextmanager
def open_devices(distribute: bool = False) -> Iterator[Devices]:
    """Provide the devices for the models that are built and trained in this context.

    Enter it before the backend computes anything.

    Parameters
    ----------
    distribute
        Whether to use all devices of this machine and, if the environment names other
        processes, of theirs; otherwise the one that the backend uses by default.

    Raises
    ------
    InputError
        The backend or the processes cannot share a training, or a process was lost.
    """
    backend = keras.backend.backend()
    if not distribute:
        if os.environ.get(PROCESSES):
            raise InputError(f"{PROCESSES} is set; add --distribute, or unset it")
        yield Devices(_device_kind())
    elif backend == "jax":
        with _jax_devices() as devices:
            yield devices
    elif backend == "tensorflow":
        if os.environ.get(PROCESSES):
            raise InputError(
                f"{PROCESSES} is set, but TensorFlow trains on one machine only here; set "
                "KERAS_BACKEND=jax to use several"
            )
        with _tensorflow_devices() as devices:
            yield devices
    else:
        raise InputError(
            f"--distribute: not available with {backend}; set KERAS_BACKEND to jax or tensorflow"
        )


@contextlib.contextmanager
def _jax_devices() -> Iterator[Devices]:
    import jax

    if os.environ.get(PROCESSES):
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the processes did not find each other: {error}") from error
    # `own_part` has shared the data set already.
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    previous = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield Devices(
            _device_kind(),
            distribution.num_model_replicas,
            jax.process_index(),
            jax.process_count(),
        )
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        atexit.register(_exit_at_once)
        # Some failures of gloo, which connects CPUs, are a ValueError.
        if not isinstance(error, jax.errors.JaxRuntimeError) and "Gloo" not in str(error):
            raise
        raise InputError(
            f"one of the {jax.process_count()} processes was lost or failed "
            f"({str(error).splitlines()[0]}); start all of them again with the same command to "
            "resume after the last finished epoch"
        ) from error
    finally:
        keras.distribution.set_distribution(previous)


def _exit_at_once() -> None:
    """End the process before JAX, at exit, waits minutes for processes that are lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@contextlib.contextmanager
def _tensorflow_devices() -> Iterator[Devices]:
    import tensorflow as tf

    kind = _device_kind()
    names = [device.name for device in tf.config.list_logical_devices(kind.upper())]
    strategy = tf.distribute.MirroredStrategy(names)
    with strategy.scope():
        yield Devices(kind, strategy.num_replicas_in_sync)


def _device_kind() -> str:
    if keras.backend.backend() == "torch":
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    return keras.distribution.list_devices()[0].partition(":")[0].lower()


def device_memory() -> int | None:
    """Return the total bytes of the smallest NVIDIA device of this machine, or None.

    The driver is asked for the total, because backends allocate most of the memory at once.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return min((pynvml.nvmlDeviceGetMemoryInfo(one).total for one in handles), default=None)
    except pynvml.NVMLError:
        return None
