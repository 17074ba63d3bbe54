"""Test the training loop: batches, files, learning rate, resuming and rejected inputs."""

import dataclasses
import itertools
import json
import logging
import math
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import InputError
from common.files import exclusive_folder
from data_prep.batches import LabelledBatches
from tests.training import fixtures
from tests.training.fixtures import (
    CLASSES,
    make_batches,
    make_crops,
    make_run,
    read_arrays,
    read_log,
    train_small,
    write_cache,
)
from training import callbacks
from training.checkpoints import TrainingRun, TrainingState
from training.data_placement import BatchStream, Placement, ResidentFrames
from training.devices import Devices

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
TRAIN, VALID = range(24), range(24, 30)  # track numbers
needs_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX takes blocks")


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return make_crops(write_cache(tmp_path_factory.mktemp("cache") / "cache.h5"))


@pytest.fixture(scope="module")
def data(crops):
    """Return the training and validation batches."""
    return make_batches(crops, TRAIN, 12), make_batches(crops, VALID, 6)


@pytest.fixture(scope="module")
def learnt(data, tmp_path_factory):
    """Train a model whose loss decreases; return (folder, model, log)."""
    folder = tmp_path_factory.mktemp("learnt") / "run"
    model = train_small(make_run(folder), *data)
    return folder, model, read_log(folder)


RISING = {"learning_rate": 0.02, "epochs": 30, "plateau": 2, "patience": 5, "dropout": 0.5}


@pytest.fixture(scope="module")
def wrong_labels(crops):
    """Return validation batches with wrong labels, whose loss rises as the model learns."""
    return make_batches(crops, VALID, 4, shift=1)


