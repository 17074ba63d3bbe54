"""The training loop: what it trains on, what it keeps, how the rate falls, when it refuses."""

import csv
import json
import math

import keras
import numpy as np
import pytest

from common.errors import InputError
from common.provenance import record
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from models import fit as fit_module
from models import weights
from models.basic import build_basic
from models.encoder import build_encoder
from models.fit import Run, Schedule, fit, inputs_of, set_random_seed

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
MEAN, STD = 0.5, 0.3
CLASSES = 3
INPUTS = {"name": "run", "model": "basic", "artists": CLASSES, "settings": {"rate": 0.01}}


class Batches:
    """Noise, louder in a band that tells the class; keeps the keys that it was asked for."""

    def __init__(self, sizes, *, shift=0, label=None, spoilt=None):
        self.sizes, self.shift, self.label, self.spoilt = sizes, shift, label, spoilt
        self.asked = []

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, key):
        self.asked.append(key)
        epoch, number = key
        rng = np.random.default_rng([epoch, number, 5])
        classes = rng.integers(CLASSES, size=self.sizes[number])
        x = rng.random((len(classes), 129, 128))
        for row, band in zip(x, classes, strict=True):
            row[:, 40 * band : 40 * band + 40] += 0.5
        if epoch == self.spoilt:
            x[:] = np.nan
        y = (classes + self.shift) % CLASSES
        return x.astype(np.float16), y if self.label is None else self.label(epoch, number, y)


def train(folder, train_on, valid, *, rate=0.01, epochs=3, plateau=99, patience=None, loss=None):
    """Train a basic model from seed 0; return it and the rows of its log."""
    set_random_seed(0)
    model = build_basic(build_encoder(), CLASSES, "softmax", mean=MEAN, std=STD)
    schedule = Schedule(rate, epochs, plateau, patience)
    run = Run(folder, INPUTS, MEAN, STD)
    fit(
        model,
        loss or "sparse_categorical_crossentropy",
        ["accuracy"],
        train_on,
        valid,
        schedule,
        run,
    )
    return model, read_log(folder)


