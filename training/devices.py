"""Training devices: a single device, all devices of this machine, or those of several machines.

Communication is left to the backends. With JAX, Keras' data parallelism divides each batch among
all devices of all processes; with TensorFlow, a mirrored strategy divides it among the devices of
one machine.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from models.keras_backend import keras

PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"  # variable set by the user, read by Keras


@dataclass(frozen=True)
class Devices:
    """The devices that take part in a training run, each with an equal part of every batch."""

    kind: str = "cpu"  # or "gpu" or "tpu"
    count: int = 1  # number of devices over all processes
    process: int = 0  # index of this process
    processes: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's files."""
        return self.process == 0

    @property
    def replicas(self) -> int:
        """Number of parts of a batch with a loss of their own; with JAX, the batch has one loss."""
        return self.count if keras.backend.backend() == "tensorflow" else 1

    def own_part(self, batch: np.ndarray) -> np.ndarray:
        """Return the rows of a batch that this process handles."""
        rows = len(batch) // self.processes
        return batch[self.process * rows : (self.process + 1) * rows]

    def require_same(self, number: int, name: str) -> None:
        """Raise `InputError` unless all processes pass the same number."""
        if self.processes == 1:
            return
        from jax.experimental import multihost_utils

        numbers = multihost_utils.process_allgather(np.array(number)).tolist()
        if len(set(numbers)) > 1:
            raise InputError(
                f"{name}: the processes see {numbers}; put the folder where all of them can read it"
            )

    def __str__(self) -> str:
        one = "the CPU" if self.kind == "cpu" else f"one {self.kind.upper()}"
        name = f"{self.count} {self.kind.upper()}s" if self.count > 1 else one
        of = f" of {self.processes} processes" if self.processes > 1 else ""
        return f"{name}{of} ({keras.backend.backend()})"


@contextlib.contextmanager
def open_devices(distribute: bool = False) -> Iterator[Devices]:
    """Provide the devices for models built and trained within this context.

    Enter the context before the backend computes anything. With `distribute`, every device on this
    machine is used and, if the environment lists other processes, theirs as well; otherwise only
    the backend's default device.
    """
    backend, several = keras.backend.backend(), os.environ.get(PROCESSES)
    if several and not distribute:
        raise InputError(f"{PROCESSES} is set; add --distribute, or unset it")
    if distribute and (backend == "torch" or (backend == "tensorflow" and several)):
        what = f"several processes ({PROCESSES})" if several else "--distribute"
        others = "jax" if several else "jax or tensorflow"
        raise InputError(f"{what}: not available with {backend}; set KERAS_BACKEND to {others}")
    if not distribute:
        yield Devices(_device_kind())
        return
    with _jax_devices() if backend == "jax" else _tensorflow_devices() as devices:
        yield devices


@contextlib.contextmanager
def _jax_devices() -> Iterator[Devices]:
    import jax

    if os.environ.get(PROCESSES):
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the processes did not find each other: {error}") from error
    # `own_part` already splits the batches, so Keras must not shard the data set as well.
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    previous, count = keras.distribution.distribution(), distribution.num_model_replicas
    keras.distribution.set_distribution(distribution)
    try:
        yield Devices(_device_kind(), count, jax.process_index(), jax.process_count())
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        atexit.register(_exit_at_once)
        # Some failures of Gloo, which connects CPUs, are reported as a ValueError.
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
    """End the process immediately; at exit, JAX would wait minutes for lost processes."""
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


@contextlib.contextmanager
def report_failures(
    devices: Devices, folder: Path, describe_saved: Callable[[], str]
) -> Iterator[None]:
    """Raise an `InputError` with a hint if the device runs out of memory or is lost.

    `describe_saved` returns which weights of the run in `folder` have been saved. With several
    processes, `open_devices` reports the failure.
    """
    try:
        yield
    except Exception as error:
        failure = devices.processes == 1 and _describe_failure(error)
        if not failure:
            raise
        raise InputError(f"{folder}: {devices}: {failure}; {describe_saved()}") from error


def _describe_failure(error: Exception) -> str:
    """Return what is wrong with the device and what helps, or an empty string if nothing is."""
    backend, text = keras.backend.backend(), str(error).strip() or type(error).__name__
    if backend == "tensorflow":
        import tensorflow as tf

        no_memory = isinstance(error, tf.errors.ResourceExhaustedError)
        failed = isinstance(error, tf.errors.InternalError | tf.errors.AbortedError)
    elif backend == "jax":
        import jax

        by_jax = isinstance(error, jax.errors.JaxRuntimeError)
        statuses = ("INTERNAL", "UNAVAILABLE", "ABORTED", "DATA_LOSS", "UNKNOWN")
        no_memory = by_jax and text.startswith("RESOURCE_EXHAUSTED")
        failed = by_jax and text.startswith(statuses)
    else:
        import torch

        no_memory = isinstance(error, torch.OutOfMemoryError)
        failed = isinstance(error, torch.AcceleratorError)
    if no_memory or isinstance(error, MemoryError):
        return (
            "out of memory; use --data stream, or a lower --batch-size or --steps-per-call, and "
            "close other programs that use the device"
        )
    if failed:
        return f"failed ({text.splitlines()[0]}); run the same command again to resume"
    return ""


def device_memory() -> int | None:
    """Return the total memory of the smallest NVIDIA device in bytes, or None if there is none.

    The free memory would not tell, because backends allocate most of it at start-up.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return min((pynvml.nvmlDeviceGetMemoryInfo(one).total for one in handles), default=None)
    except pynvml.NVMLError:
        return None
