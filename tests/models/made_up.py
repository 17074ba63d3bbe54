"""What the tests of training train on: a small cache of noise in three classes, and a model."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np

from common import provenance
from data_prep.crops import Crops, LabelledBatches
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT, MelCache
from models.basic import build_basic
from models.devices import Devices
from models.encoder import build_encoder
from models.fit import Schedule, fit
from models.placement import Placement
from models.run import Run

MEAN, STD = 0.5, 0.3
CLASSES = 3
TRACKS = 36
INPUTS = {"name": "run", "model": "basic", "artists": CLASSES, "settings": {"rate": 0.01}}
ONE_STEP = keras.backend.backend() == "torch"  # a call is all that Keras can with it


def cache(path: Path, spoilt: int | None = None) -> MelCache:
    """Write and open a cache of tracks t0 to t35, of class number % 3, which a loud band tells.

    Between some of them lie frames of no track, and these are no numbers, so
    that a crop that is not wholly within its track spoils the loss. So are
    those of the track `spoilt`.
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
        file.attrs["made_from"] = provenance.to_json(provenance.record({"made": "up"}))
    return MelCache(path)


def crops(of: MelCache) -> Crops:
    """Of all tracks but two, in another order than the cache's."""
    return Crops(of, np.array([f"t{number}" for number in range(TRACKS - 2)][::-1], object))


def batches(
    of: Crops, tracks: range, batch: int, *, shift: int = 0, kind: type = LabelledBatches, **more
) -> LabelledBatches:
    """Batches of some tracks of `crops`, whose classes are told wrong where there is a `shift`."""
    anchors = TRACKS - 3 - np.array(tracks)
    labels = (np.array(tracks) + shift) % CLASSES
    return kind(of, anchors, batch, 5, labels=labels, **more)


def placement(*, resident: bool = False, steps: int = 2) -> Placement:
    return Placement(resident, 1 if ONE_STEP else steps)


def model(**settings) -> keras.Model:
    """The same basic model each time it is called."""
    keras.utils.set_random_seed(0)
    return build_basic(build_encoder(**settings), CLASSES, "softmax", mean=MEAN, std=STD)
