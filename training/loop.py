"""The one training loop: every model of the package is trained by `fit`."""

import contextlib
import itertools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import InputError
from data_prep.batches import Batches
from models.keras_backend import keras
from training.callbacks import CheckpointCallback, LearningRateDecay, ProgressCallback, StopAtNaN
from training.checkpoints import TrainingRun
from training.data_placement import Placement, Resident
from training.devices import Devices

logger = logging.getLogger(__name__)

MOMENTUM = 0.9
_AHEAD = 2  # batches made before they are asked for
PLATEAU_FACTOR = 0.2  # the released siamese files end at 0.1 x 0.2^8 and 0.1 x 0.2^11


@dataclass(frozen=True)
class TrainingSchedule:
    """How long and how fast to train; the papers' values are the scripts' defaults.

    Attributes
    ----------
    rate
        Initial learning rate of SGD with Nesterov momentum 0.9, or of Adam.
    epochs
        At the most.
    plateau
        Epochs without a lower validation loss before the rate is multiplied by 0.2;
        None: never.
    patience
        Epochs without a lower validation loss before training ends; None: never.
    adam
        As agf2018, in the place of SGD and its decay.
    """

    rate: float
    epochs: int
    plateau: int | None = None
    patience: int | None = None
    adam: bool = False

    def optimizer(self) -> keras.optimizers.Optimizer:
        """A new one."""
        if self.adam:
            return keras.optimizers.Adam(self.rate)
        return keras.optimizers.SGD(self.rate, momentum=MOMENTUM, nesterov=True)

    def watchers(self) -> list[keras.callbacks.Callback]:
        """What acts on the validation loss."""
        watchers = []
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
    """A model, and what it is trained on.

    Attributes
    ----------
    loss, metrics
        As Keras takes them.
    train, valid
        Batches; validation has those of epoch 0 each time, for the papers
        validate on one fixed crop a song. Without `valid` there is none.
    """

    model: keras.Model
    loss: keras.losses.Loss | str
    metrics: list
    train: Batches
    valid: Batches | None = None

    def shared_by(self, devices: Devices) -> "Task":
        """The task with batches that all devices can take an equal part of."""
        train, valid = (each and _shared(each, devices) for each in (self.train, self.valid))
        return replace(self, train=train, valid=valid)


def fit(
    tasks: Sequence[Task],
    schedule: TrainingSchedule,
    run: TrainingRun,
    placement: Placement,
    devices: Devices,
    turn: Callable[[int], int] = lambda epoch: 0,
) -> None:
    """Train the models of one or more tasks and leave their weights in the run's folder.

    Where the folder holds an unfinished training, goes on after its last
    finished epoch, to the very end that it would have come to undisturbed.

    Parameters
    ----------
    tasks
        Several if models share weights: each epoch trains one of them. Each has an
        optimizer of its own; the crops of all are the same object.
    turn
        From the number of an epoch to that of its task.

    Raises
    ------
    InputError
        The loss became NaN or infinite; or the batches cannot be shared by the devices.
    """
    tasks = [task.shared_by(devices) for task in tasks]
    resident = Resident(tasks[0].train.crops) if placement.resident else None
    with run.locked() if devices.writes else contextlib.nullcontext():
        complete = run.is_complete()  # by a training that held the lock until now
        devices.require_same(complete, f"{run.folder}: complete")
        if complete:
            logger.info("%s: complete already", run.folder)
            return
        fitted = [_compiled(task, schedule, placement, resident) for task in tasks]
        watchers, models = schedule.watchers(), [task.model for task in tasks]
        optimizers = [model.optimizer for model in fitted]
        keep = CheckpointCallback(run, models, optimizers, watchers, schedule.epochs, devices, turn)
        if not keep.finished:
            of_epochs = [tasks[turn(epoch)].train for epoch in range(schedule.epochs)]
            progress = ProgressCallback(run.folder, keep.epochs, of_epochs, devices)
            callbacks = [StopAtNaN(), *([] if schedule.adam else [LearningRateDecay()]), *watchers]
            trainings = [
                _Training(task, model, devices, resident, [*callbacks, keep, progress])
                for task, model in zip(tasks, fitted, strict=True)
            ]
            with contextlib.closing(keep), contextlib.closing(progress):
                for number, first, after in _stretches(keep.epochs, schedule.epochs, turn):
                    trainings[number].go_on(first, after)
                    if not keep.is_finite:
                        break
        if not keep.is_finite:
            raise InputError(
                f"{run.folder}: the loss is no longer a number; {_left(keep.epochs)}; train again "
                f"with a lower --rate{' into another folder' * bool(keep.epochs)}"
            )
        if devices.writes:
            run.finish()
            logger.info("%s: complete, %s", run.folder, keep.outcome)


