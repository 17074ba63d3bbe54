"""Keras callbacks: learning rate decay, checkpoints, progress, and stopping at a NaN loss."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.summary import Writer

from common import cli
from common.errors import InputError
from data_prep.batches import Batches
from models.keras_backend import keras
from training.checkpoints import TrainingRun, TrainingState
from training.devices import Devices

logger = logging.getLogger(__name__)

NONFINITE = "first_nonfinite_step"  # a metric that is not logged
DECAY = 1e-6  # learning rate decay per step


class LearningRateDecay(keras.callbacks.Callback):
    """Apply Keras 2's learning rate decay, rate / (1 + decay * steps), after each epoch.

    Keras 3 optimizers have no decay option, and a learning rate schedule would rule out the
    plateau rule. Within an epoch of n steps, the learning rate exceeds that of Keras 2 by a factor
    of at most 1 + decay * n.
    """

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Store the number of steps taken so far."""
        self._steps_before = _to_number(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Decay the learning rate for the steps taken in this epoch."""
        steps = _to_number(self.model.optimizer.iterations)
        factor = (1 + DECAY * self._steps_before) / (1 + DECAY * steps)
        # Multiply Python floats: float32 cannot represent a factor so close to 1 precisely enough.
        rate = self.model.optimizer.learning_rate
        rate.assign(_to_number(rate) * factor)


class CosineDecay(keras.callbacks.Callback):
    """Lower the learning rate to 0 along half a cosine over all epochs.

    It depends only on the number of the epoch, so a resumed run needs no state. Reference:
    Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, ICLR 2017,
    equation 5, without restarts.
    """

    def __init__(self, learning_rate: float, epochs: int):
        super().__init__()
        self._learning_rate, self._epochs = learning_rate, epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the learning rate of an epoch."""
        factor = (1 + math.cos(math.pi * epoch / self._epochs)) / 2
        self.model.optimizer.learning_rate.assign(self._learning_rate * factor)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Add the learning rate to the log, as Keras' plateau rule does."""
        logs["learning_rate"] = _to_number(self.model.optimizer.learning_rate)


class FirstNonFiniteStep(keras.metrics.Metric):
    """Number of the first step of an epoch with NaN or infinite predictions, or 0 if there is none.

    The loss of a call covers several steps, so that it does not tell which of them went wrong.
    """

    def __init__(self):
        super().__init__(name=NONFINITE)
        self._steps = self.add_variable((), "zeros", dtype="int32", name="steps")
        self._first = self.add_variable((), "zeros", dtype="int32", name="first")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a step."""
        ops = keras.ops
        self._steps.assign(self._steps + 1)
        steps, first = map(ops.convert_to_tensor, (self._steps, self._first))
        all_finite = ops.all(ops.isfinite(y_pred))
        self._first.assign(ops.where((first > 0) | all_finite, first, steps))

    def result(self):
        """Return the number, as a scalar tensor."""
        # Not the variable itself, which validation would change before the epoch is reported.
        return self._first + 0


class StopAtNaN(keras.callbacks.Callback):
    """Stop training if the loss is NaN or infinite.

    Keras' own TerminateOnNaN blocks the main thread to wait for the loss after every call.
    """

    async_safe = True

    def set_model(self, model: keras.Model) -> None:
        """Store the model; with JAX, `self.model` would fetch weights that a step is using."""
        super().set_model(model)
        self._trained_model = model

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Stop training if the running loss is not finite."""
        if not math.isfinite(logs["loss"]):
            self._trained_model.stop_training = True


class CheckpointCallback(keras.callbacks.Callback):
    """Write the run's files after each epoch, and restore a run that has epochs left.

    There is one optimizer per model, and `task_order` is the index of the model to train in each
    epoch. The watchers are callbacks that monitor the validation loss. When a run resumes, the
    losses of earlier epochs are replayed to them, because their counters are not saved. The best
    weights are those with the lowest validation loss or, with `last_is_best`, the last ones.
    """

    def __init__(
        self,
        run: TrainingRun,
        models: Sequence[keras.Model],
        optimizers: Sequence[keras.optimizers.Optimizer],
        watchers: list[keras.callbacks.Callback],
        task_order: Sequence[int],
        devices: Devices,
        *,
        last_is_best: bool = False,
    ):
        super().__init__()
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.build(model.trainable_variables)
        self._run, self._models, self._devices = run, models, devices
        self._learning_rate = optimizers[0].learning_rate
        self._watchers, self._task_order = watchers, task_order
        self._last_is_best = last_is_best
        metrics = {id(variable) for model in models for variable in model.metrics_variables}
        variables = [variable for part in (*models, *optimizers) for variable in part.variables]
        # Deduplicate by identity, because models may share variables.
        unique = {id(variable): variable for variable in variables}
        self._variables = [unique[key] for key in unique if key not in metrics]
        self._history: dict[str, list[float]] = {}
        self._board: Any = None  # TensorBoard's writer has no type hints
        self._stopped, self.is_finite, self.first_nonfinite_step = False, True, 0
        state = run.read_state()
        devices.require_same(state.epochs if state else 0, f"{run.folder}: finished epochs")
        if state is not None:
            self._restore(state)

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self._history.get("loss", ()))

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        return self._stopped or self.epochs >= len(self._task_order)

    def describe_outcome(self) -> str:
        """Return a description of the final loss for the log message."""
        if "val_loss" in self._history and self._last_is_best:
            return f"last validation loss {self._history['val_loss'][-1]:.4f}"
        if "val_loss" in self._history:
            return f"lowest validation loss {min(self._history['val_loss']):.4f}"
        return f"last loss {self._history['loss'][-1]:.4f}"

    def _restore(self, state: TrainingState) -> None:
        shapes, folder = [tuple(variable.shape) for variable in self._variables], self._run.folder
        if [array.shape for array in state.variables] != shapes:
            raise InputError(f"{folder}/state.h5: damaged; delete {folder} to train from scratch")
        for variable, array in zip(self._variables, state.variables, strict=True):
            variable.assign(array)
        self._history, self._stopped = state.history, state.stopped
        if self._devices.writes and not self.finished:
            total = len(self._task_order)
            logger.info("%s: resuming after epoch %d of %d", folder, self.epochs, total)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Replay the earlier epochs to the watchers, and open the TensorBoard log."""
        rate = _to_number(self._learning_rate)
        for epoch, loss in enumerate(self._history.get("val_loss", ())):
            for watcher in self._watchers:
                watcher.on_epoch_end(epoch, {"val_loss": loss})
        self._learning_rate.assign(rate)  # undo the reductions repeated during the replay
        if self._devices.writes and self._board is None:
            # Keras' TensorBoard callback needs TensorFlow and waits for the loss after every call.
            self._board = Writer(str(self._run.folder / "tensorboard"))

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Write the run's files, or stop training if the loss is NaN or infinite."""
        self.is_finite = math.isfinite(logs["loss"]) and math.isfinite(logs.get("val_loss", 0))
        self.first_nonfinite_step = int(logs.get(NONFINITE, 0))
        logs = {name: value for name, value in logs.items() if not name.endswith(NONFINITE)}
        if not self.is_finite:
            self.model.stop_training = True
            return
        lowest = min(self._history.get("val_loss", ()), default=math.inf)
        best = logs.get("val_loss", math.inf) < lowest or self._last_is_best
        if len(self._models) > 1:
            logs = {"network": self._task_order[epoch], **logs}
        for name, value in logs.items():
            self._history.setdefault(name, []).append(float(value))
        if not self._devices.writes:
            return
        arrays = [keras.ops.convert_to_numpy(variable) for variable in self._variables]
        state = TrainingState(arrays, self._history, stopped=self.model.stop_training)
        self._run.write_epoch(self._models, state, best=best)
        for name, value in logs.items():
            self._board.add_scalar(name, value, epoch + 1)
        self._board.flush()

    def close(self) -> None:
        """Close the TensorBoard log."""
        if self._board:
            self._board.close()


