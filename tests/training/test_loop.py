"""The training loop: what it trains on, what it keeps, how the rate falls, how it goes on."""

import json
import math
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import InputError
from data_prep.batches import LabelledBatches
from models import pretrained
from tests.training import fixtures
from tests.training.fixtures import batches, log, run, same_weights, train
from training import callbacks
from training.checkpoints import TrainingRun, TrainingState
from training.devices import Devices
from training.loop import _Arrays, _Stream

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
TRAIN, VALID = range(24), range(24, 30)  # tracks


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return fixtures.crops(fixtures.cache(tmp_path_factory.mktemp("cache") / "made_up.h5"))


@pytest.fixture(scope="module")
def learnt(crops, tmp_path_factory):
    """A training that goes well: folder, model, log."""
    folder = tmp_path_factory.mktemp("learnt") / "run"
    model = train(run(folder), batches(crops, TRAIN, 12), batches(crops, VALID, 6))
    return folder, model, log(folder)


UNLEARNT = {"rate": 0.02, "epochs": 30, "plateau": 2, "patience": 5, "dropout": 0.5}


@pytest.fixture(scope="module")
def wrong(crops):
    """Validation songs with wrong labels, so that learning makes their loss rise."""
    return batches(crops, VALID, 4, shift=1)


@pytest.fixture(scope="module")
def visible_decay():
    """Of the rate with the steps, made large enough to see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "DECAY", 0.05)
        yield


@pytest.fixture(scope="module")
def unlearnt(crops, wrong, visible_decay, tmp_path_factory):
    """A training in which the rules on the validation loss come into play: folder, log."""
    folder = tmp_path_factory.mktemp("unlearnt") / "run"
    train(run(folder), batches(crops, TRAIN, 12), wrong, **UNLEARNT)
    return folder, log(folder)


@dataclass(frozen=True, kw_only=True)
class Told(LabelledBatches):
    """Batches that tell which were asked for, and raise at one of them."""

    asked: list
    fails_at: tuple[int, int] | None = None

    def places(self, epoch, number):
        self.asked.append((epoch, number))
        if (epoch, number) == self.fails_at:
            raise Killed
        return super().places(epoch, number)


class Killed(Exception):
    """Ends a training as a kill would, at any place."""


@dataclass(frozen=True, kw_only=True)
class Numbered(Told):
    """Batches whose labels are their number, and 100 for each epoch; of one epoch no number."""

    nan_epoch: int | None = None

    def places(self, epoch, number):
        places, y = super().places(epoch, number)
        named = math.nan if epoch == self.nan_epoch else 100.0 * epoch + number
        return places, np.full(len(y), named, np.float32)


class Label(keras.losses.Loss):
    """The label itself, so that the log says what was really trained on, not only asked for."""

    def call(self, y_true, y_pred):
        return y_true + 0 * keras.ops.sum(y_pred, axis=-1)


# ---------------------------------------------------------------- what is trained on


def test_each_epoch_has_its_own_batches_and_validation_always_the_first(crops, tmp_path):
    """Keras draws ahead in a thread: neither epochs nor batches may be mixed up by that."""
    epochs, sizes = 4, [3, 3, 4]
    train_on = batches(crops, range(10), 4, kind=Numbered, asked=[])
    valid = batches(crops, VALID, 3, kind=Numbered, asked=[])
    assert [len(train_on[0, number][1]) for number in range(len(train_on))] == sizes
    train_on.asked.clear()
    train(run(tmp_path), train_on, valid, epochs=epochs, rate=1e-9, loss=Label())

    expected = [(epoch, number) for epoch in range(epochs) for number in range(3)]
    # Keras looks at the first batches to learn their shapes, before the first epoch.
    assert train_on.asked[-len(expected) :] == expected
    assert {epoch for epoch, _ in train_on.asked[: -len(expected)]} <= {0}
    assert {epoch for epoch, _ in valid.asked} == {0}

    found, mean = log(tmp_path), np.average([0, 1, 2], weights=sizes)
    penalty = found["loss"][0] - mean
    assert 0 < penalty < 0.1
    np.testing.assert_allclose(found["loss"] - penalty, 100 * np.arange(epochs) + mean, atol=1e-3)
    np.testing.assert_allclose(found["val_loss"] - penalty, 0.5, atol=1e-3)


def test_loss_falls(learnt):
    _, _, found = learnt
    assert found["loss"].iloc[-1] < 0.6 * found["loss"][0]
    assert found["accuracy"].iloc[-1] > found["accuracy"][0]


@pytest.mark.parametrize("resident", [False, True])
def test_same_seed_same_weights_wherever_the_frames_are(resident, learnt, crops, tmp_path):
    """To the bit on the CPU, whether a step is sent its crops or finds them itself."""
    given = batches(crops, TRAIN, 12), batches(crops, VALID, 6)
    train(run(tmp_path), *given, resident=resident)
    assert ended_alike(learnt[0], tmp_path)


def ended_alike(first, second) -> bool:
    """Whether two trainings left the same log and weights to the last bit."""
    logs = [(folder / "log.csv").read_bytes() for folder in (first, second)]
    return logs[0] == logs[1] and all(
        same_weights(first / name, second / name) for name in ("best.h5", "last.h5")
    )


# ---------------------------------------------------------------- what is kept


def test_log_has_a_line_an_epoch(learnt):
    _, _, found = learnt
    first, *others = found
    assert first == "epoch" and list(found["epoch"]) == [1, 2, 3]
    told = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert set(others) == told and np.isfinite(found).all(axis=None)


def validation_loss(path, valid) -> float:
    """Cross-entropy and L2 penalty over all validation songs of the model read from a file."""
    model = pretrained.classifier_from(pretrained.load_weights(str(path)))
    model.compile(loss="sparse_categorical_crossentropy")
    drawn = [valid[0, number] for number in range(len(valid))]
    x, y = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return model.evaluate(x.astype(np.float32), y, verbose=0)


def test_best_is_of_the_lowest_validation_loss_and_last_of_the_last(unlearnt, wrong):
    folder, found = unlearnt
    lowest, last = found["val_loss"].min(), found["val_loss"].iloc[-1]
    assert lowest < 0.9 * last, "best and last too alike to tell"
    assert validation_loss(folder / "best.h5", wrong) == pytest.approx(lowest, rel=1e-4)
    assert validation_loss(folder / "last.h5", wrong) == pytest.approx(last, rel=1e-4)


def test_last_is_the_model_as_it_ended(learnt):
    folder, model, _ = learnt
    found = pretrained.load_weights(str(folder / "last.h5"))
    expected = [a for layer in model.get_layer("encoder").layers for a in layer.get_weights()]
    for ours, theirs in zip(found.encoder_arrays, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.head[0], model.get_layer("classes").get_weights()[0])
    assert found.provenance["name"] == "run"
    assert (found.mean, found.std) == (fixtures.MEAN, fixtures.STD)


def test_complete_says_what_it_was_made_from(learnt):
    folder, _, _ = learnt
    told = json.loads((folder / "run.json").read_text())
    assert told["inputs"] == fixtures.INPUTS and told["backend"] == keras.backend.backend()
    assert {path.name for path in folder.iterdir()} == {
        "best.h5",
        "last.h5",
        "log.csv",
        "run.json",
        "tensorboard",
    }
    assert run(folder).is_complete()


# ---------------------------------------------------------------- the rate


def test_rate_decays_with_the_steps(learnt):
    _, _, found = learnt
    # float32 holds the rate, and so the decay to a few parts in a hundred here.
    decay = 1 - found["learning_rate"] / np.float32(0.01)
    np.testing.assert_allclose(decay, 1e-6 * 2 * found["epoch"], atol=1.5e-7)


def test_decay_and_plateau_together(unlearnt):
    """The rate of the log, recomputed from its validation losses by the two rules."""
    _, found = unlearnt
    reduced, best, waited = 0, math.inf, 0
    for epoch, loss, rate in zip(
        found["epoch"], found["val_loss"], found["learning_rate"], strict=True
    ):
        # Keras notes the rate before its plateau rule lowers it.
        assert rate == pytest.approx(0.02 * 0.2**reduced / (1 + 0.05 * 2 * epoch), rel=1e-5)
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == 2:
            reduced, waited = reduced + 1, 0
    assert reduced >= 2, "the plateau rule was not met"


def test_patience_ends_the_training(unlearnt):
    folder, found = unlearnt
    assert len(found) == 1 + int(found["val_loss"].argmin()) + 5 < 30
    assert run(folder).is_complete()


# ---------------------------------------------------------------- going on


class Dies(TrainingRun):
    """A run in which a kill comes between the files of its last epoch and the state after it."""

    def keep(self, models, state, *, best):
        before = (self.folder / "state.h5").read_bytes()
        super().keep(models, state, best=best)
        (self.folder / "state.h5").write_bytes(before)
        raise Killed


class DiesAtTheEnd(TrainingRun):
    """A run in which a kill comes after the last epoch, before it is declared complete."""

    def finish(self):
        raise Killed


def test_killed_again_and_again_it_ends_as_undisturbed(
    unlearnt, crops, wrong, visible_decay, tmp_path, capsys
):
    """To the bit, with the rules in the middle of their counting, and a dropout that is random."""
    folder, found = unlearnt
    lowest = 1 + int(found["val_loss"].argmin())
    whole = run(tmp_path)

    def go_on(into=whole, fails_at=None, resident=False) -> list[int]:
        """Train until it is killed, if it is; the epochs that it drew batches of, from 0."""
        train_on = batches(crops, TRAIN, 12, kind=Told, asked=[], fails_at=fails_at)
        try:
            train(into, train_on, wrong, resident=resident, **UNLEARNT)
        except Exception as error:  # TensorFlow makes another of it
            assert "Killed" in str(error) or isinstance(error, Killed), error
        return sorted({epoch for epoch, _ in train_on.asked} - {0})

    # In the middle of an epoch, where both rules have waited for one and the rate is still whole.
    assert go_on(fails_at=(lowest + 1, 1)) == list(range(1, lowest + 2))
    assert len(log(tmp_path)) == lowest + 1 and not whole.is_complete()
    # While the files of an epoch are written: the rate has fallen once.
    assert go_on(Dies(whole.folder, whole.inputs, whole.save)) == [lowest + 1]
    assert len(log(tmp_path)) == lowest + 2
    # The frames may lie elsewhere from now on.
    assert go_on(fails_at=(lowest + 3, 0), resident=True)[0] == lowest + 1
    at_the_end = DiesAtTheEnd(whole.folder, whole.inputs, whole.save)
    assert go_on(at_the_end)[0] == lowest + 3
    assert ended_alike(folder, tmp_path) and not whole.is_complete()
    assert go_on() == [], "trained on after the end"
    assert ended_alike(folder, tmp_path) and whole.is_complete()
    assert not (tmp_path / "state.h5").exists()
    said = capsys.readouterr().out
    for epoch in (lowest + 1, lowest + 1, lowest + 3):
        assert f"{tmp_path}: going on after epoch {epoch} of 30\n" in said
    assert said.endswith(f"complete, lowest validation loss {found['val_loss'].min():.4f}\n")

    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = board.Tensors("val_loss")
    assert [event.step for event in shown] == list(found["epoch"])


# ---------------------------------------------------------------- what cannot be trained


def test_rate_too_high(crops, tmp_path):
    train_on = batches(crops, TRAIN, 12, kind=Told, asked=[])
    with pytest.raises(InputError, match=r"no longer a number; no weights .*lower --rate") as error:
        train(run(tmp_path), train_on, batches(crops, VALID, 6), rate=1e30, epochs=5)
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert {path.name for path in tmp_path.iterdir()} == {"tensorboard"}
    assert {epoch for epoch, _ in train_on.asked} == {0}, "went on though nothing could come of it"


def test_weights_before_the_loss_went_bad_are_kept(crops, tmp_path):
    train_on = batches(crops, TRAIN, 12, kind=Numbered, asked=[], nan_epoch=2)
    valid = batches(crops, VALID, 6, kind=Numbered, asked=[])
    with pytest.raises(InputError, match=r"no longer a number; last\.h5 is of the epoch before"):
        train(run(tmp_path), train_on, valid, rate=1e-9, epochs=5, loss=Label())
    assert list(log(tmp_path)["epoch"]) == [1, 2]
    assert {epoch for epoch, _ in train_on.asked} == {0, 1, 2}
    found = pretrained.load_weights(str(tmp_path / "last.h5"))
    assert all(np.isfinite(array).all() for array in found.encoder_arrays)
    assert (tmp_path / "best.h5").exists() and not run(tmp_path).is_complete()


@pytest.mark.parametrize(
    "track, resident",
    [("t17", False), ("t27", False), ("t27", True)],
    ids=["train", "valid", "resident"],
)
def test_track_of_values_that_are_no_numbers_is_named(track, resident, tmp_path):
    crops = fixtures.crops(fixtures.cache(tmp_path / "cache.h5", spoilt=int(track[1:])))
    given = batches(crops, TRAIN, 12), batches(crops, VALID, 2)
    with pytest.raises(InputError, match=rf"cache\.h5: '{track}' holds .*delete the cache"):
        train(run(tmp_path / "run"), *given, resident=resident)
    assert not list((tmp_path / "run").glob("*.h5"))


def test_more_devices_than_songs_are_refused(crops, tmp_path):
    seven = Devices("cpu", 7)
    for batch, message in ((6, "--batch 6: .* 7 CPUs"), (12, "subset of 6 songs .* 7 CPUs")):
        given = batches(crops, TRAIN, batch), batches(crops, VALID, batch)
        with pytest.raises(InputError, match=message):
            train(run(tmp_path / "run"), *given, devices=seven)
    assert not (tmp_path / "run").exists()


def test_a_state_of_another_network_is_refused(learnt, crops, tmp_path):
    _, model, _ = learnt
    shapes = [variable.shape for variable in model.variables]
    given = batches(crops, TRAIN, 12), batches(crops, VALID, 6)
    for variables in ([np.zeros(3)], [np.zeros(shape, np.float32) for shape in (*shapes, 3)]):
        run(tmp_path).keep([model], TrainingState(variables, {"loss": [1.0]}, False), best=False)
        with pytest.raises(InputError, match=rf"state\.h5: damaged; delete {tmp_path} to begin"):
            train(run(tmp_path), *given)


def test_a_folder_where_another_is_training_is_refused(crops, tmp_path):
    given = batches(crops, TRAIN, 12), batches(crops, VALID, 6)
    with run(tmp_path).locked(), pytest.raises(InputError, match="another process is at work"):
        train(run(tmp_path), *given)
    assert not list(tmp_path.glob("*.*"))


def test_an_array_is_written_again_only_when_nobody_holds_it():
    arrays = _Arrays()
    held = arrays.take((2, 3))
    view, other = held[0], arrays.take((2, 3))
    assert not np.shares_memory(held, other)
    del held
    assert not np.shares_memory(view, arrays.take((2, 3)))  # a view holds it too
    place = view.ctypes.data
    del view, other
    assert {arrays.take((2, 3)).ctypes.data for _ in range(3)} == {place}
    assert arrays.take((1, 3)).shape == (1, 3)


def test_what_keras_is_fed_are_the_batches_of_the_epoch(crops):
    stream = _Stream(batches(crops, TRAIN, 5), Devices(), None)
    for epoch in (0, 1):
        stream.go_to(epoch)
        fed = stream.feed()
        fed = fed if isinstance(fed, _Stream) else fed.as_numpy_iterator()
        pairs = list(zip(fed, range(len(stream)), strict=False))
        assert len(pairs) == len(stream) == 5
        for (x, y), number in pairs:
            wanted = stream.batches[epoch, number]
            assert np.array_equal(x, wanted[0]) and np.array_equal(y, wanted[1])
