"""The devices that a training runs on: one, all of this machine, or those of several machines.

No communication is written here. On JAX, Keras' own data parallelism spreads
each batch over all devices of all processes; on TensorFlow, a mirrored strategy
does over those of one machine.
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

PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"  # set by who launches several; Keras reads it


@dataclass(frozen=True)
class Devices:
    """What takes part in a training.

    Attributes
    ----------
    kind
        "cpu", "gpu" or "tpu".
    count
        Devices in all, each of which takes an equal part of every batch.
    process, processes
        Which of the processes this is, from 0, and how many there are.
    """

    kind: str = "cpu"
    count: int = 1
    process: int = 0
    processes: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes the run's files."""
        return self.process == 0

    def own_part(self, batch):
        """This process's rows of an array that all processes share."""
        rows = len(batch) // self.processes
        return batch[self.process * rows : (self.process + 1) * rows]

    def require_same(self, number: int, what: str) -> None:
        """Raise `InputError` unless all processes have this number."""
        if self.processes == 1:
            return
        from jax.experimental import multihost_utils

        found = multihost_utils.process_allgather(np.array(number)).tolist()
        if len(set(found)) > 1:
            raise InputError(
                f"{what}: the processes see {found}; put the folder where all of them can read it"
            )

    def __str__(self) -> str:
        name = "the CPU" if self.kind == "cpu" else f"one {self.kind.upper()}"
        if self.count > 1:
            name = f"{self.count} {self.kind.upper()}s"
        if self.processes > 1:
            name += f" of {self.processes} processes"
        return f"{name} ({keras.backend.backend()})"


@contextlib.contextmanager
def open_devices(all_of_them: bool) -> Iterator[Devices]:
    """The devices for the models that are built and trained inside this context.

    Parameters
    ----------
    all_of_them
        All of this machine and, where the environment names other processes,
        theirs too; otherwise the one that the backend takes by default. Has to
        be entered before the backend computes anything.

    Raises
    ------
    InputError
        This backend, or these processes, cannot share a training; or a process was lost in it.
    """
    backend = keras.backend.backend()
    if not all_of_them:
        if os.environ.get(PROCESSES):
            raise InputError(f"{PROCESSES} is set; add --distribute, or unset it")
        yield Devices(_kind())
    elif backend == "jax":
        with _of_jax() as found:
            yield found
    elif backend == "tensorflow":
        if os.environ.get(PROCESSES):
            raise InputError(
                f"{PROCESSES} is set, but TensorFlow trains on one machine only here; set "
                "KERAS_BACKEND=jax to use several"
            )
        with _of_tensorflow() as found:
            yield found
    else:
        raise InputError(
            f"--distribute: not with {backend}; set KERAS_BACKEND to jax or tensorflow"
        )


@contextlib.contextmanager
def _of_jax() -> Iterator[Devices]:
    import jax

    if os.environ.get(PROCESSES):
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the processes did not find each other: {error}") from error
    spread = keras.distribution.DataParallel(auto_shard_dataset=False)  # `own_part` has done so
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(spread)
    try:
        yield Devices(_kind(), spread.num_model_replicas, jax.process_index(), jax.process_count())
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        atexit.register(_leave)
        # Of gloo, which joins CPUs, some failures come as a ValueError.
        if not isinstance(error, jax.errors.JaxRuntimeError) and "Gloo" not in str(error):
            raise
        raise InputError(
            f"a process of the {jax.process_count()} was lost, or failed "
            f"({str(error).splitlines()[0]}); start all of them again with the same command: they "
            "go on from the last finished epoch"
        ) from error
    finally:
        keras.distribution.set_distribution(before)


def _leave() -> None:
    """End the process before JAX, at exit, waits minutes for the others: they, or it, are lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@contextlib.contextmanager
def _of_tensorflow() -> Iterator[Devices]:
    import tensorflow as tf

    kind = _kind()
    names = [device.name for device in tf.config.list_logical_devices(kind.upper())]
    strategy = tf.distribute.MirroredStrategy(names)
    with strategy.scope():
        yield Devices(kind, strategy.num_replicas_in_sync)


def _kind() -> str:
    if keras.backend.backend() == "torch":
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    return keras.distribution.list_devices()[0].partition(":")[0].lower()


def device_memory() -> int | None:
    """Bytes of the smallest NVIDIA device of this machine, in all; None where there is none.

    Asked of the driver: what is free says nothing, for backends take most of it at once.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return min((pynvml.nvmlDeviceGetMemoryInfo(one).total for one in handles), default=None)
    except pynvml.NVMLError:
        return None
