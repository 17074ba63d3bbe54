"""Data and models for the training tests: three classes of noise, each with one louder band."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd

from common import hdf5, provenance
from data_prep.batches import Batches, Crops, LabelledBatches
from data_prep.mel_cache import MelCache
from models.encoder import build_encoder, normalise
from tests.data_prep.files import write_mel_cache
from training.checkpoints import TrainingRun
from training.data_placement import Placement
from training.devices import Devices
from training.loop import Task, TrainingSchedule, fit

MEAN, STD = 0.5, 0.3
CLASSES = 3
TRACKS = 36
INPUTS = {"name": "run", "model": "basic", "artists": CLASSES, "settings": {"rate": 0.01}}
ONE_CPU = Devices()
STEPS = 1 if keras.backend.backend() == "torch" else 2  # per call; with torch, Keras only allows 1


def write_cache(path: Path, nan_track: int | None = None) -> MelCache:
    """Write and open a cache of tracks t0 to t35, where track n belongs to class n % 3.

    Some tracks are separated by NaN frames, so that a crop that runs past its track would affect
    the loss. All frames of `nan_track` are NaN as well.
    """
    rng = np.random.default_rng(11)
    length = rng.integers(129, 180, TRACKS)
    gap = np.where(np.arange(TRACKS) % 5 == 0, 7, 0)
    start = np.cumsum(gap + length) - length
    frames = np.full((start[-1] + length[-1] + 7, 128), np.nan, np.float16)
    for track, (first, count) in enumerate(zip(start, length, strict=True)):
        mel = rng.random((count, 128), np.float32)
        mel[:, 40 * (track % CLASSES) :][:, :40] += 0.5
        frames[first : first + count] = np.nan if track == nan_track else mel
    return write_mel_cache(path, frames, start, length, mean=MEAN, std=STD)


def make_crops(cache: MelCache) -> Crops:
    """Return crops of all but the last two tracks, in reverse cache order."""
    return Crops(cache, np.array([f"t{number}" for number in range(TRACKS - 2)][::-1], object))


def make_batches(
    crops: Crops,
    tracks: range,
    batch_size: int,
    *,
    shift: int = 0,
    kind: type = LabelledBatches,
    **more,
) -> LabelledBatches:
    """Return batches of the given tracks; a non-zero `shift` makes the labels wrong."""
    anchors = np.arange(TRACKS - 2)[::-1][tracks]
    return kind(crops, anchors, batch_size, 5, labels=(np.array(tracks) + shift) % CLASSES, **more)


def make_encoder(**settings) -> keras.Model:
    """Return an encoder with random weights and statistics that are the same on all backends."""
    encoder = build_encoder(**settings)
    rng = np.random.default_rng(7)
    arrays = []
    for variable in encoder.weights:
        if variable.name in ("gamma", "moving_variance"):
            arrays.append(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("bias", "beta", "moving_mean"):
            arrays.append(rng.normal(0, 0.2, variable.shape))
        else:
            arrays.append(rng.normal(0, np.prod(variable.shape[:-1]) ** -0.5, variable.shape))
    encoder.set_weights([array.astype(np.float32) for array in arrays])
    return encoder


def make_run(folder: Path, **settings) -> TrainingRun:
    """Return a training run of a small classifier, with `settings` added to its inputs."""

    def save(path, models, made_from):
        with hdf5.create_file(path) as file:
            file.attrs["made_from"] = provenance.to_json(made_from)
            for number, variable in enumerate(models[0].weights):
                file[f"{number:02}"] = keras.ops.convert_to_numpy(variable)

    return TrainingRun(folder, {**INPUTS, "settings": {**INPUTS["settings"], **settings}}, save)


def build_small(dropout: float = 0.0) -> keras.Model:
    """Return a classifier that compiles much faster than one with an encoder."""
    segment = keras.Input((129, 128))
    x = keras.layers.GlobalAveragePooling1D()(normalise(segment, MEAN, STD))
    x = keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(1e-3))(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(dropout, seed=7)(x)
    return keras.Model(segment, keras.layers.Dense(CLASSES, "softmax")(x))


def train_small(
    run: TrainingRun,
    train: Batches,
    valid: Batches,
    *,
    learning_rate: float = 0.01,
    epochs: int = 3,
    plateau: int = 99,
    patience: int | None = None,
    cosine: bool = False,
    loss: keras.losses.Loss | str = "sparse_categorical_crossentropy",
    dropout: float = 0.0,
    resident: float = 0,
    steps: int = STEPS,
    blocks: bool = False,
    devices: Devices = ONE_CPU,
) -> keras.Model:
    """Train a small classifier, always from the same initial weights."""
    keras.utils.set_random_seed(0)
    model = build_small(dropout)
    schedule = TrainingSchedule(learning_rate, epochs, plateau, patience, cosine)
    task = Task(model, loss, ["accuracy"], train, valid)
    fit([task], schedule, run, Placement(resident, steps, blocks), devices)
    return model


def read_log(folder: Path) -> pd.DataFrame:
    """Return the log of a run, with one row per epoch."""
    return pd.read_csv(folder / "log.csv")


def read_arrays(path: Path) -> list[np.ndarray]:
    """Return the weights of a small classifier."""
    with h5py.File(path) as file:
        return [file[name][()] for name in file]
