"""The training loop: `fit` trains every network in the package."""

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import InputError
from data_prep.batches import Batches
from models.keras_backend import keras
from training.callbacks import CheckpointCallback, LearningRateDecay, ProgressCallback, StopAtNaN
from training.checkpoints import TrainingRun
from training.data_placement import Placement, ResidentFrames
from training.devices import Devices

logger = logging.getLogger(__name__)

MOMENTUM = 0.9
PLATEAU_FACTOR = 0.2  # final rates of released siamese files: 0.1 x 0.2^8, 0.1 x 0.2^11
_PREFETCH = 2  # batches that TensorFlow prepares in advance


@dataclass(frozen=True)
class TrainingSchedule:
    """The optimizer, and the rules that adjust the learning rate and stop training.

    Attributes
    ----------
    learning_rate
        Initial learning rate.
    epochs
        Maximum number of epochs.
    plateau
        Number of epochs without an improvement in validation loss after which the learning
        rate is multiplied by 0.2, or None to disable this rule.
    patience
        Number of epochs without an improvement in validation loss after which training stops,
        or None to disable early stopping.
    adam
        Whether to use Adam, as in agf2018, instead of SGD with Nesterov momentum and decay.
    """

    learning_rate: float
    epochs: int
    plateau: int | None = None
    patience: int | None = None
    adam: bool = False

    def make_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a new optimizer."""
        if self.adam:
            return keras.optimizers.Adam(self.learning_rate)
        return keras.optimizers.SGD(self.learning_rate, momentum=MOMENTUM, nesterov=True)

    def make_watchers(self) -> list[keras.callbacks.Callback]:
        """Return new callbacks that apply the rules based on the validation loss."""
        watchers: list[keras.callbacks.Callback] = []
        if self.plateau is not None:
            watchers.append(
                keras.callbacks.ReduceLROnPlateau(
                    factor=PLATEAU_FACTOR, patience=self.plateau, min_delta=0
                )
            )
        if self.patience is not None:
            watchers.append(keras.callbacks.EarlyStopping(patience=self.patience))
        return watchers


@dataclass(frozen=True)
class Task:
    """A model to train, and its data.

    Attributes
    ----------
    loss, metrics
        As in `keras.Model.compile`.
    train
        Training batches.
    valid
        Validation batches, if any. The batches of epoch 0 are reused in every epoch, because
        the papers validate on one fixed crop per track.
    """

    model: keras.Model
    loss: keras.losses.Loss | str
    metrics: list
    train: Batches
    valid: Batches | None = None

    def share_among(self, devices: Devices) -> "Task":
        """Return the task with batches that can be divided equally among the devices."""
        return replace(
            self,
            train=_share_batches(self.train, devices),
            valid=self.valid and _share_batches(self.valid, devices),
        )


def fit(
    tasks: Sequence[Task],
    schedule: TrainingSchedule,
    run: TrainingRun,
    placement: Placement,
    devices: Devices,
    task_order: Sequence[int] | None = None,
) -> None:
    """Train the models of one or more tasks, and write their weights to the run folder.

    If the folder contains an unfinished run, training resumes after its last completed epoch and
    ends with the same weights as an uninterrupted run.

    Parameters
    ----------
    tasks
        One task, or several whose models share weights: each epoch trains one of them. Each task
        has its own optimizer. All tasks must use the same `Crops` object.
    task_order
        Index of the task to train in each epoch (default: the first task throughout).

    Raises
    ------
    InputError
        If the loss becomes NaN or infinite, a track contains NaN or infinity, or the batches
        cannot be divided among the devices.
    """
    tasks = [task.share_among(devices) for task in tasks]
    order = [0] * schedule.epochs if task_order is None else [int(task) for task in task_order]
    resident = ResidentFrames(tasks[0].train.crops) if placement.resident else None
    with run.lock() if devices.writes else contextlib.nullcontext():
        complete = run.is_complete()  # another process may have completed the run before the lock
        devices.require_same(complete, f"{run.folder}: complete")
        if complete:
            logger.info("%s: already complete", run.folder)
            return
        fitted = [_compile_model(task, schedule, placement, resident) for task in tasks]
        watchers = schedule.make_watchers()
        checkpoint = CheckpointCallback(
            run,
            [task.model for task in tasks],
            [model.optimizer for model in fitted],
            watchers,
            order,
            devices,
        )
        if not checkpoint.finished:
            progress = ProgressCallback(
                run.folder, checkpoint.epochs, [tasks[number].train for number in order], devices
            )
            decay = [] if schedule.adam else [LearningRateDecay()]
            callbacks = [StopAtNaN(), *decay, *watchers, checkpoint, progress]
            trainers = [
                _TaskTrainer(task, model, devices, resident, callbacks)
                for task, model in zip(tasks, fitted, strict=True)
            ]
            with contextlib.closing(checkpoint), contextlib.closing(progress):
                for number, first, stop in _consecutive_epochs(order, checkpoint.epochs):
                    trainers[number].train_epochs(first, stop)
                    if not checkpoint.is_finite:
                        break
        if not checkpoint.is_finite:
            raise InputError(
                f"{run.folder}: training diverged (the loss is NaN or infinite); "
                f"{_describe_saved(checkpoint.epochs)}; use a lower --learning-rate"
                f"{' and a new --out' * bool(checkpoint.epochs)}"
            )
        if devices.writes:
            run.finish()
            logger.info("%s: complete, %s", run.folder, checkpoint.describe_outcome())


def _share_batches(batches: Batches, devices: Devices) -> Batches:
    if batches.batch_size < devices.count:
        raise InputError(
            f"--batch-size {batches.batch_size}: smaller than the number of devices, {devices}; "
            "use a larger one"
        )
    if len(batches.anchors) < devices.count:
        raise InputError(
            f"a subset of {len(batches.anchors)} tracks cannot be shared by {devices}; train "
            "without --distribute"
        )
    return replace(batches, multiple=devices.count)


def _compile_model(
    task: Task,
    schedule: TrainingSchedule,
    placement: Placement,
    resident: ResidentFrames | None,
) -> keras.Model:
    """Compile and return the model to fit, which takes crops or places of resident crops."""
    model = resident.wrap_model(task.model) if resident else task.model
    model.compile(
        schedule.make_optimizer(),
        loss=task.loss,
        metrics=task.metrics,
        steps_per_execution=placement.steps,
    )
    return model


def _consecutive_epochs(order: Sequence[int], first: int) -> Iterator[tuple[int, int, int]]:
    """Yield blocks of consecutive epochs of one task, from `first` on, as (task, first, stop)."""
    for number, group in itertools.groupby(range(first, len(order)), lambda epoch: order[epoch]):
        epochs = list(group)
        yield number, epochs[0], epochs[-1] + 1


def _describe_saved(epochs: int) -> str:
    return "last.h5 holds the weights of the epoch before" if epochs else "no weights were saved"


class _TaskTrainer:
    """A task's compiled model, data streams and callbacks."""

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        devices: Devices,
        resident: ResidentFrames | None,
        callbacks: list[keras.callbacks.Callback],
    ):
        self._model = model
        self._train = _Stream(task.train, devices, resident)
        self._valid = task.valid and _Stream(task.valid, devices, resident)
        set_epoch = keras.callbacks.LambdaCallback(on_epoch_begin=self._train.set_epoch)
        self._callbacks = [set_epoch, *callbacks]

    def train_epochs(self, first: int, stop: int) -> None:
        """Train the epochs from `first` up to, but not including, `stop`."""
        try:
            self._model.fit(
                self._train.to_keras(),
                validation_data=self._valid and self._valid.to_keras(),
                initial_epoch=first,
                epochs=stop,
                callbacks=self._callbacks,
                shuffle=False,  # the batches are already shuffled, depending only on the seed
                verbose=0,
            )
        except Exception:
            # TensorFlow replaces an error raised while reading batches with one of its own.
            saved = _describe_saved(max(first, self._train.epoch))
            for stream in (self._train, self._valid):
                if stream and stream.error:
                    raise InputError(f"{stream.error}; {saved}") from None
            raise


