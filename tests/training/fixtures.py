"""What the tests of training train on: noise in three classes that a loud band tells."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd

from common import provenance
from data_prep.batches import Batches, Crops, LabelledBatches
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT, MelCache
from models import pretrained
from models.basic import build_basic
from models.encoder import build_encoder
from training.checkpoints import TrainingRun
from training.data_placement import Placement
from training.devices import Devices
from training.loop import Task, TrainingSchedule, fit

MEAN, STD = 0.5, 0.3
CLASSES = 3
TRACKS = 36
INPUTS = {"name": "run", "model": "basic", "artists": CLASSES, "settings": {"rate": 0.01}}
ONE_CPU = Devices()
# In a call; with torch, Keras makes no more than one.
STEPS = 1 if keras.backend.backend() == "torch" else 2


def cache(path: Path, spoilt: int | None = None) -> MelCache:
    """Write and open a cache of tracks t0 to t35, of class number % 3.

    Between some lie frames of no track, which are no numbers, so that a crop
    not wholly within its track would spoil the loss. So are those of `spoilt`.
    """
    rng = np.random.default_rng(11)
    length = rng.integers(129, 180, TRACKS)
    gap = np.where(np.arange(TRACKS) % 5 == 0, 7, 0)
    start = np.cumsum(gap + length) - length
    frames = np.full((start[-1] + length[-1] + 7, 128), np.nan, np.float16)
    for track, (first, count) in enumerate(zip(start, length, strict=True)):
        mel = rng.random((count, 128), np.float32)
        mel[:, 40 * (track % CLASSES) :][:, :40] += 0.5
        frames[first : first + count] = np.nan if track == spoilt else mel
    with h5py.File(path, "w") as file:
        file["frames"], file["start"], file["length"] = frames, start, length
        file["track_id"] = [f"t{number}" for number in range(TRACKS)]
        for name in ("failed_track_id", "failed_reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())
        file.attrs["format"], file.attrs["mean"], file.attrs["std"] = FORMAT, MEAN, STD
        file.attrs["front_end"] = json.dumps(FrontEnd().to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record({"made": "up"}))
    return MelCache(path)


def crops(of: MelCache) -> Crops:
    """Of all tracks but the last two, in another order than the cache's."""
    return Crops(of, np.array([f"t{number}" for number in range(TRACKS - 2)][::-1], object))


def batches(
    of: Crops, tracks: range, batch: int, *, shift: int = 0, kind: type = LabelledBatches, **more
) -> LabelledBatches:
    """Batches of some tracks, whose classes are told wrong where there is a `shift`.

    `more` is what this `kind` of batches takes besides.
    """
    anchors = np.arange(TRACKS - 2)[::-1][tracks]
    return kind(of, anchors, batch, 5, labels=(np.array(tracks) + shift) % CLASSES, **more)


def encoder(**settings) -> keras.Model:
    """A random encoder as if trained: its normalisations scale, shift and have statistics.

    The same with all backends, whatever was drawn before.
    """
    made = build_encoder(**settings)
    rng = np.random.default_rng(7)
    arrays = []
    for variable in made.weights:
        if variable.name in ("gamma", "moving_variance"):
            arrays.append(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("bias", "beta", "moving_mean"):
            arrays.append(rng.normal(0, 0.2, variable.shape))
        else:
            arrays.append(rng.normal(0, np.prod(variable.shape[:-1]) ** -0.5, variable.shape))
    made.set_weights([array.astype(np.float32) for array in arrays])
    return made


def run(folder: Path, **settings) -> TrainingRun:
    """The run of a training in `folder`."""

    def save(path, models, made_from):
        pretrained.save_weights(path, models[0], mean=MEAN, std=STD, made_from=made_from)

    return TrainingRun(folder, {**INPUTS, "settings": {**INPUTS["settings"], **settings}}, save)


def train(
    into: TrainingRun,
    train_on: Batches,
    valid: Batches,
    *,
    rate: float = 0.01,
    epochs: int = 3,
    plateau: int = 99,
    patience: int | None = None,
    loss: keras.losses.Loss | str = "sparse_categorical_crossentropy",
    dropout: float = 0.0,
    resident: bool = False,
    devices: Devices = ONE_CPU,
) -> keras.Model:
    """Train a basic model that begins the same each time."""
    keras.utils.set_random_seed(0)
    model = build_basic(build_encoder(dropout), CLASSES, "softmax", mean=MEAN, std=STD)
    schedule, placement = (
        TrainingSchedule(rate, epochs, plateau, patience),
        Placement(resident, STEPS),
    )
    task = Task(model, loss, ["accuracy"], train_on, valid)
    fit([task], schedule, into, placement, devices)
    return model


def log(folder: Path) -> pd.DataFrame:
    """The log of a training, a row an epoch."""
    return pd.read_csv(folder / "log.csv")


def same_weights(first: Path, second: Path) -> bool:
    """Whether two weights files hold the same to the bit."""
    one, other = (pretrained.load_weights(str(path)) for path in (first, second))
    return all(
        np.array_equal(a, b)
        for a, b in zip(
            [*one.encoder_arrays, *(one.head or [])],
            [*other.encoder_arrays, *(other.head or [])],
            strict=True,
        )
    )
