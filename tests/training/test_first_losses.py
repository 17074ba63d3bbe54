"""The first losses of training, which are to be the same with all backends.

They stand in first_losses.json, of the TensorFlow backend. Where they are
meant to change, make them anew: python -m tests.models.test_backends
"""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest

from data_prep.batches import SiameseBatches, TrackSampler
from models import pretrained
from models.basic import build_basic
from models.siamese import HingeLoss, build_siamese
from tests.training import fixtures
from tests.training.fixtures import CLASSES, MEAN, ONE_CPU, STD, batches, log
from training import loop
from training.data_placement import Placement

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
KEPT = Path(__file__).with_name("first_losses.json")
STEPS = 6
WITHIN = 1e-4  # of a loss; the backends come to a thirtieth of it
# All rules of the update show in the losses, and none is so large that errors grow with it.
RATES = {"basic": 0.002, "siamese": 5e-5}
TRAIN, VALID = range(18), range(20, 32)  # tracks


def first_losses(name: str, folder: Path, *, margin: float = 0.4, precision: str = "float32"):
    """{"loss": one a step, "val_loss": one after each} of a model, from the same weights always.

    An epoch is one step here. Training losses show the batch's statistics and
    the update, those of validation the running statistics.
    """
    crops = fixtures.crops(fixtures.cache(folder / "cache.h5"))
    encoder = fixtures.encoder(precision=precision)
    if name == "basic":
        model = build_basic(encoder, CLASSES, "softmax", mean=MEAN, std=STD)
        kernel = np.random.default_rng(3).normal(0, 256**-0.5, (256, CLASSES))
        model.get_layer("classes").set_weights([kernel, np.zeros(CLASSES)])
        both = (batches(crops, tracks, 18) for tracks in (TRAIN, VALID))
        loss = "sparse_categorical_crossentropy"
    else:
        model, loss = build_siamese(encoder, 2, mean=MEAN, std=STD), HingeLoss(margin)
        artists = np.arange(len(crops)) % CLASSES
        both = (siamese_batches(crops, artists, np.array(tracks)) for tracks in (TRAIN, VALID))
    schedule = loop.TrainingSchedule(RATES[name], STEPS, plateau=99, patience=None)
    run = fixtures.run(folder / "run")
    task = loop.Task(model, loss, [], *both)
    loop.fit([task], schedule, run, Placement(False, 1), ONE_CPU)
    return log(run.folder)[["loss", "val_loss"]].to_dict("list")


def siamese_batches(crops, artists, songs) -> SiameseBatches:
    sampler = TrackSampler.from_artists(artists, songs, 2)
    return SiameseBatches(crops, songs, 18, 5, sampler=sampler, negatives=2)


def farthest(found: dict, kept: dict) -> float:
    """The largest difference from the losses that were kept, as a part of them."""
    return max(np.abs(np.array(found[key]) / kept[key] - 1).max() for key in kept)


@pytest.fixture(scope="module")
def kept() -> dict[str, dict]:
    return json.loads(KEPT.read_text())


@pytest.mark.parametrize("name", RATES)
def test_first_losses_are_the_same_with_all_backends(name, kept, tmp_path):
    found = first_losses(name, tmp_path)
    assert farthest(found, kept[name]) < WITHIN
    losses = np.array(kept[name]["loss"])
    assert np.ptp(losses) > 100 * WITHIN * losses[0], "hardly anything was learnt"


def test_another_margin_would_be_noticed(kept, tmp_path):
    assert farthest(first_losses("siamese", tmp_path, margin=0.401), kept["siamese"]) > 3 * WITHIN


def test_another_update_would_be_noticed(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "MOMENTUM", 0.89)
    found = first_losses("siamese", tmp_path)
    assert found["loss"][0] == pytest.approx(kept["siamese"]["loss"][0], rel=WITHIN)
    assert farthest(found, kept["siamese"]) > 3 * WITHIN


def test_mixed_precision_learns_alike_and_is_kept_in_float32(kept, tmp_path):
    found = first_losses("basic", tmp_path, precision="mixed")
    assert WITHIN < farthest(found, kept["basic"]) < 0.05
    last = pretrained.load_weights(str(tmp_path / "run/last.h5"))
    mels = np.random.default_rng(0).random((8, 129, 128), np.float32)
    single, mixed = (
        pretrained.encoder_from(last, precision=precision).predict_on_batch(mels)
        for precision in ("float32", "mixed")
    )
    np.testing.assert_allclose(mixed, single, atol=0.03 * np.abs(single).max())
    # bfloat16 would have left the lower half of all numbers zero.
    assert all((array.view(np.uint32) & 0xFFFF).any() for array in last.encoder_arrays)


if __name__ == "__main__":
    assert keras.backend.backend() == "tensorflow"
    with tempfile.TemporaryDirectory() as place:
        for name in RATES:
            Path(place, name).mkdir()
        made = {name: first_losses(name, Path(place, name)) for name in RATES}
    KEPT.write_text(json.dumps(made, indent=1) + "\n")
