"""What the scripts do alike once each has its batches, here with batches made up."""

import json

import numpy as np
import pandas as pd
import pytest

from common import cli
from models import pretrained
from models.basic import build_basic
from tests.training import fixtures
from tests.training.fixtures import CLASSES, batches, log
from training import single_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
SPLIT = pd.DataFrame({"track_id": ["t0", "t1"], "artist": ["a", "b"], "subset": ["train", "valid"]})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.cache(tmp_path_factory.mktemp("cache") / "made_up.h5")


def train(cache, out, *more):
    """As train_basic.py with these options."""
    parser = cli.training_parser("", "", learning_rate=1e-9, batch=12)
    args = parser.parse_args(["split.csv", "cache.h5", "--out", str(out), "--epochs", "1", *more])
    crops = fixtures.crops(cache)
    given = batches(crops, range(12), 12), batches(crops, range(24, 30), 12)

    def build(encoder, **normalised):
        return build_basic(encoder, CLASSES, "softmax", **normalised)

    loss = "sparse_categorical_crossentropy"
    single_model.train(args, "basic", SPLIT, cache, given, build, loss, ["accuracy"])


def test_start_from_goes_on_with_the_encoder_its_mean_and_its_std(cache, encoder, tmp_path, capsys):
    path, out = tmp_path / "first.h5", tmp_path / "run"
    model = build_basic(encoder, 7, "softmax", mean=0.1, std=0.4)  # of other classes
    inputs = {"name": "first", "model": "basic", "artists": 7}
    pretrained.save_weights(path, model, mean=0.1, std=0.4, made_from={"inputs": inputs})
    train(cache, out, "--start-from", str(path))

    start, found = pretrained.load_weights(str(path)), pretrained.load_weights(str(out / "last.h5"))
    assert (found.mean, found.std) == (0.1, 0.4) != (cache.mean, cache.std)
    told = json.loads((out / "run.json").read_text())["inputs"]
    assert told["start_from"] == start.provenance and "start_from" not in told["settings"]
    for number, (ours, theirs) in enumerate(
        zip(found.encoder_arrays, start.encoder_arrays, strict=True)
    ):
        # The rate is next to nothing, so all that moves are the running statistics, by a hundredth.
        statistic = number % 6 in (4, 5)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.5 if statistic else 1e-6)
        assert (ours != theirs).any() or not statistic
    capsys.readouterr()

    # The same weights under another path are the same weights.
    moved = path.rename(tmp_path / "moved.h5")
    train(cache, out, "--start-from", str(moved))
    assert capsys.readouterr().out == f"{out}: complete already\n"
    assert len(log(out)) == 1


def test_without_it_the_cache_says_how_to_normalise(cache, tmp_path, capsys):
    out = tmp_path / "run"
    train(cache, out, "--data", "resident", "--steps-per-call", "1")
    found = pretrained.load_weights(str(out / "last.h5"))
    assert (found.mean, found.std) == (cache.mean, cache.std)
    assert "start_from" not in json.loads((out / "run.json").read_text())["inputs"]
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{out}: on ")
    assert first.endswith(", float32, frames on the device, 1 step a call")
