"""Test that the first training losses are the same on all backends.

first_losses.json contains the losses from the TensorFlow backend. After an intentional change,
regenerate it: python -m tests.training.test_first_losses
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
from tests.training.fixtures import CLASSES, MEAN, ONE_CPU, STD, make_batches, read_log
from training import loop
from training.checkpoints import TrainingRun
from training.data_placement import Placement

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
REFERENCE = Path(__file__).with_name("first_losses.json")
STEPS = 6
TOLERANCE = 1e-4  # relative; the backends differ by a thirtieth of this
# Large enough to reveal every term of the update, but too small to amplify rounding errors.
LEARNING_RATES = {"basic": 0.002, "siamese": 5e-5}
TRAIN, VALID = range(18), range(20, 32)  # track numbers


def first_losses(name: str, folder: Path, *, margin: float = 0.4, precision: str = "float32"):
    """Return the training and validation loss per step, from the same initial weights.

    Each epoch consists of one step. The training losses depend on the batch statistics and the
    weight updates; the validation losses also depend on the moving statistics.
    """
    crops = fixtures.make_crops(fixtures.write_cache(folder / "cache.h5"))
    encoder = fixtures.make_encoder(precision=precision)
    if name == "basic":
        model = build_basic(encoder, CLASSES, "softmax", mean=MEAN, std=STD)
        kernel = np.random.default_rng(3).normal(0, 256**-0.5, (256, CLASSES))
        model.get_layer("classes").set_weights([kernel, np.zeros(CLASSES)])
        data = (make_batches(crops, tracks, 18) for tracks in (TRAIN, VALID))
        loss = "sparse_categorical_crossentropy"
    else:
        model, loss = build_siamese(encoder, 2, mean=MEAN, std=STD), HingeLoss(margin)
        artists = np.arange(len(crops)) % CLASSES
        data = (siamese_batches(crops, artists, np.array(tracks)) for tracks in (TRAIN, VALID))
    schedule = loop.TrainingSchedule(LEARNING_RATES[name], STEPS, plateau=99, patience=None)

    def save(path, models, made_from):
        pretrained.save_weights(path, models[0], mean=MEAN, std=STD, made_from=made_from)

    run = TrainingRun(folder / "run", fixtures.INPUTS, save)
    task = loop.Task(model, loss, [], *data)
    loop.fit([task], schedule, run, Placement(False, 1), ONE_CPU)
    return read_log(run.folder)[["loss", "val_loss"]].to_dict("list")


def siamese_batches(crops, artists, tracks) -> SiameseBatches:
    sampler = TrackSampler.from_artists(artists, tracks, 2)
    return SiameseBatches(crops, tracks, 18, 5, sampler=sampler, negatives=2)


def relative_error(losses: dict, reference: dict) -> float:
    """Return the largest relative difference between the losses and the reference."""
    return max(np.abs(np.array(losses[key]) / reference[key] - 1).max() for key in reference)


@pytest.fixture(scope="module")
def reference() -> dict[str, dict]:
    return json.loads(REFERENCE.read_text())


@pytest.mark.parametrize("name", LEARNING_RATES)
def test_first_losses_match_the_tensorflow_reference(name, reference, tmp_path):
    assert relative_error(first_losses(name, tmp_path), reference[name]) < TOLERANCE
    losses = np.array(reference[name]["loss"])
    assert np.ptp(losses) > 100 * TOLERANCE * losses[0], "hardly anything was learnt"


@pytest.mark.slow
@pytest.mark.parametrize("name, value", [("margin", 0.401), ("MOMENTUM", 0.89)])
def test_first_losses_are_sensitive_to_settings(name, value, reference, tmp_path, monkeypatch):
    if name == "MOMENTUM":
        monkeypatch.setattr(loop, name, value)
    losses = first_losses("siamese", tmp_path, margin=value if name == "margin" else 0.4)
    assert relative_error(losses, reference["siamese"]) > 3 * TOLERANCE


def test_mixed_precision_gives_similar_losses_and_saves_float32_weights(reference, tmp_path):
    losses = first_losses("basic", tmp_path, precision="mixed")
    assert TOLERANCE < relative_error(losses, reference["basic"]) < 0.05
    last = pretrained.load_weights(str(tmp_path / "run/last.h5"))
    mels = np.random.default_rng(0).random((8, 129, 128), np.float32)
    single, mixed = (
        pretrained.encoder_from(last, precision=precision).predict_on_batch(mels)
        for precision in ("float32", "mixed")
    )
    np.testing.assert_allclose(mixed, single, atol=0.03 * np.abs(single).max())
    # Values rounded to bfloat16 would end in 16 zero bits.
    assert all((array.view(np.uint32) & 0xFFFF).any() for array in last.encoder_arrays)


if __name__ == "__main__":
    assert keras.backend.backend() == "tensorflow"
    with tempfile.TemporaryDirectory() as folder:
        for name in LEARNING_RATES:
            Path(folder, name).mkdir()
        losses = {name: first_losses(name, Path(folder, name)) for name in LEARNING_RATES}
    REFERENCE.write_text(json.dumps(losses, indent=1) + "\n")
