"""The one training loop: every model of the package is trained by `fit`."""

import math
from dataclasses import dataclass
from pathlib import Path

import keras
import pandas as pd
from keras.utils import set_random_seed

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import make_folder, written_whole
from data_prep.mel_cache import MelCache
from models import weights

__all__ = ["Run", "Schedule", "fit", "inputs_of", "set_random_seed"]

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


def inputs_of(run: Path, model: str, split: pd.DataFrame, cache: MelCache, settings: dict) -> dict:
    """What a training is made from, as its weights and features will tell."""
    return {
        "name": run.name,
        "model": model,
        "artists": None if model == "tag" else split["artist"].nunique(),
        "split": provenance.digest(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
        "settings": settings,
    }


@dataclass(frozen=True)
class Run:
    """The folder of one training, and what its files say of it.

    It gets best.h5 and last.h5 (see `models.weights.save`), each written whole
    after an epoch; log.csv, a line an epoch; and run.json once all is done.

    Attributes
    ----------
    inputs
        What the training is made from (see `inputs_of`).
    mean, std
        What the model's input is normalised with.
    """

    folder: Path
    inputs: dict
    mean: float
    std: float

    def is_complete(self) -> bool:
        """Whether a finished training from these inputs is there already.

        Raises
        ------
        InputError
            One from other inputs is there, finished or not.
        """
        found = provenance.read_sidecar(self.folder / "run")["inputs"]
        begun = found or self._begun()
        if begun:
            provenance.require_same(self.folder, begun, self.inputs)
        return bool(found)

    def _begun(self) -> dict:
        """The inputs of an unfinished training, which must not be written over unasked."""
        last = self.folder / "last.h5"
        if not last.exists():
            return {}
        with hdf5.open_file(last) as file:
            return hdf5.json_attribute(file, "made_from").get("inputs", {})


def fit(
    model: keras.Model,
    loss: keras.losses.Loss | str,
    metrics: list,
    train,
    valid,
    schedule: Schedule,
    run: Run,
) -> None:
    """Train `model` and leave its encoder in the run's folder.

    Parameters
    ----------
    train, valid
        Batches: a length, and (x, y) under the key (epoch, number), both from 0.
        Validation is epoch 0 each time: the papers validate on one fixed crop a song.

    Raises
    ------
    InputError
        The loss became NaN or infinite.
    """
    make_folder(run.folder)
    model.compile(
        keras.optimizers.SGD(schedule.rate, momentum=MOMENTUM, nesterov=True),
        loss=loss,
        metrics=metrics,
    )
    stream, keep = _Stream(train), _KeepEncoder(run)
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_begin=stream.go_to),
        _Decay(),
        keep,
        keras.callbacks.ReduceLROnPlateau(
            factor=PLATEAU_FACTOR, patience=schedule.plateau, min_delta=0
        ),
        keras.callbacks.CSVLogger(str(run.folder / "log.csv")),  # after the rate is in the logs
        _Progress(schedule.epochs, run.folder),
    ]
    if schedule.patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(patience=schedule.patience))
    model.fit(
        stream,
        validation_data=_Stream(valid),
        epochs=schedule.epochs,
        callbacks=callbacks,
        shuffle=False,  # the batches are shuffled already, by the run's seed alone
        verbose=0,
    )
    if not math.isfinite(keep.last):
        kept = "last.h5 is of the epoch before" if keep.best < math.inf else "no weights are kept"
        raise InputError(
            f"{run.folder}: the loss is no longer a number; {kept}; train again with a lower "
            "--rate into another folder"
        )
    with written_whole(provenance.sidecar(run.folder / "run")) as aside:
        aside.write_text(provenance.to_json(provenance.record(run.inputs)), encoding="utf-8")
    print(f"{run.folder}: complete, lowest validation loss {keep.best:.4f}")


class _Stream(keras.utils.PyDataset):
    """Our batches of one epoch as Keras takes them.

    The epoch is told by a callback. Keras' own `on_epoch_end` of a data set is
    called once before the first epoch too, and how often is not documented.
    """

    def __init__(self, batches):
        super().__init__()
        self._batches, self._epoch = batches, 0

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int):
        return self._batches[self._epoch, number]

    def go_to(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch


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


class _KeepEncoder(keras.callbacks.Callback):
    """Writes last.h5 after every epoch whose loss is a number, best.h5 after the best so far."""

    def __init__(self, run: Run):
        super().__init__()
        self._folder = run.folder
        self._about = {
            "mean": run.mean,
            "std": run.std,
            "made_from": provenance.record(run.inputs),
        }
        self.best, self.last = math.inf, math.nan

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.last = logs["val_loss"] if math.isfinite(logs["loss"]) else math.nan
        if not math.isfinite(self.last):
            self.model.stop_training = True
            return
        weights.save(self._folder / "last.h5", self.model, **self._about)
        if self.last < self.best:
            self.best = self.last
            weights.save(self._folder / "best.h5", self.model, **self._about)


class _Progress(keras.callbacks.Callback):
    """A bar over the epochs, with the losses and metrics of the last one beside it."""

    def __init__(self, epochs: int, folder: Path):
        super().__init__()
        self._bar = cli.progress(total=epochs, desc=str(folder), unit="epoch")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        shown = {name: f"{value:.3f}" for name, value in logs.items() if name != "learning_rate"}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._bar.close()
