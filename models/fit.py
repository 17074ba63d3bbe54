"""The one training loop: every model of the package is trained by `fit`."""

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import InputError
from data_prep.crops import Batches
from data_prep.mel import SEGMENT
from models.callbacks import Decay, Keep, Progress, StopAtNaN
from models.devices import Devices
from models.placement import Placement, Resident
from models.quiet_keras import keras
from models.run import Run

MOMENTUM = 0.9
_AHEAD = 2  # batches made before they are asked for
PLATEAU_FACTOR = 0.2  # the released siamese files end at 0.1 x 0.2^8 and 0.1 x 0.2^11


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the papers' values are the scripts' defaults.

    Attributes
    ----------
    rate
        Initial learning rate of SGD with Nesterov momentum 0.9.
    epochs
        At the most.
    plateau
        Epochs without a lower validation loss before the rate is multiplied by 0.2.
    patience
        Epochs without a lower validation loss before training ends; None: never.
    """

    rate: float
    epochs: int
    plateau: int
    patience: int | None


def fit(
    model: keras.Model,
    loss: keras.losses.Loss | str,
    metrics: list,
    train: Batches,
    valid: Batches,
    schedule: Schedule,
    run: Run,
    placement: Placement,
    devices: Devices,
) -> None:
    """Train `model` and leave its encoder in the run's folder.

    Where the folder holds an unfinished training, goes on after its last
    finished epoch, to the very end that it would have come to undisturbed.

    Parameters
    ----------
    train, valid
        Batches; validation has those of epoch 0 each time, for the papers
        validate on one fixed crop a song.

    Raises
    ------
    InputError
        The loss became NaN or infinite; or the batches cannot be shared by the devices.
    """
    train, valid = (_shared(batches, devices) for batches in (train, valid))
    resident = Resident(train.crops) if placement.resident else None
    fitted = resident.model(model) if resident else model
    fitted.compile(
        keras.optimizers.SGD(schedule.rate, momentum=MOMENTUM, nesterov=True),
        loss=loss,
        metrics=metrics,
        steps_per_execution=placement.steps,
    )
    with run.locked() if devices.writes else contextlib.nullcontext():
        complete = run.is_complete()  # by a training that held the lock until now
        devices.require_same(complete, f"{run.folder}: complete")
        if complete:
            print(f"{run.folder}: complete already")
            return
        watchers = _watchers(schedule)
        keep = Keep(run, model, fitted.optimizer, watchers, schedule.epochs, devices)
        if not keep.finished:
            train_stream, valid_stream = (_Stream(of, devices, resident) for of in (train, valid))
            try:
                fitted.fit(
                    train_stream.feed(),
                    validation_data=valid_stream.feed(),
                    initial_epoch=keep.epochs,
                    epochs=schedule.epochs,
                    callbacks=[
                        keras.callbacks.LambdaCallback(on_epoch_begin=train_stream.go_to),
                        StopAtNaN(),
                        Decay(),
                        *watchers,
                        keep,
                        Progress(run.folder, keep.epochs, schedule.epochs, train, devices),
                    ],
                    shuffle=False,  # the batches are shuffled already, by the run's seed alone
                    verbose=0,
                )
            except Exception:
                # TensorFlow makes an error of its own of one in the batches.
                for error in filter(None, (train_stream.error, valid_stream.error)):
                    raise InputError(f"{error}; {_left(keep.epochs)}") from None
                raise
        if not keep.is_finite:
            raise InputError(
                f"{run.folder}: the loss is no longer a number; {_left(keep.epochs)}; train again "
                f"with a lower --rate{' into another folder' * bool(keep.epochs)}"
            )
        if devices.writes:
            run.finish()
            print(f"{run.folder}: complete, lowest validation loss {keep.lowest:.4f}")


def _shared(batches: Batches, devices: Devices) -> Batches:
    """The batches such that all devices can take an equal part of each."""
    if batches.batch < devices.count:
        raise InputError(f"--batch {batches.batch}: has no song for each of {devices}; raise it")
    if len(batches.anchors) < devices.count:
        raise InputError(f"a subset of {len(batches.anchors)} songs cannot be shared by {devices}")
    return replace(batches, multiple=devices.count)


def _left(epochs: int) -> str:
    return "last.h5 is of the epoch before" if epochs else "no weights are kept"


def _watchers(schedule: Schedule) -> list[keras.callbacks.Callback]:
    """What acts on the validation loss."""
    watchers = [
        keras.callbacks.ReduceLROnPlateau(
            factor=PLATEAU_FACTOR, patience=schedule.plateau, min_delta=0
        )
    ]
    if schedule.patience is not None:
        watchers.append(keras.callbacks.EarlyStopping(patience=schedule.patience))
    return watchers


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
        shape = (*places.shape, SEGMENT, self.batches.crops.cache.frames.shape[1])
        crops = self.batches.crops.gather(places, self._arrays.take(shape))
        try:
            self.batches.crops.require_finite(crops, places)
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
            lambda: map(self.__getitem__, range(len(self))),
            output_signature=tuple(
                tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in self[0]
            ),
        )
        untuned = tf.data.Options()
        untuned.autotune.enabled = False
        counted = batches.apply(tf.data.experimental.assert_cardinality(len(self)))
        return counted.prefetch(_AHEAD).with_options(untuned)

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
