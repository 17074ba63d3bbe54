"""The training loop: `fit` trains every network in the package, and `fit_encoder` an encoder."""

import contextlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import InputError
from common.files import exclusive_folder
from data_prep.batches import Batches
from data_prep.mel_cache import MelCache
from models.encoder import build_encoder
from models.keras_backend import keras
from models.pretrained import Weights, encoder_from, save_weights
from training.blocks import BlockModel
from training.callbacks import (
    CheckpointCallback,
    CosineDecay,
    FirstNonFiniteStep,
    LearningRateDecay,
    ProgressCallback,
    StopAtNaN,
)
from training.checkpoints import TrainingRun
from training.config import TrainingConfig, training_artists, training_inputs
from training.data_placement import BatchStream, Placement, ResidentFrames
from training.devices import Devices, report_failures

logger = logging.getLogger(__name__)

MOMENTUM = 0.9
_NAMED = 3  # tracks named in an error
PLATEAU_FACTOR = 0.2  # final rates of released siamese files: 0.1 x 0.2^8, 0.1 x 0.2^11


@dataclass(frozen=True)
class TrainingSchedule:
    """The optimizer, and the rules that adjust the learning rate and stop training.

    The optimizer is SGD with Nesterov momentum, or Adam, as in agf2018. The papers' learning rate
    decays per step and at plateaus. With `cosine`, it instead follows half a cosine over all
    epochs, and the weights of the last epoch are the best: the validation loss rises as predictions
    become overconfident, while embeddings still improve. `plateau` and `patience` are numbers of
    epochs; see `training.config.TrainingConfig`.
    """

    learning_rate: float
    epochs: int
    plateau: int | None = None
    patience: int | None = None
    cosine: bool = False
    adam: bool = False

    @classmethod
    def of(cls, config: TrainingConfig) -> "TrainingSchedule":
        """Return the schedule of an encoder, with SGD."""
        cosine = config.schedule == "cosine"
        plateau = None if cosine else config.plateau
        return cls(config.learning_rate, config.epochs, plateau, config.patience, cosine)

    def make_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a new optimizer."""
        if self.adam:
            return keras.optimizers.Adam(self.learning_rate)
        return keras.optimizers.SGD(self.learning_rate, momentum=MOMENTUM, nesterov=True)

    def make_decay(self) -> list[keras.callbacks.Callback]:
        """Return the new callback that lowers the learning rate in every epoch, if there is one."""
        if self.cosine:
            return [CosineDecay(self.learning_rate, self.epochs)]
        return [] if self.adam else [LearningRateDecay()]

    def make_watchers(self) -> list[keras.callbacks.Callback]:
        """Return new callbacks that apply the rules based on the validation loss."""
        watchers: list[keras.callbacks.Callback] = []
        if self.plateau is not None:
            settings = {"factor": PLATEAU_FACTOR, "patience": self.plateau, "min_delta": 0}
            watchers.append(keras.callbacks.ReduceLROnPlateau(**settings))
        if self.patience is not None:
            watchers.append(keras.callbacks.EarlyStopping(patience=self.patience))
        return watchers


@dataclass(frozen=True)
class Task:
    """A model to train, its loss and metrics as in `keras.Model.compile`, and its batches.

    The validation batches of epoch 0 are reused in every epoch, because the papers validate on one
    fixed crop per track.
    """

    model: keras.Model
    loss: keras.losses.Loss | str
    metrics: list
    train: Batches
    valid: Batches | None = None

    def share_among(self, devices: Devices) -> "Task":
        """Return the task with batches that can be divided equally among the devices."""
        train = _share_batches(self.train, devices)
        return replace(self, train=train, valid=self.valid and _share_batches(self.valid, devices))


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

    Several tasks share weights and one `Crops` object, but each has its own optimizer. Each epoch
    trains one of them, with the index that `task_order` gives (default: always the first).
    """
    tasks = [task.share_among(devices) for task in tasks]
    order = [0] * schedule.epochs if task_order is None else [int(task) for task in task_order]
    lock = exclusive_folder(run.folder) if devices.writes else contextlib.nullcontext()
    with lock, report_failures(devices, run.folder, lambda: _describe_saved(_count_saved(run))):
        complete = run.is_complete()  # another process may have completed the run before the lock
        devices.require_same(complete, f"{run.folder}: complete")
        if complete:
            logger.info("%s: already complete", run.folder)
            return
        fraction, crops = placement.resident, tasks[0].train.crops
        resident = ResidentFrames(crops, fraction) if fraction else None
        compiling = schedule, placement, resident, devices
        fitted = [_compile_model(task, *compiling) for task in tasks]
        watchers = schedule.make_watchers()
        networks, optimizers = [task.model for task in tasks], [one.optimizer for one in fitted]
        parts = run, networks, optimizers, watchers, order, devices
        checkpoint = CheckpointCallback(*parts, last_is_best=schedule.cosine)
        if not checkpoint.finished:
            batches = [tasks[number].train for number in order]
            progress = ProgressCallback(run.folder, checkpoint.epochs, batches, devices)
            callbacks = [StopAtNaN(), *schedule.make_decay(), *watchers, checkpoint, progress]
            epochs = range(checkpoint.epochs, len(order))
            with contextlib.closing(checkpoint), contextlib.closing(progress):
                for number, group in itertools.groupby(epochs, order.__getitem__):
                    task, model = tasks[number], fitted[number]
                    streaming = devices, placement, resident
                    train = BatchStream(task.train, *streaming)
                    valid = BatchStream(task.valid, *streaming) if task.valid else None
                    _train_epochs(model, train, valid, callbacks, list(group))
                    if not checkpoint.is_finite:
                        _raise_diverged(run.folder, checkpoint, task)
        if devices.writes:
            run.finish()
            logger.info("%s: complete, %s", run.folder, checkpoint.describe_outcome())


