"""Test encoder training: initial weights, records and saved files."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from models import pretrained
from models.basic import build_basic
from models.encoder import build_encoder
from tests.training import fixtures
from tests.training.fixtures import CLASSES, make_batches, read_log
from training.config import BasicConfig
from training.devices import open_devices
from training.loop import Task, TrainingSchedule, encoder_run, fit_encoder, initial_encoder

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
SPLIT = pd.DataFrame({"track_id": ["t0", "t1"], "artist": ["a", "b"], "subset": ["train", "valid"]})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.write_cache(tmp_path_factory.mktemp("cache") / "cache.h5")


def train_basic(cache, out, **settings):
    """Train as a library user would, for one epoch that barely changes the weights."""
    config = BasicConfig(epochs=1, learning_rate=1e-9, batch_size=12, **settings)
    crops = fixtures.make_crops(cache)
    start = pretrained.load_weights(config.start_from) if config.start_from else None
    run = encoder_run(out, "basic", SPLIT, cache, config, start)
    with open_devices(config.distribute) as devices:
        encoder, norm = initial_encoder(config, start, devices), start or cache
        model = build_basic(encoder, CLASSES, "softmax", mean=norm.mean, std=norm.std)
        data = make_batches(crops, range(12), 12), make_batches(crops, range(24, 30), 12)
        task = Task(model, "sparse_categorical_crossentropy", ["accuracy"], *data)
        fit_encoder(task, TrainingSchedule.of(config), config, run, devices)


def test_start_from_restores_the_encoder_and_its_normalisation(cache, encoder, tmp_path, caplog):
    path, out = tmp_path / "first.h5", tmp_path / "run"
    model = build_basic(
        encoder, 7, "softmax", mean=0.1, std=0.4
    )  # has a different number of classes
    inputs = {"name": "first", "model": "basic", "artists": 7}
    pretrained.save_weights(
        path, model, mean=0.1, std=0.4, made_from={"inputs": inputs}, trained_on=["z"]
    )
    train_basic(cache, out, start_from=str(path))

    start, last = pretrained.load_weights(str(path)), pretrained.load_weights(str(out / "last.h5"))
    assert (last.mean, last.std) == (0.1, 0.4) != (cache.mean, cache.std)
    assert list(last.trained_on) == ["a", "z"]
    recorded = json.loads((out / "run.json").read_text())["inputs"]
    assert recorded["start_from"] == start.provenance
    config = BasicConfig(epochs=1, learning_rate=1e-9, batch_size=12)
    assert recorded["settings"] == config.record()
    for number, (ours, theirs) in enumerate(
        zip(last.encoder_arrays, start.encoder_arrays, strict=True)
    ):
        # With such a small learning rate, only the moving statistics change noticeably, by 1 %.
        statistic = number % 6 in (4, 5)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.5 if statistic else 1e-6)
        assert (ours != theirs).any() or not statistic

    # Moving the weights file to another path must not change the recorded inputs.
    moved = path.rename(tmp_path / "moved.h5")
    with caplog.at_level(logging.INFO):
        train_basic(cache, out, start_from=str(moved))
    assert caplog.messages[-1] == f"{out}: already complete"
    assert len(read_log(out)) == 1


def test_fine_tuned_weights_are_named_after_their_encoder(cache, tmp_path):
    """Another encoder than the papers' cannot pass for theirs in results."""
    config = BasicConfig()
    for encoder, equal_level, name in (
        ("paper", False, "basic"),
        ("paper", True, "basic, own settings"),
        ("statistics", False, "basic, own settings"),
    ):
        network = build_basic(build_encoder(kind=encoder), 2, "softmax", mean=0, std=1)
        path, inputs = tmp_path / f"{encoder}.h5", {"name": encoder, "model": "any", "artists": 2}
        normalisation = {"mean": 0, "std": 1, "equal_level": equal_level}
        pretrained.save_weights(
            path, network, made_from={"inputs": inputs}, trained_on=[], **normalisation
        )
        start = pretrained.load_weights(str(path))
        run = encoder_run(tmp_path, "basic", SPLIT, cache, config, start)
        assert run.inputs["model"] == name


def test_training_from_scratch_uses_the_normalisation_of_the_cache(cache, tmp_path, caplog):
    out = tmp_path / "run"
    with caplog.at_level(logging.INFO):
        train_basic(cache, out, data="resident", steps_per_call=1)
    last = pretrained.load_weights(str(out / "last.h5"))
    assert (last.mean, last.std) == (cache.mean, cache.std)
    assert "start_from" not in json.loads((out / "run.json").read_text())["inputs"]
    assert caplog.messages[0].startswith(f"{out}: on ")
    assert caplog.messages[0].endswith(", float32, frames on the device, 1 step per call")