def _shared(batches: Batches, devices: Devices) -> Batches:
    """The batches such that all devices can take an equal part of each."""
    if batches.batch_size < devices.count:
        raise InputError(
            f"--batch {batches.batch_size}: has no song for each of {devices}; raise it"
        )
    if len(batches.anchors) < devices.count:
        raise InputError(f"a subset of {len(batches.anchors)} songs cannot be shared by {devices}")
    return replace(batches, multiple=devices.count)


def _compiled(
    task: Task, schedule: TrainingSchedule, placement: Placement, resident: Resident | None
) -> keras.Model:
    """The model as it is fitted: on crops, or on their places among the resident frames."""
    model = resident.model(task.model) if resident else task.model
    model.compile(
        schedule.optimizer(),
        loss=task.loss,
        metrics=task.metrics,
        steps_per_execution=placement.steps,
    )
    return model


def _stretches(
    first: int, after: int, turn: Callable[[int], int]
) -> Iterator[tuple[int, int, int]]:
    """Epochs of one task in a row: its number, the first of them, and the one after the last."""
    for number, epochs in itertools.groupby(range(first, after), turn):
        stretch = list(epochs)
        yield number, stretch[0], stretch[-1] + 1


def _left(epochs: int) -> str:
    return "last.h5 is of the epoch before" if epochs else "no weights are kept"


class _Training:
    """One task's part in `fit`."""

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        devices: Devices,
        resident: Resident | None,
        callbacks: list[keras.callbacks.Callback],
    ):
        self._model = model
        self._train, self._valid = (
            of and _Stream(of, devices, resident) for of in (task.train, task.valid)
        )
        begin = keras.callbacks.LambdaCallback(on_epoch_begin=self._train.go_to)
        self._callbacks = [begin, *callbacks]

    def go_on(self, first: int, after: int) -> None:
        """Train in the epochs from `first` up to, but not, `after`."""
        try:
            self._model.fit(
                self._train.feed(),
                validation_data=self._valid and self._valid.feed(),
                initial_epoch=first,
                epochs=after,
                callbacks=self._callbacks,
                shuffle=False,  # the batches are shuffled already, by the run's seed alone
                verbose=0,
            )
        except Exception:
            # TensorFlow makes an error of its own of one in the batches.
            left = _left(max(first, self._train.epoch))
            for stream in (self._train, self._valid):
                if stream and stream.error:
                    raise InputError(f"{stream.error}; {left}") from None
            raise


class _Stream(keras.utils.PyDataset):
    """Our batches of one epoch as Keras takes them.

    The epoch is told by a callback. Keras' own `on_epoch_end` of a data set is
    called once before the first epoch too, and how often is not documented.
    """

    def __init__(self, batches: Batches, devices: Devices, resident: Resident | None):
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.error: InputError | None = None
        self._devices, self._resident = devices, resident
        self._arrays = _Arrays()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        # The draws of all processes are made in each, which costs little; the crops only here.
        places, y = map(self._devices.own_part, self.batches.places(self.epoch, number))
        if self._resident:
            return self._resident.places(places), y
        cut = self.batches.crops
        shape = (*places.shape, cut.segment, cut.cache.frames.shape[1])
        crops = cut.gather(places, self._arrays.take(shape))
        try:
            cut.require_finite(crops, places)
        except InputError as error:
            self.error = error
            raise
        return crops, y

    def feed(self) -> Any:
        """What Keras' `fit` takes: this itself, or for TensorFlow its pipeline over this.

        Keras' own has a thread that tunes it, which sleeps for up to 5 s at a
        time, and the end of each epoch waits for it to wake.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        batches = tf.data.Dataset.from_generator(
            self._until_error,
            output_signature=tuple(
                tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in self[0]
            ),
        )
        untuned = tf.data.Options()
        untuned.autotune.enabled = False
        counted = batches.apply(tf.data.experimental.assert_cardinality(len(self)))
        return counted.prefetch(_AHEAD).with_options(untuned)

    def _until_error(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches for TensorFlow, which end early at an error; that makes it raise one.

        An error from here it would pass on at once, while a thread of its own comes back for more
        batches, and waits without end for an interpreter that is leaving.
        """
        for number in range(len(self)):
            try:
                batch = self[number]
            except InputError as error:
                self.error = error
                return
            yield batch

    def go_to(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch


class _Arrays:
    """float16 arrays, each written again once nobody holds it any more.

    TensorFlow's generators tell malloc to map every large array anew, and then
    each new batch costs a page fault every 4 KB: 1 ms of a siamese step's 33.
    """

    def __init__(self):
        self._made: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array that only this object holds, of any content."""
        for array in self._made:
            # The list, this variable and the call hold it; views of it, and tensors, count too.
            if array.shape == shape and sys.getrefcount(array) <= 3:
                return array
        self._made.append(np.empty(shape, np.float16))
        return self._made[-1]