def _share_batches(batches: Batches, devices: Devices) -> Batches:
    tracks, size = len(batches.anchors), batches.batch_size
    needed = max(devices.count, batches.fewest * devices.replicas)
    shared = replace(batches, multiple=devices.count)
    if min(tracks, size) < needed or shared.smallest < needed:
        without = ", or train without --distribute" * (devices.count > 1)
        raise InputError(
            f"a subset of {tracks} tracks, or --batch-size {size}, is too small for {devices}, "
            f"which needs at least {needed} in each batch; use a larger one{without}"
        )
    return shared


def _compile_model(
    task: Task,
    schedule: TrainingSchedule,
    placement: Placement,
    resident: ResidentFrames | None,
    devices: Devices,
) -> keras.Model:
    """Compile and return the model to fit, which takes crops or places of resident crops."""
    model = placement.wrap_model(task.model, resident)
    steps = 1 if placement.blocks else placement.steps
    # A metric of a mirrored strategy is the sum over its devices, which would be no step number.
    watched = [FirstNonFiniteStep()] if devices.count == 1 else []
    optimizer, metrics = schedule.make_optimizer(), [*task.metrics, *watched]
    model.compile(optimizer, task.loss, metrics=metrics, steps_per_execution=steps)
    if isinstance(model, BlockModel):
        model.build_metrics(task.train.places(0, 0)[1])
    return model


def _count_saved(run: TrainingRun) -> int:
    state = run.read_state()
    return state.epochs if state else 0


def _describe_saved(epochs: int) -> str:
    if not epochs:
        return "no weights were saved"
    return "last.h5 contains the weights after the last completed epoch"


def _raise_diverged(folder: Path, checkpoint: CheckpointCallback, task: Task) -> None:
    """Raise an `InputError` that names the first step after which predictions are not finite."""
    # The crops are finite, so the step before has made the weights too large. Before step 1, that
    # is a step of another epoch.
    epoch, step, where = checkpoint.epochs, checkpoint.first_nonfinite_step - 1, ""
    if step > 0:
        tracks = ", ".join(map(repr, map(str, task.train.anchor_ids(epoch, step - 1)[:_NAMED])))
        where = f" after step {step} of epoch {epoch + 1}, on anchors such as {tracks}"
    raise InputError(
        f"{folder}: training diverged (the loss is NaN or infinite{where}); "
        f"{_describe_saved(epoch)}; use a lower --learning-rate"
        f"{' and a new --out' * bool(epoch)}"
    )