@pytest.fixture(scope="module")
def visible_decay():
    """Make the learning rate decay large enough to measure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "DECAY", 0.05)
        yield


@pytest.fixture(scope="module")
def rising(crops, wrong_labels, visible_decay, tmp_path_factory):
    """Run a training that triggers the plateau and patience rules; return (folder, log)."""
    folder = tmp_path_factory.mktemp("rising") / "run"
    train_small(make_run(folder), make_batches(crops, TRAIN, 12), wrong_labels, **RISING)
    return folder, read_log(folder)


class Killed(Exception):
    """Exception that simulates a kill during training."""


@dataclass(frozen=True, kw_only=True)
class RecordingBatches(LabelledBatches):
    """Batches that record each request, and raise `Killed` at a chosen one."""

    requested: list
    fails_at: tuple[int, int] | None = None

    def places(self, epoch, number):
        self.requested.append((epoch, number))
        if (epoch, number) == self.fails_at:
            raise Killed
        return super().places(epoch, number)


@dataclass(frozen=True, kw_only=True)
class LateBatches(LabelledBatches):
    """Batches that crop only tracks from the end of the cache in the second epoch."""

    def places(self, epoch, number):
        places, y = super().places(epoch, number)
        late = self.crops.cache.start[27:][: len(y)]
        return late if epoch == 1 else places, y


@dataclass(frozen=True, kw_only=True)
class NumberedBatches(RecordingBatches):
    """Batches whose labels are 100 * epoch + batch number, or NaN in a chosen epoch."""

    nan_epoch: int | None = None

    def places(self, epoch, number):
        places, y = super().places(epoch, number)
        label = math.nan if epoch == self.nan_epoch else 100.0 * epoch + number
        return places, np.full(len(y), label, np.float32)


class LabelLoss(keras.losses.Loss):
    """Loss equal to the label, so that the log reveals which batches were used."""

    def call(self, y_true, y_pred):
        return y_true + 0 * keras.ops.sum(y_pred, axis=-1)


@dataclass(frozen=True, kw_only=True)
class HugeBatches(RecordingBatches):
    """Batches whose labels are 1, except for 1e36 in the second batch of the second epoch."""

    def places(self, epoch, number):
        places, y = super().places(epoch, number)
        return places, np.full(len(y), 1e36 if (epoch, number) == (1, 1) else 1.0, np.float32)


class ScaledLoss(keras.losses.Loss):
    """Loss with a gradient proportional to the label."""

    def call(self, y_true, y_pred):
        return y_true * keras.ops.sum(y_pred**2, axis=-1)


class FailingLoss(keras.losses.Loss):
    """Loss that raises what the backend raises if the device fails."""

    def __init__(self, failure: str):
        super().__init__()
        self.failure = failure

    def call(self, y_true, y_pred):
        no_memory, backend = self.failure == "out of memory", keras.backend.backend()
        if backend == "tensorflow":
            import tensorflow as tf

            kind = tf.errors.ResourceExhaustedError if no_memory else tf.errors.InternalError
            raise kind(None, None, "first line\nsecond line")
        if backend == "jax":
            import jax

            status = "RESOURCE_EXHAUSTED" if no_memory else "INTERNAL"
            raise jax.errors.JaxRuntimeError(f"{status}: first line\nsecond line")
        import torch

        raise torch.OutOfMemoryError() if no_memory else torch.AcceleratorError("first\nsecond", 1)


# ---------------------------------------------------------------- batches


def test_training_batches_change_per_epoch_and_validation_batches_do_not(crops, tmp_path):
    """Test that reading ahead in a thread does not mix up epochs or batches."""
    epochs, sizes = 4, [4, 3, 3]
    train = make_batches(crops, range(10), 4, kind=NumberedBatches, requested=[])
    valid = make_batches(crops, VALID, 3, kind=NumberedBatches, requested=[])
    assert [len(train[0, number][1]) for number in range(len(train))] == sizes
    train.requested.clear()
    train_small(
        make_run(tmp_path), train, valid, epochs=epochs, learning_rate=1e-9, loss=LabelLoss()
    )

    expected = [(epoch, number) for epoch in range(epochs) for number in range(3)]
    # Before the first epoch, Keras reads a few batches to determine their shapes.
    assert train.requested[-len(expected) :] == expected
    assert {epoch for epoch, _ in train.requested[: -len(expected)]} <= {0}
    assert {epoch for epoch, _ in valid.requested} == {0}

    log, mean = read_log(tmp_path), np.average([0, 1, 2], weights=sizes)
    penalty = log["loss"][0] - mean
    assert 0 < penalty < 0.1
    np.testing.assert_allclose(log["loss"] - penalty, 100 * np.arange(epochs) + mean, atol=1e-3)
    np.testing.assert_allclose(log["val_loss"] - penalty, 0.5, atol=1e-3)


def test_stream_does_not_overwrite_batches_in_use(crops):
    """Test that held batches stay intact, although those for TensorFlow share one buffer."""
    stream = BatchStream(make_batches(crops, TRAIN, 5), Devices(), Placement(False, 1))
    for epoch in (0, 1):
        stream.set_epoch(epoch)
        batches = zip(stream.to_keras(), range(len(stream)), strict=False)
        held = [
            ([keras.ops.convert_to_tensor(array) for array in batch], number)
            for batch, number in batches
        ]
        assert len(held) == len(stream) == 5
        for tensors, number in held:
            for tensor, expected in zip(tensors, stream.batches[epoch, number], strict=True):
                np.testing.assert_array_equal(keras.ops.convert_to_numpy(tensor), expected)


@pytest.mark.parametrize("resident", [0, 0.5, 1])
def test_same_seed_is_bit_identical_streamed_or_resident(resident, learnt, data, tmp_path):
    train_small(make_run(tmp_path), *data, resident=resident)
    assert same_files(learnt[0], tmp_path)


@pytest.mark.parametrize("blocks", [False, pytest.param(True, marks=needs_jax)])
def test_weights_do_not_depend_on_the_resident_fraction(blocks, crops, tmp_path):
    """Test uneven batches, and more crops to send in the second epoch than in the first one."""
    train = make_batches(crops, range(23), 6, kind=LateBatches)
    valid = make_batches(crops, VALID, 4)
    assert (len(train), train.larger) == (4, 3)
    for fraction in (0, 0.5):
        folder, steps = tmp_path / f"{fraction}", 2 if blocks else fixtures.STEPS
        settings = {"resident": fraction, "steps": steps, "blocks": blocks, "dropout": 0.3}
        train_small(make_run(folder), train, valid, epochs=2, **settings)
        assert same_files(tmp_path / "0", folder), fraction


def test_each_batch_sends_the_same_number_of_crops_unless_it_needs_more(crops):
    train = make_batches(crops, range(23), 6, kind=LateBatches)
    resident = ResidentFrames(crops, 0.5)
    stream = BatchStream(train, Devices(), Placement(0.5, 1), resident)
    needed = [len(resident.split(train.places(0, number)[0])[1]) for number in range(len(train))]
    assert min(needed) < max(needed) < 5
    for epoch, sent in ((0, [max(needed[:3]) + 1] * 3 + [needed[3] + 1]), (1, [6, 6, 6, 5])):
        stream.set_epoch(epoch)
        assert [len(stream[number][0][1]) for number in range(len(stream))] == sent


@pytest.mark.parametrize(
    "resident",
    [0, *(pytest.param(fraction, marks=pytest.mark.slow) for fraction in (0.5, 1))],
    ids=["streamed", "partial", "resident"],
)
def test_steps_per_call_do_not_change_the_weights(resident, crops, tmp_path):
    """Test two epochs of 100 steps. With JAX, blocks are what an accelerator runs."""
    backend = keras.backend.backend()
    ways = {1} if backend == "torch" else {1, 16, 64}
    anchors, labels = np.tile(np.arange(30), 33)[:981], np.tile(np.arange(30) % CLASSES, 33)[:981]
    train = LabelledBatches(crops, anchors, 10, 5, labels=labels)
    valid = make_batches(crops, VALID, 3)
    assert (len(train), train.larger) == (99, 90)
    expected = None
    for steps, blocks in itertools.product(sorted(ways), (False, True)):
        if blocks and (backend != "jax" or steps == 1):
            continue
        folder = tmp_path / f"{steps}_{blocks}"
        settings = {"resident": resident, "steps": steps, "blocks": blocks, "dropout": 0.3}
        train_small(make_run(folder), train, valid, epochs=2, **settings)
        arrays, log = read_arrays(folder / "last.h5"), read_log(folder)
        assert callbacks.NONFINITE not in str(list(log.columns))
        expected = expected or (arrays, log)
        for array, one_by_one in zip(arrays, expected[0], strict=True):
            np.testing.assert_allclose(array, one_by_one, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(log, expected[1], rtol=1e-4, atol=1e-5)


@needs_jax
@pytest.mark.parametrize("resident", [0, 0.5])
def test_run_killed_within_a_block_resumes_bit_identically(resident, data, tmp_path):
    settings = {"resident": resident, "steps": 2, "blocks": True, "epochs": 3, "dropout": 0.3}
    train_small(make_run(tmp_path / "whole"), *data, **settings)
    train = make_batches(data[0].crops, TRAIN, 12, kind=RecordingBatches, requested=[])
    killed = dataclasses.replace(train, fails_at=(1, len(train) - 1))
    with pytest.raises(Killed):
        train_small(make_run(tmp_path / "part"), killed, data[1], **settings)
    assert len(read_log(tmp_path / "part")) == 1
    train_small(make_run(tmp_path / "part"), train, data[1], **settings)
    assert same_files(tmp_path / "whole", tmp_path / "part")


def same_files(first, second) -> bool:
    """Return whether two runs have bit-identical logs and weights."""
    logs = [(folder / "log.csv").read_bytes() for folder in (first, second)]
    return logs[0] == logs[1] and all(
        np.array_equal(ours, theirs)
        for name in ("best.h5", "last.h5")
        for ours, theirs in zip(*(read_arrays(one / name) for one in (first, second)), strict=True)
    )


# ---------------------------------------------------------------- files


def validation_loss(path, valid) -> float:
    """Return the saved model's cross-entropy plus L2 penalty over all validation tracks."""
    model = fixtures.build_small()
    model.set_weights(read_arrays(path))
    model.compile(loss="sparse_categorical_crossentropy")
    batches = [valid[0, number] for number in range(len(valid))]
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return model.evaluate(x.astype(np.float32), y, verbose=0)


