"""What happens between the steps and epochs of a training."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tensorboard.summary import Writer

from common import cli
from common.errors import InputError
from data_prep.batches import Batches
from models.keras_backend import keras
from training.checkpoints import TrainingRun, TrainingState
from training.devices import Devices

logger = logging.getLogger(__name__)

DECAY = 1e-6  # of the learning rate, per step


class LearningRateDecay(keras.callbacks.Callback):
    """Keras 2's decay: rate / (1 + decay * steps).

    Keras 3's optimizers have none, and a schedule in its place would lock out
    the plateau rule. It is applied once an epoch as a factor, so that it
    composes with that rule; within an epoch of n steps the rate is at most a
    part decay * n above Keras 2's.
    """

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._before = _number(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        now = _number(self.model.optimizer.iterations)
        rate = self.model.optimizer.learning_rate
        # One product of Python floats: float32 would lose much of a factor so close to 1.
        rate.assign(_number(rate) * ((1 + DECAY * self._before) / (1 + DECAY * now)))


class StopAtNaN(keras.callbacks.Callback):
    """Ends training at a loss that is no number.

    Keras' TerminateOnNaN waits for every call's loss on the main thread.
    """

    async_safe = True

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._trained = model

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            # Not `self.model`: with JAX, Keras would fetch the weights that a step is using.
            self._trained.stop_training = True


class CheckpointCallback(keras.callbacks.Callback):
    """Keeps the run's files: reads them at the start, writes them after every epoch.

    On resuming it shows the validation losses so far to the callbacks that
    watch them, for what these count is kept nowhere else.

    Parameters
    ----------
    models, optimizers
        As many of both. Of several models one is trained in each epoch, the one whose
        number `turn` gives, which the log then names.
    """

    def __init__(
        self,
        run: TrainingRun,
        models: Sequence[keras.Model],
        optimizers: Sequence[keras.optimizers.Optimizer],
        watchers: list[keras.callbacks.Callback],
        epochs: int,
        devices: Devices,
        turn: Callable[[int], int],
    ):
        super().__init__()
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.build(model.trainable_variables)
        self._run, self._trained, self._devices = run, models, devices
        self._rate, self._watchers, self._epochs = optimizers[0].learning_rate, watchers, epochs
        self._turn = turn
        counted = {id(variable) for model in models for variable in model.metrics_variables}
        every = (variable for one in (*models, *optimizers) for variable in one.variables)
        # Models may share some.
        self._variables = [
            variable
            for number, variable in {id(variable): variable for variable in every}.items()
            if number not in counted
        ]
        self._history: dict[str, list[float]] = {}
        self._board = None
        self.finished, self.is_finite = False, True
        begun = run.state()
        devices.require_same(begun.epochs if begun else 0, f"{run.folder}: finished epochs")
        if begun is not None:
            self._restore(begun)

    @property
    def epochs(self) -> int:
        """Finished so far."""
        return len(self._history.get("loss", ()))

    @property
    def lowest(self) -> float:
        """The lowest validation loss so far."""
        return min(self._history.get("val_loss", ()), default=math.inf)

    @property
    def outcome(self) -> str:
        """The loss to tell the training by, in words."""
        if "val_loss" in self._history:
            return f"lowest validation loss {self.lowest:.4f}"
        return f"last loss {self._history['loss'][-1]:.4f}"

    def _restore(self, begun: TrainingState) -> None:
        shapes = [tuple(variable.shape) for variable in self._variables]
        if [array.shape for array in begun.variables] != shapes:
            folder = self._run.folder
            raise InputError(f"{folder / 'state.h5'}: damaged; delete {folder} to begin anew")
        for variable, array in zip(self._variables, begun.variables, strict=True):
            variable.assign(array)
        self._history, self.finished = begun.history, begun.finished
        if self._devices.writes and not self.finished:
            logger.info(
                "%s: going on after epoch %d of %d", self._run.folder, self.epochs, self._epochs
            )

    def on_train_begin(self, logs: dict | None = None) -> None:
        rate = _number(self._rate)
        for epoch, loss in enumerate(self._history.get("val_loss", ())):
            for watcher in self._watchers:
                watcher.on_epoch_end(epoch, {"val_loss": loss})
        self._rate.assign(rate)  # which the watchers have lowered a second time
        if self._devices.writes and self._board is None:
            # Not Keras' TensorBoard: that needs TensorFlow, and waits for every call's loss.
            self._board = Writer(str(self._run.folder / "tensorboard"))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.is_finite = math.isfinite(logs["loss"]) and math.isfinite(logs.get("val_loss", 0))
        if not self.is_finite:
            self.model.stop_training = True
            return
        best = logs.get("val_loss", math.inf) < self.lowest
        if len(self._trained) > 1:
            logs = {"network": self._turn(epoch), **logs}
        for name, value in logs.items():
            self._history.setdefault(name, []).append(float(value))
        if not self._devices.writes:
            return
        state = TrainingState(
            [keras.ops.convert_to_numpy(variable) for variable in self._variables],
            self._history,
            finished=self.model.stop_training or epoch + 1 == self._epochs,
        )
        self._run.keep(self._trained, state, best=best)
        for name, value in logs.items():
            self._board.add_scalar(name, value, epoch + 1)
        self._board.flush()

    def close(self) -> None:
        """After the last epoch, however it ended."""
        if self._board:
            self._board.close()


class ProgressCallback(keras.callbacks.Callback):
    """A bar over the songs of all epochs, with the running loss and metrics beside it.

    `train` has the batches of each epoch.
    """

    async_safe = True

    def __init__(self, folder: Path, done: int, train: Sequence[Batches], devices: Devices):
        super().__init__()
        self._folder = folder
        self._steps = [len(of_epoch) for of_epoch in train]
        self._songs = np.cumsum([0, *(of_epoch.in_epoch for of_epoch in train)])
        self._bar = cli.progress_bar(
            total=int(self._songs[-1]),
            initial=int(self._songs[done]),
            unit="song",
            shown=devices.writes,
        )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._bar.set_description(f"{self._folder} {epoch + 1}/{len(self._steps)}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # Keras counts an epoch's last call as if it were full.
        self._show(min(1, (batch + 1) / self._steps[self._epoch]), logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._show(1, logs)

    def close(self) -> None:
        """After the last epoch, however it ended."""
        self._bar.close()

    def _show(self, share: float, logs: dict) -> None:
        before, after = self._songs[self._epoch : self._epoch + 2]
        ahead = round(before + share * (after - before)) - self._bar.n
        if ahead >= 0:  # calls can be told in another order than they were made
            shown = {
                name: f"{value:.3f}" for name, value in logs.items() if name != "learning_rate"
            }
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(ahead)


def _number(variable) -> float:
    # Not float(variable): one mirrored over devices has no value of its own.
    return keras.ops.convert_to_numpy(variable).item()