def _train_epochs(
    model: keras.Model,
    train: BatchStream,
    valid: BatchStream | None,
    callbacks: list[keras.callbacks.Callback],
    epochs: list[int],
) -> None:
    """Train a compiled model for consecutive epochs."""
    set_epoch = keras.callbacks.LambdaCallback(on_epoch_begin=train.set_epoch)
    try:
        model.fit(
            train.to_keras(),
            validation_data=valid and valid.to_keras(),
            initial_epoch=epochs[0],
            epochs=epochs[-1] + 1,
            callbacks=[set_epoch, *callbacks],
            shuffle=False,  # the batches are already shuffled, depending only on the seed
            verbose=0,
        )
    except Exception:
        # TensorFlow replaces an error raised while reading batches with one of its own.
        for stream in (train, valid):
            if stream and stream.error:
                saved = _describe_saved(max(epochs[0], train.epoch))
                raise InputError(f"{stream.error}; {saved}") from None
        raise


# ---------------------------------------------------------------- encoders


def encoder_run(
    folder: Path,
    kind: str,
    split: pd.DataFrame,
    cache: MelCache,
    config: TrainingConfig,
    start: Weights | None = None,
) -> TrainingRun:
    """Return the `TrainingRun` for training a model such as "basic" or "siamese" in `folder`.

    `split` contains the tracks of all subsets. `start` contains the initial encoder weights, if
    any, and their mean and standard deviation; without them, those of the cache apply. The model
    is named after its kind and settings, of which the weights determine the encoder and the level.
    """
    settings = config
    if start:
        _require_settings_of(start, config)
        settings = replace(config, encoder=start.encoder, equal_level=start.equal_level)
    model = settings.name_model(kind)
    start_from = start.provenance if start else None
    inputs = training_inputs(folder, model, split, cache, config.record(), start_from)
    normalisation = input_normalisation(config, start, cache)
    artists = sorted({*training_artists(split), *(start.trained_on if start else ())})

    def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
        (network,) = models
        save_weights(path, network, made_from=made_from, trained_on=artists, **normalisation)

    return TrainingRun(folder, inputs, save)


def input_normalisation(
    config: TrainingConfig, start: Weights | None, cache: MelCache
) -> dict[str, Any]:
    """Return the arguments of `models.encoder.normalise`: those of `start`, if there is one."""
    if start:
        return {"mean": start.mean, "std": start.std, "equal_level": start.equal_level}
    return {"mean": cache.mean, "std": cache.std, "equal_level": config.equal_level}


def _require_settings_of(start: Weights, config: TrainingConfig) -> None:
    """Refuse settings other than those of the weights to start from, unless they are defaults."""
    options = {
        "equal_level": "--equal-level" if start.equal_level else "--no-equal-level",
        "encoder": f"--encoder {start.encoder}",
    }
    different = []
    for name, option in options.items():
        value = getattr(config, name)
        chosen = name in config.given or value != getattr(type(config), name)
        if chosen and value != getattr(start, name):
            different.append(option)
    if different:
        raise InputError(
            f"--start-from: {config.start_from} was trained with {' '.join(different)}; use the "
            "same options"
        )
    if start.equal_level and "gain" in config.augment:
        raise InputError(
            f"--augment gain: has no effect, since {config.start_from} was trained with "
            "--equal-level; leave it out"
        )


def initial_encoder(config: TrainingConfig, start: Weights | None, devices: Devices) -> keras.Model:
    """Seed Keras and return the encoder to train, with random weights or those in `start`."""
    keras.utils.set_random_seed(config.seed)
    options: dict[str, Any] = {
        "dropout": config.dropout,
        "precision": config.precision,
        # Compute batch statistics over all devices, as JAX does anyway.
        "synchronised": devices.count > 1 and keras.backend.backend() == "tensorflow",
    }
    if start:
        return encoder_from(start, **options)
    return build_encoder(kind=config.encoder, **options)


def fit_encoder(
    task: Task,
    schedule: TrainingSchedule,
    config: TrainingConfig,
    run: TrainingRun,
    devices: Devices,
) -> None:
    """Train an encoder, in the `open_devices` context in which its model was built; see `fit`."""
    if run.is_complete():
        logger.info("%s: already complete", run.folder)
        return
    placement = Placement.choose(devices, task.train, config.data, config.steps_per_call)
    if devices.writes:
        logger.info("%s: on %s, %s, %s", run.folder, devices, config.precision, placement)
    fit([task], schedule, run, placement, devices)