class _Stream(keras.utils.PyDataset):
    """The batches of one epoch, as a Keras data set.

    A callback sets the epoch. The data set's own `on_epoch_end` is unsuitable: Keras also calls
    it once before the first epoch and does not document how often it is called.
    """

    def __init__(self, batches: Batches, devices: Devices, resident: ResidentFrames | None):
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.error: InputError | None = None
        self._devices, self._resident = devices, resident

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one batch in new arrays, whose memory JAX and PyTorch may use without copying."""
        return self._make_batch(number)

    def _make_batch(
        self, number: int, buffer: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        # Every process draws the whole batch, which is cheap, but gathers only its own crops.
        places, y = map(self._devices.own_part, self.batches.places(self.epoch, number))
        if self._resident:
            return self._resident.places(places), y
        source = self.batches.crops
        if buffer is not None:
            shape = (*places.shape, source.segment, source.cache.frames.shape[1])
            buffer = buffer[: math.prod(shape)].reshape(shape)
        crops = source.gather(places, buffer)
        try:
            source.require_finite(crops, places)
        except InputError as error:
            self.error = error
            raise
        return crops, y

    def to_keras(self) -> Any:
        """Return the input for `keras.Model.fit`: this object, or a TensorFlow data set.

        The TensorFlow data set that Keras would build from this object tunes itself in a thread
        that sleeps for up to 5 s at a time, and each epoch would wait for that thread to end.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        x, y = self[0]
        dataset = tf.data.Dataset.from_generator(
            lambda: self._generate_batches(_unaligned_array(self.batches.batch_size * x[0].size)),
            output_signature=tuple(
                tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in (x, y)
            ),
        )
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self)))
        return dataset.prefetch(_PREFETCH).with_options(options)

    def _generate_batches(self, buffer: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches for TensorFlow, gathered into `buffer`, and stop early at an error.

        TensorFlow then raises an error because batches are missing. An error raised here would
        reach TensorFlow immediately, but one of its threads would request more batches and wait
        forever while the interpreter exits.
        """
        for number in range(len(self)):
            try:
                batch = self._make_batch(number, buffer)
            except InputError as error:
                self.error = error
                return
            yield batch

    def set_epoch(self, epoch: int, logs: dict | None = None) -> None:
        """Set the epoch for which batches are returned."""
        self.epoch = epoch


def _unaligned_array(size: int) -> np.ndarray:
    """Return a float16 array that TensorFlow copies, so that it can be reused for every batch.

    TensorFlow copies each array that a generator yields before it requests the next one, unless
    the array is aligned to 64 bytes, in which case the tensor uses the array's memory directly. A
    single misaligned array can therefore serve all batches. Allocating a new array per batch would
    cause page faults that take 1 ms of the 33 ms of a siamese step, because TensorFlow makes malloc
    return large arrays to the system.
    """
    return np.empty(size + 1, np.float16)[1:]
