"""Encoder training: initial weights, saved files and the fit itself."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.batches import Batches
from data_prep.mel_cache import MelCache
from models.encoder import build_encoder
from models.keras_backend import keras
from models.pretrained import Weights, encoder_from, save_weights
from training.checkpoints import TrainingRun
from training.config import TrainingConfig
from training.data_placement import Placement
from training.devices import Devices
from training.inputs import training_artists, training_inputs
from training.loop import Task, TrainingSchedule, fit

logger = logging.getLogger(__name__)


def encoder_run(
    folder: Path,
    model: str,
    split: pd.DataFrame,
    cache: MelCache,
    config: TrainingConfig,
    start: Weights | None = None,
) -> TrainingRun:
    """Return the `TrainingRun` for training one model in `folder`.

    Parameters
    ----------
    model
        "basic", "tag" or "siamese".
    split
        Split table with the tracks of all subsets.
    start
        Initial encoder weights, loaded from `config.start_from`, or None. Their mean and
        standard deviation normalise the input; without them, those of the cache do.
    """
    start_from = start.provenance if start else None
    inputs = training_inputs(folder, model, split, cache, config.record(), start_from)
    mean, std = (start or cache).mean, (start or cache).std
    artists = {*training_artists(split), *(start.trained_on if start else ())}

    def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
        save_weights(
            path, models[0], mean=mean, std=std, made_from=made_from, trained_on=sorted(artists)
        )

    return TrainingRun(folder, inputs, save)


def initial_encoder(config: TrainingConfig, start: Weights | None, devices: Devices) -> keras.Model:
    """Seed Keras and return the encoder to train, with random weights or those in `start`."""
    keras.utils.set_random_seed(config.seed)
    options: dict[str, Any] = {
        "dropout": config.dropout,
        "precision": config.precision,
        # Compute batch statistics over all devices, as JAX does anyway.
        "synchronised": devices.count > 1 and keras.backend.backend() == "tensorflow",
    }
    return encoder_from(start, **options) if start else build_encoder(**options)


def train(
    model: keras.Model,
    loss: keras.losses.Loss | str,
    metrics: list,
    train_batches: Batches,
    valid_batches: Batches,
    config: TrainingConfig,
    run: TrainingRun,
    devices: Devices,
) -> None:
    """Train a model with SGD, following the papers' rules; see `training.loop.fit`.

    Parameters
    ----------
    loss, metrics
        As in `keras.Model.compile`.
    devices
        Devices from the `training.devices.open_devices` context in which the model was built.
    """
    placement = Placement.choose(devices, train_batches.crops, config.data, config.steps_per_call)
    if devices.writes:
        logger.info("%s: on %s, %s, %s", run.folder, devices, config.precision, placement)
    schedule = TrainingSchedule(
        config.learning_rate, config.epochs, config.plateau, config.patience
    )
    task = Task(model, loss, metrics, train_batches, valid_batches)
    fit([task], schedule, run, placement, devices)