def test_best_and_last_weights_match_their_logged_validation_losses(rising, wrong_labels):
    folder, log = rising
    lowest, last = log["val_loss"].min(), log["val_loss"].iloc[-1]
    assert lowest < 0.9 * last, "best and last are too similar to distinguish"
    assert validation_loss(folder / "best.h5", wrong_labels) == pytest.approx(lowest, rel=1e-4)
    assert validation_loss(folder / "last.h5", wrong_labels) == pytest.approx(last, rel=1e-4)


def test_best_weights_are_the_last_ones_with_a_cosine_schedule(
    crops, wrong_labels, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    settings = {"learning_rate": 0.02, "epochs": 6, "cosine": True}
    train_small(make_run(tmp_path), make_batches(crops, TRAIN, 12), wrong_labels, **settings)
    losses = read_log(tmp_path)["val_loss"]
    last = losses.iloc[-1]
    assert losses.min() < 0.9 * last, "the last weights also have the lowest validation loss"
    assert validation_loss(tmp_path / "best.h5", wrong_labels) == pytest.approx(last, rel=1e-4)
    assert caplog.messages[-1] == f"{tmp_path}: complete, last validation loss {last:.4f}"


def test_complete_run_folder_contains_weights_log_and_record(learnt):
    folder, model, log = learnt
    for ours, theirs in zip(read_arrays(folder / "last.h5"), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    record = json.loads((folder / "run.json").read_text())
    assert record["inputs"] == fixtures.INPUTS and record["backend"] == keras.backend.backend()
    names = {"best.h5", "last.h5", "log.csv", "run.json", "state.h5", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == names
    assert make_run(folder).is_complete()

    columns = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert log.columns[0] == "epoch" and set(log) == columns
    assert list(log["epoch"]) == [1, 2, 3] and np.isfinite(log).all(axis=None)
    assert log["loss"].iloc[-1] < 0.8 * log["loss"][0]
    # The learning rate is float32, which resolves the decay only to within a few per cent.
    decay = 1 - log["learning_rate"] / np.float32(0.01)
    np.testing.assert_allclose(decay, 1e-6 * 2 * log["epoch"], atol=1.5e-7)


# ---------------------------------------------------------------- learning rate


def test_decay_plateau_and_patience_rules_combine(rising):
    """Recompute the learning rate from the validation losses using all three rules."""
    folder, log = rising
    reductions, best, waited = 0, math.inf, 0
    for epoch, loss, rate in zip(log["epoch"], log["val_loss"], log["learning_rate"], strict=True):
        # Keras logs the learning rate before its plateau rule lowers it.
        assert rate == pytest.approx(0.02 * 0.2**reductions / (1 + 0.05 * 2 * epoch), rel=1e-5)
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == 2:
            reductions, waited = reductions + 1, 0
    assert reductions >= 2, "the plateau rule did not apply"
    assert len(log) == 1 + int(log["val_loss"].argmin()) + 5 < 30
    assert make_run(folder).is_complete()


# ---------------------------------------------------------------- resuming


class KilledBeforeState(TrainingRun):
    """Run that is killed after writing an epoch's weights but before its state."""

    def write_epoch(self, models, state, *, best):
        before = (self.folder / "state.h5").read_bytes()
        super().write_epoch(models, state, best=best)
        (self.folder / "state.h5").write_bytes(before)
        raise Killed


class KilledAtEnd(TrainingRun):
    """Run that is killed after the last epoch, before it is marked as complete."""

    def finish(self):
        raise Killed


def test_resume_after_repeated_kills_is_bit_identical(
    rising, crops, wrong_labels, visible_decay, tmp_path, caplog
):
    """Test kills while the rules are still counting epochs, with random dropout."""
    folder, log = rising
    lowest = 1 + int(log["val_loss"].argmin())
    run = make_run(tmp_path)
    caplog.set_level(logging.INFO)

    def resume(run=run, fails_at=None, resident=0) -> list[int]:
        """Train, optionally until a simulated kill; return the epochs after 0 that read batches."""
        train = make_batches(
            crops, TRAIN, 12, kind=RecordingBatches, requested=[], fails_at=fails_at
        )
        try:
            train_small(run, train, wrong_labels, resident=resident, **RISING)
        except Exception as error:  # TensorFlow replaces the original exception
            assert "Killed" in str(error) or isinstance(error, Killed), error
        return sorted({epoch for epoch, _ in train.requested} - {0})

    # Kill within an epoch, when both rules have counted one epoch and the rate is not yet lowered.
    assert resume(fails_at=(lowest + 1, 1)) == list(range(1, lowest + 2))
    assert len(read_log(tmp_path)) == lowest + 1 and not run.is_complete()
    # Kill between the files of an epoch, when the rate has been lowered once.
    assert resume(KilledBeforeState(run.folder, run.inputs, run.save)) == [lowest + 1]
    assert len(read_log(tmp_path)) == lowest + 2
    # Resume with other data placements.
    assert resume(fails_at=(lowest + 3, 0), resident=1)[0] == lowest + 1
    at_end = KilledAtEnd(run.folder, run.inputs, run.save)
    assert resume(at_end, resident=0.5)[0] == lowest + 3
    assert same_files(folder, tmp_path) and not run.is_complete()
    assert resume() == [], "trained after the end"
    assert same_files(folder, tmp_path) and run.is_complete()
    for epoch in (lowest + 1, lowest + 1, lowest + 3):
        assert f"{tmp_path}: resuming after epoch {epoch} of 30" in caplog.messages
    loss = f"{log['val_loss'].min():.4f}"
    assert caplog.messages[-1] == f"{tmp_path}: complete, lowest validation loss {loss}"
    assert resume() == [] and caplog.messages[-1] == f"{tmp_path}: already complete"

    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    # Files of one second are read in the order of their names, in which 10 comes before 9.
    steps = sorted(event.step for event in board.Tensors("val_loss"))
    assert steps == list(log["epoch"])


def test_run_with_more_epochs_equals_one_from_scratch(
    rising, crops, wrong_labels, visible_decay, tmp_path, caplog
):
    """Test each rule: the learning rate is lowered, and training stops, in the later epochs."""
    folder, log = rising
    caplog.set_level(logging.INFO)
    data = make_batches(crops, TRAIN, 12), wrong_labels
    first = 1 + int(log["val_loss"].argmin())
    for epochs in (first, first + 2, RISING["epochs"]):
        train_small(make_run(tmp_path, epochs=epochs), *data, **{**RISING, "epochs": epochs})
        assert len(read_log(tmp_path)) == min(epochs, len(log))
    assert f"{tmp_path}: resuming after epoch {first} of {first + 2}" in caplog.messages
    assert same_files(folder, tmp_path)
    train_small(make_run(tmp_path, epochs=99), *data, **{**RISING, "epochs": 99})
    assert caplog.messages[-1] == f"{tmp_path}: already complete"


# ---------------------------------------------------------------- rejected inputs


def test_diverging_training_is_stopped_with_an_error(crops, tmp_path):
    train = make_batches(crops, TRAIN, 12, kind=RecordingBatches, requested=[])
    with pytest.raises(InputError, match=r"diverged .*; no weights .*lower --learning") as error:
        train_small(
            make_run(tmp_path), train, make_batches(crops, VALID, 6), learning_rate=1e30, epochs=5
        )
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert {path.name for path in tmp_path.iterdir()} == {"tensorboard"}
    assert {epoch for epoch, _ in train.requested} == {0}, "trained on after the loss was NaN"


@pytest.mark.parametrize("steps, blocks", [(1, False), (2, False), (2, True)])
def test_divergence_names_the_first_step_with_nan(steps, blocks, crops, tmp_path):
    """A huge label makes the weights huge, so that the next step's predictions are NaN."""
    backend = keras.backend.backend()
    if (steps > 1 and backend == "torch") or (blocks and backend != "jax"):
        pytest.skip(f"{backend} does not run steps this way")
    train = make_batches(crops, TRAIN, 5, kind=HugeBatches, requested=[])
    with pytest.raises(InputError, match="diverged") as error:
        train_small(
            make_run(tmp_path),
            train,
            make_batches(crops, VALID, 6),
            loss=ScaledLoss(),
            steps=steps,
            blocks=blocks,
        )
    first, *_ = train.anchor_ids(1, 1)
    assert f"infinite after step 2 of epoch 2, on anchors such as {str(first)!r}, " in str(
        error.value
    )
    assert "last.h5 contains the weights after the last completed epoch" in str(error.value)


@pytest.mark.parametrize("kind", ["out of memory", "failed"])
def test_failure_of_the_device_is_one_line_and_keeps_the_last_epoch(kind, data, tmp_path):
    train_small(make_run(tmp_path, epochs=1), *data, epochs=1)
    before = [array.copy() for array in read_arrays(tmp_path / "last.h5")]
    with pytest.raises(InputError, match=kind) as error:
        train_small(make_run(tmp_path, epochs=2), *data, epochs=2, loss=FailingLoss(kind))
    message = str(error.value)
    assert message.startswith(f"{tmp_path}: the CPU") and "\n" not in message
    assert "last.h5 contains the weights after the last completed epoch" in message
    for array, kept in zip(read_arrays(tmp_path / "last.h5"), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_weights_from_before_divergence_are_kept(crops, tmp_path):
    train = make_batches(crops, TRAIN, 12, kind=NumberedBatches, requested=[], nan_epoch=2)
    valid = make_batches(crops, VALID, 6, kind=NumberedBatches, requested=[])
    with pytest.raises(InputError, match=r"diverged .*; last\.h5 contains the weights"):
        train_small(
            make_run(tmp_path), train, valid, learning_rate=1e-9, epochs=5, loss=LabelLoss()
        )
    assert list(read_log(tmp_path)["epoch"]) == [1, 2]
    assert {epoch for epoch, _ in train.requested} == {0, 1, 2}
    assert all(np.isfinite(array).all() for array in read_arrays(tmp_path / "last.h5"))
    assert (tmp_path / "best.h5").exists() and not make_run(tmp_path).is_complete()


@pytest.mark.parametrize(
    "track, resident",
    [("t17", 0), ("t27", 0), ("t27", 1), ("t1", 0.5), ("t27", 0.5)],
    ids=["train", "valid", "resident", "partial", "partial, streamed"],
)
def test_error_names_the_track_that_contains_nan(track, resident, tmp_path):
    crops = make_crops(write_cache(tmp_path / "cache.h5", nan_track=int(track[1:])))
    data = make_batches(crops, TRAIN, 12), make_batches(crops, VALID, 2)
    with pytest.raises(InputError, match=rf"cache\.h5: '{track}' .*delete the cache"):
        train_small(make_run(tmp_path / "run"), *data, resident=resident)
    assert not list((tmp_path / "run").glob("*.h5"))


def test_more_devices_than_tracks_are_rejected(crops, tmp_path):
    devices = Devices("cpu", 7)
    for size, tracks in ((6, 24), (12, 6)):
        data = make_batches(crops, TRAIN, size), make_batches(crops, VALID, size)
        message = f"subset of {tracks} tracks, or --batch-size {size}, is too small for 7 CPUs"
        with pytest.raises(InputError, match=message):
            train_small(make_run(tmp_path / "run"), *data, devices=devices)
    assert not (tmp_path / "run").exists()


def test_state_of_a_different_network_is_rejected(learnt, data, tmp_path):
    _, model, _ = learnt
    shapes = [variable.shape for variable in model.variables]
    for variables in ([np.zeros(3)], [np.zeros(shape, np.float32) for shape in (*shapes, 3)]):
        state = TrainingState(variables, {"loss": [1.0]}, stopped=False)
        make_run(tmp_path).write_epoch([model], state, best=False)
        with pytest.raises(InputError, match=rf"state\.h5: damaged; delete {tmp_path} to train"):
            train_small(make_run(tmp_path), *data)


def test_locked_folder_is_rejected(data, tmp_path):
    run = make_run(tmp_path)
    with (
        exclusive_folder(run.folder),
        pytest.raises(InputError, match="another process is at work"),
    ):
        train_small(run, *data)
    assert not list(tmp_path.glob("*.*"))