def read_log(folder):
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A training that goes well: folder, model, log."""
    folder = tmp_path_factory.mktemp("learnt") / "run"
    return folder, *train(folder, Batches([12, 12, 5]), Batches([6]))


@pytest.fixture(scope="module")
def unlearnt(tmp_path_factory):
    """One whose validation songs have wrong labels, so that its validation loss rises.

    The decay is made large enough to see.
    """
    folder = tmp_path_factory.mktemp("unlearnt") / "run"
    valid = Batches([6, 3], shift=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "DECAY", 0.05)
        schedule = {"rate": 0.02, "epochs": 30, "plateau": 2, "patience": 5}
        _, log = train(folder, Batches([12, 12]), valid, **schedule)
    return folder, valid, log


# ---------------------------------------------------------------- what is trained on


def test_each_epoch_has_its_own_batches_and_validation_always_the_first(tmp_path):
    """Keras draws ahead in a thread: neither epochs nor batches may be mixed up by that.

    The loss is the label, and the label names the batch: what the log says was
    really trained on, not only asked for.
    """
    sizes, epochs = [4, 4, 2], 4

    def named(epoch, number, y):
        return np.full(len(y), 100.0 * epoch + number, np.float32)

    class Label(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_true + 0 * keras.ops.sum(y_pred, axis=-1)

    given = Batches(sizes, label=named), Batches([3, 3], label=named)
    _, log = train(tmp_path, *given, epochs=epochs, rate=1e-9, loss=Label())
    expected = [(epoch, number) for epoch in range(epochs) for number in range(3)]
    asked = given[0].asked
    # Keras looks at the first batches to learn their shapes, before the first epoch.
    assert asked[-len(expected) :] == expected
    assert {epoch for epoch, _ in asked[: -len(expected)]} <= {0}
    assert {epoch for epoch, _ in given[1].asked} == {0}

    penalty = log[0]["loss"] - np.average([0, 1, 2], weights=sizes)
    assert 0 < penalty < 0.1
    for epoch, row in enumerate(log):
        mean = 100 * epoch + np.average([0, 1, 2], weights=sizes)
        assert row["loss"] - penalty == pytest.approx(mean, abs=1e-3)
        assert row["val_loss"] - penalty == pytest.approx(0.5, abs=1e-3)


def test_loss_falls(learnt):
    _, _, log = learnt
    losses = [row["loss"] for row in log]
    assert losses[-1] < 0.6 * losses[0]
    assert log[-1]["accuracy"] > log[0]["accuracy"]


def test_same_seed_same_weights(learnt, tmp_path):
    folder, _, log = learnt
    _, again = train(tmp_path, Batches([12, 12, 5]), Batches([6]))
    assert again == log
    for name in ("best.h5", "last.h5"):
        first, second = (weights.load(str(place / name)) for place in (folder, tmp_path))
        for a, b in zip(first.encoder_arrays, second.encoder_arrays, strict=True):
            np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- what is kept


def test_log_has_a_line_an_epoch(learnt):
    _, _, log = learnt
    names = ["epoch", "accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
    assert [list(row) for row in log] == [names] * 3
    assert [row["epoch"] for row in log] == [0, 1, 2]


def validation_loss(path, valid: Batches) -> float:
    """Cross-entropy and L2 penalty over all validation songs of the model read from a file."""
    model = weights.classifier_of(weights.load(str(path)))
    model.compile(loss="sparse_categorical_crossentropy")
    batches = [valid[0, number] for number in range(len(valid))]
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return model.evaluate(x.astype(np.float32), y, verbose=0)


def test_best_is_of_the_lowest_validation_loss_and_last_of_the_last(unlearnt):
    folder, valid, log = unlearnt
    losses = [row["val_loss"] for row in log]
    assert min(losses) < 0.9 * losses[-1], "best and last too alike to tell"
    assert validation_loss(folder / "best.h5", valid) == pytest.approx(min(losses), rel=1e-4)
    assert validation_loss(folder / "last.h5", valid) == pytest.approx(losses[-1], rel=1e-4)


def test_last_is_the_model_as_it_ended(learnt):
    folder, model, _ = learnt
    found = weights.load(str(folder / "last.h5"))
    expected = [a for layer in model.get_layer("encoder").layers for a in layer.get_weights()]
    for ours, theirs in zip(found.encoder_arrays, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.head[0], model.get_layer("classes").get_weights()[0])
    assert found.provenance["name"] == "run" and (found.mean, found.std) == (MEAN, STD)


def test_complete_says_what_it_was_made_from(learnt):
    folder, _, _ = learnt
    assert json.loads((folder / "run.json").read_text())["inputs"] == INPUTS
    assert not list(folder.glob("*.partial"))
    assert Run(folder, INPUTS, MEAN, STD).is_complete()


def other_rate(folder) -> Run:
    return Run(folder, {**INPUTS, "settings": {"rate": 0.1}}, MEAN, STD)


def test_run_from_other_settings_is_refused(learnt):
    folder, _, _ = learnt
    with pytest.raises(InputError, match=r"settings\.rate: 0\.01 -> 0\.1"):
        other_rate(folder).is_complete()


def test_unfinished_run_from_other_settings_is_refused_too(learnt, tmp_path):
    folder, _, _ = learnt
    (tmp_path / "last.h5").write_bytes((folder / "last.h5").read_bytes())
    with pytest.raises(InputError, match=r"settings\.rate: 0\.01 -> 0\.1"):
        other_rate(tmp_path).is_complete()
    assert not Run(tmp_path, INPUTS, MEAN, STD).is_complete()
    assert not other_rate(tmp_path / "new").is_complete()


def test_inputs_tell_split_cache_and_settings(small_corpus, tmp_path):
    split_path, _, cache_path = small_corpus
    split, cache = split_csv.read(split_path), MelCache(cache_path)
    found = inputs_of(tmp_path / "name", "basic", split, cache, {"rate": 1})
    assert (found["name"], found["model"], found["artists"]) == ("name", "basic", 4)
    assert found["cache"] == cache.made_from["inputs"]
    assert record(json.loads(json.dumps(found)))["inputs"] == found  # survives its file
    other = split.assign(artist=split["artist"][::-1].to_numpy())
    assert inputs_of(tmp_path / "name", "basic", other, cache, {})["split"] != found["split"]


# ---------------------------------------------------------------- the rate


def test_rate_decays_with_the_steps(learnt):
    _, _, log = learnt
    for row in log:
        steps = 3 * (row["epoch"] + 1)
        # float32 holds the rate, and so the decay to a few parts in a hundred here.
        decay = 1 - row["learning_rate"] / np.float32(0.01)
        assert decay == pytest.approx(1e-6 * steps, abs=1.5e-7)


def test_decay_and_plateau_together(unlearnt):
    """The rate of the log, recomputed from its validation losses by the two rules."""
    _, _, log = unlearnt
    reduced, best, waited = 0, math.inf, 0
    for row in log:
        steps = 2 * (row["epoch"] + 1)
        expected = 0.02 * 0.2**reduced / (1 + 0.05 * steps)
        assert row["learning_rate"] == pytest.approx(expected, rel=1e-5)
        if row["val_loss"] < best - 1e-4:
            best, waited = row["val_loss"], 0
        else:
            waited += 1
            if waited == 2:
                reduced, waited = reduced + 1, 0
    assert reduced >= 2, "the plateau rule was not met"


def test_patience_ends_the_training(unlearnt):
    folder, _, log = unlearnt
    losses = [row["val_loss"] for row in log]
    assert len(log) < 30
    assert len(log) == 1 + int(np.argmin(losses)) + 5
    assert Run(folder, INPUTS, MEAN, STD).is_complete()


# ---------------------------------------------------------------- loss that is no number


def test_rate_too_high(tmp_path):
    with pytest.raises(InputError, match=r"no longer a number; no weights .*lower --rate"):
        train(tmp_path, Batches([6, 6]), Batches([6]), rate=1e30, epochs=5)
    assert not list(tmp_path.glob("*.h5")) and not (tmp_path / "run.json").exists()
    assert len(read_log(tmp_path)) == 1, "went on though nothing could come of it"


def test_weights_before_the_loss_went_bad_are_kept(tmp_path):
    with pytest.raises(InputError, match=r"no longer a number; last\.h5 is of the epoch before"):
        train(tmp_path, Batches([6, 6], spoilt=2), Batches([6]), epochs=5)
    assert [math.isfinite(row["loss"]) for row in read_log(tmp_path)] == [True, True, False]
    found = weights.load(str(tmp_path / "last.h5"))
    assert all(np.isfinite(array).all() for array in found.encoder_arrays)
    assert (tmp_path / "best.h5").exists()
    assert not Run(tmp_path, INPUTS, MEAN, STD).is_complete()
