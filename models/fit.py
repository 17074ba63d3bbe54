"""The one training loop: every model of the package is trained by `fit`."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from tensorboard.summary import Writer

from common import cli
from common.errors import InputError
from data_prep.crops import Batches
from models.devices import Devices
from models.placement import Placement, Resident
from models.run import Run, State

MOMENTUM = 0.9
DECAY = 1e-6  # of the learning rate, per step
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
    fitted, resident = model, None
    if placement.resident:
        resident = Resident(train.crops)
        fitted = resident.model(model)
    optimizer = keras.optimizers.SGD(schedule.rate, momentum=MOMENTUM, nesterov=True)
    fitted.compile(optimizer, loss=loss, metrics=metrics, steps_per_execution=placement.steps)
    optimizer.build(fitted.trainable_variables)
    variables = [
        variable
        for variable in model.variables + optimizer.variables
        if not any(variable is counted for counted in model.metrics_variables)
    ]

    begun = run.state()
    if begun is not None:
        _restore(variables, begun, run)
    history = begun.history if begun else {}
    done = begun.epochs if begun else 0
    stream, nan = _Stream(train, devices, resident), _StopAtNaN()
    watchers = [
        keras.callbacks.ReduceLROnPlateau(
            factor=PLATEAU_FACTOR, patience=schedule.plateau, min_delta=0
        )
    ]
    if schedule.patience is not None:
        watchers.append(keras.callbacks.EarlyStopping(patience=schedule.patience))
    keep = _Keep(run, model, variables, history, watchers, schedule.epochs, writes=devices.writes)
    if not (begun and begun.finished):
        fitted.fit(
            stream,
            validation_data=_Stream(valid, devices, resident),
            initial_epoch=done,
            epochs=schedule.epochs,
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_begin=stream.go_to),
                nan,
                _Decay(),
                *watchers,
                keep,
                _Progress(run.folder, done, schedule.epochs, train, shown=devices.writes),
            ],
            shuffle=False,  # the batches are shuffled already, by the run's seed alone
            verbose=0,
        )
    if not keep.is_finite:
        raise InputError(_why_nan(nan, stream, valid, placement, run, kept=bool(history)))
    if devices.writes:
        run.finish()
        lowest = min(history["val_loss"])
        print(f"{run.folder}: complete, lowest validation loss {lowest:.4f}")


def _shared(batches: Batches, devices: Devices) -> Batches:
    """The batches such that all devices can take an equal part of each."""
    if batches.batch < devices.count:
        raise InputError(f"--batch {batches.batch}: has no song for each of {devices}; raise it")
    if len(batches.anchors) < devices.count:
        raise InputError(f"a subset of {len(batches.anchors)} songs cannot be shared by {devices}")
    return replace(batches, multiple=devices.count)


def _restore(variables: list, begun: State, run: Run) -> None:
    shapes = [array.shape for array in begun.variables]
    if shapes != [tuple(variable.shape) for variable in variables]:
        raise InputError(
            f"{run.folder / 'state.h5'}: is of another network; delete {run.folder} to begin anew"
        )
    for variable, array in zip(variables, begun.variables, strict=True):
        variable.assign(array)


def _why_nan(
    nan: "_StopAtNaN",
    stream: "_Stream",
    valid: Batches,
    placement: Placement,
    run: Run,
    *,
    kept: bool,
) -> str:
    """What made the loss no number: a damaged track that was just trained on, or the rate."""
    train = stream.batches
    if nan.step is None:  # it was the validation's
        asked = [valid.places(0, number)[0] for number in range(len(valid))]
    else:
        numbers = range(max(0, nan.step + 1 - placement.steps), nan.step + 1)
        asked = [train.places(stream.epoch, number)[0] for number in numbers]
    tracks = (train.crops.damaged(places) for places in asked)
    track = next(filter(None, tracks), None)
    left = "last.h5 is of the epoch before" if kept else "no weights are kept"
    if track is not None:
        return (
            f"{train.crops.cache.path}: {track!r} holds values that are no numbers; {left}; delete "
            "the cache and make it again, or take the track out of the split"
        )
    return (
        f"{run.folder}: the loss is no longer a number; {left}; train again with a lower "
        "--rate into another folder"
    )


class _Stream(keras.utils.PyDataset):
    """Our batches of one epoch as Keras takes them.

    The epoch is told by a callback. Keras' own `on_epoch_end` of a data set is
    called once before the first epoch too, and how often is not documented.
    """

    def __init__(self, batches: Batches, devices: Devices, resident: Resident | None):
        super().__init__()
        self.batches, self.epoch = batches, 0
        self._devices, self._resident = devices, resident

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        # The draws of all processes are made in each, which costs little; the crops only here.
        places, y = map(self._devices.own_part, self.batches.places(self.epoch, number))
        if self._resident:
            return self._resident.places(places), y
        return self.batches.crops.gather(places), y

    def go_to(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch


class _Decay(keras.callbacks.Callback):
    """Keras 2's decay: rate / (1 + decay * steps).

    Keras 3's optimizers have none, and a schedule in its place would lock out
    the plateau rule. It is applied once an epoch as a factor, so that it
    composes with that rule; within an epoch of n steps the rate is at most a
    part decay * n above Keras 2's.
    """

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._before = int(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        now = int(self.model.optimizer.iterations)
        rate = self.model.optimizer.learning_rate
        # One product of Python floats: float32 would lose much of a factor so close to 1.
        rate.assign(float(rate) * ((1 + DECAY * self._before) / (1 + DECAY * now)))


class _StopAtNaN(keras.callbacks.Callback):
    """Ends training at a loss that is no number, and remembers the step.

    Keras' TerminateOnNaN waits for every call's loss on the main thread.
    """

    async_safe = True
    step: int | None = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.step is None and not math.isfinite(logs["loss"]):
            self.step, self.model.stop_training = batch, True


class _Keep(keras.callbacks.Callback):
    """Writes the run's files after every epoch whose losses are numbers.

    On resuming, it shows the epochs so far to the callbacks that watch the
    validation loss, for what they count is kept nowhere else.
    """

    def __init__(
        self,
        run: Run,
        model: keras.Model,
        variables: list,
        history: dict[str, list[float]],
        watchers: list[keras.callbacks.Callback],
        epochs: int,
        *,
        writes: bool,
    ):
        super().__init__()
        self._run, self._model, self._variables = run, model, variables
        self._history, self._watchers, self._epochs, self._writes = (
            history,
            watchers,
            epochs,
            writes,
        )
        self.is_finite = True

    def on_train_begin(self, logs: dict | None = None) -> None:
        rate = self.model.optimizer.learning_rate
        now = float(rate)
        for epoch, loss in enumerate(self._history.get("val_loss", ())):
            for watcher in self._watchers:
                watcher.on_epoch_end(epoch, {"val_loss": loss})
        rate.assign(now)  # which the state has, and the watchers have lowered once more
        self._board = Writer(str(self._run.folder / "tensorboard")) if self._writes else None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.is_finite = math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])
        if not self.is_finite:
            self.model.stop_training = True
            return
        for name, value in logs.items():
            self._history.setdefault(name, []).append(float(value))
        if not self._writes:
            return
        losses = self._history["val_loss"]
        state = State(
            [keras.ops.convert_to_numpy(variable) for variable in self._variables],
            self._history,
            finished=self.model.stop_training or epoch + 1 == self._epochs,
        )
        self._run.keep(self._model, state, best=losses[-1] < min(losses[:-1], default=math.inf))
        for name, value in logs.items():
            self._board.add_scalar(name, value, epoch + 1)
        self._board.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._board:
            self._board.close()


class _Progress(keras.callbacks.Callback):
    """A bar over the songs of all epochs, with the running loss and metrics beside it."""

    async_safe = True

    def __init__(self, folder: Path, done: int, epochs: int, train: Batches, *, shown: bool):
        super().__init__()
        self._folder, self._epochs, self._songs, self._batches = (
            folder,
            epochs,
            train.in_epoch,
            len(train),
        )
        self._shown, self._done = shown, done

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._bar = cli.progress(
            total=self._epochs * self._songs,
            initial=self._done * self._songs,
            unit="song",
            shown=self._shown,
        )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._bar.set_description(f"{self._folder} {epoch + 1}/{self._epochs}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._show(self._epoch + (batch + 1) / self._batches, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._show(epoch + 1, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._bar.close()

    def _show(self, epochs: float, logs: dict) -> None:
        shown = {name: f"{value:.3f}" for name, value in logs.items() if name != "learning_rate"}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(round(epochs * self._songs) - self._bar.n)