class ProgressCallback(keras.callbacks.Callback):
    """Show a progress bar over all tracks of all epochs, with the running loss and metrics.

    `epochs_done` were completed before this session; `batches` are those of every epoch.
    """

    async_safe = True

    def __init__(
        self, folder: Path, epochs_done: int, batches: Sequence[Batches], devices: Devices
    ):
        super().__init__()
        self._folder, self._epochs = folder, len(batches)
        self._tracks = np.cumsum([0, *(of_epoch.in_epoch for of_epoch in batches)])
        total, done = int(self._tracks[-1]), int(self._tracks[epochs_done])
        self._bar = cli.progress_bar(total=total, initial=done, unit="track", shown=devices.writes)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Show the epoch number."""
        self._epoch = epoch
        self._bar.set_description(f"{self._folder} {epoch + 1}/{self._epochs}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Advance the bar; Keras counts the last call of an epoch as if it were full."""
        self._show(min(1, (batch + 1) / self.params["steps"]), logs)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Advance the bar to the end of the epoch."""
        self._show(1, logs)

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()

    def _show(self, fraction: float, logs: dict) -> None:
        before, after = self._tracks[self._epoch : self._epoch + 2]
        advance = round(before + fraction * (after - before)) - self._bar.n
        if advance >= 0:  # calls may be reported out of order
            hidden = "learning_rate", NONFINITE
            values = {name: f"{logs[name]:.3f}" for name in logs if not name.endswith(hidden)}
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(advance)


def _to_number(variable) -> float:
    # float(variable) fails if the variable is mirrored across devices.
    return keras.ops.convert_to_numpy(variable).item()
