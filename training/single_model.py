"""What the training scripts do alike, once each has its batches."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from common import cli
from data_prep.batches import Batches
from data_prep.mel_cache import MelCache
from models import pretrained
from models.encoder import build_encoder
from models.keras_backend import keras
from training.checkpoints import TrainingRun
from training.data_placement import Placement
from training.devices import Devices, open_devices
from training.inputs import training_artists, training_inputs
from training.loop import Task, TrainingSchedule, fit


def train(
    args: argparse.Namespace,
    name: str,
    split: pd.DataFrame,
    cache: MelCache,
    batches: tuple[Batches, Batches],
    build: Callable[..., keras.Model],
    loss: keras.losses.Loss | str,
    metrics: list,
) -> None:
    """Train a model as the command line says, or say that it is there already.

    Parameters
    ----------
    args
        What `cli.training_parser` takes, and more.
    name
        "basic", "tag" or "siamese".
    batches
        Of training and of validation.
    build
        From the encoder, and the keywords mean and std, to the model.

    Raises
    ------
    InputError
        The run's folder holds a training from other inputs; or see `fit`.
    """
    start = pretrained.load_weights(args.start_from) if args.start_from else None
    inputs = training_inputs(
        args.out, name, split, cache, cli.settings(args), start and start.provenance
    )
    mean, std = (start or cache).mean, (start or cache).std
    heard = {*training_artists(split), *(start.trained_on if start else ())}

    def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
        about = {"made_from": made_from, "trained_on": sorted(heard)}
        pretrained.save_weights(path, models[0], mean=mean, std=std, **about)

    run = TrainingRun(args.out, inputs, save)
    if run.is_complete():
        print(f"{args.out}: complete already")
        return
    with open_devices(args.distribute) as found:
        placement = Placement.choose(found, batches[0].crops, args.data, args.steps_per_call)
        if found.writes:
            print(f"{args.out}: on {found}, {args.precision}, {placement}")
        keras.utils.set_random_seed(args.seed)
        model = build(_encoder(args, start, found), mean=mean, std=std)
        schedule = TrainingSchedule(args.rate, args.epochs, args.plateau, args.patience)
        fit([Task(model, loss, metrics, *batches)], schedule, run, placement, found)


def _encoder(
    args: argparse.Namespace, start: pretrained.Weights | None, found: Devices
) -> keras.Model:
    settings = {
        "dropout": args.dropout,
        "precision": args.precision,
        "synchronised": found.count > 1 and keras.backend.backend() == "tensorflow",
    }
    return pretrained.encoder_from(start, **settings) if start else build_encoder(**settings)
