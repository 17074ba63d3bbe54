"""Test run folders: restoring, rejecting and recording."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from tests.training.fixtures import build_small, make_run
from training.checkpoints import TrainingState
from training.config import training_inputs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
# The columns are not in alphabetical order, and one value has no short decimal representation.
HISTORY = {"loss": [3.0, 1 / 3], "accuracy": [0.1, 0.2], "val_loss": [2.0, 2.5]}
STATE = TrainingState(
    [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.ones(2, np.uint32)],
    HISTORY,
    stopped=False,
)


@pytest.fixture(scope="module")
def model():
    return build_small()


@pytest.fixture
def unfinished(model, tmp_path):
    """Return a run with two completed epochs."""
    run = make_run(tmp_path / "run")
    run.write_epoch([model], STATE, best=True)
    return run


@pytest.mark.parametrize("stopped", [False, True])
def test_state_is_restored_exactly(stopped, model, unfinished):
    unfinished.write_epoch([model], replace(STATE, stopped=stopped), best=False)
    state = unfinished.read_state()
    assert list(state.history.items()) == list(HISTORY.items())
    assert (state.stopped, state.epochs) == (stopped, 2)
    for ours, theirs in zip(state.variables, STATE.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape


def test_log_starts_with_the_epoch_and_keeps_the_column_order(unfinished):
    assert (unfinished.folder / "log.csv").read_text().splitlines() == [
        "epoch,loss,accuracy,val_loss",
        "1,3.0,0.1,2.0",
        "2,0.3333333333333333,0.2,2.5",
    ]


def test_finished_run_keeps_the_state_from_which_more_epochs_continue(model, tmp_path):
    folder = tmp_path / "run"
    run = make_run(folder)
    assert run.read_state() is None
    run.write_epoch([model], STATE, best=False)
    assert {path.name for path in folder.iterdir()} == {"last.h5", "log.csv", "state.h5"}
    run.write_epoch([model], STATE, best=True)
    assert not run.is_complete()
    run.finish()
    assert run.is_complete() and run.read_state().epochs == 2
    names = {path.name for path in folder.iterdir()}
    assert names == {"best.h5", "last.h5", "log.csv", "run.json", "state.h5"}
    run.write_epoch([model], STATE, best=True)
    assert not run.is_complete()


def test_lock_is_deleted_after_a_kill_late_in_the_run(unfinished):
    unfinished.finish()
    (unfinished.folder / "lock").touch()
    assert unfinished.is_complete() and not (unfinished.folder / "lock").exists()


@pytest.mark.parametrize("finished", [False, True])
def test_run_accepts_more_epochs_and_refuses_fewer_than_it_contains(finished, model, tmp_path):
    folder = tmp_path / "run"
    run = make_run(folder, epochs=2)
    run.write_epoch([model], STATE, best=True)
    if finished:
        run.finish()
    assert run.is_complete() == finished
    assert not make_run(folder, epochs=3).is_complete()
    message = "run: contains 2 epochs of training, more than the 1 requested; request 2 or more"
    with pytest.raises(InputError, match=message):
        make_run(folder, epochs=1).is_complete()
    with pytest.raises(InputError, match=r"settings\.rate: 0\.01 -> 0\.1\)"):
        make_run(folder, epochs=3, rate=0.1).is_complete()


def test_run_that_a_rule_has_stopped_is_complete_with_other_epochs(model, tmp_path):
    run = make_run(tmp_path / "run", epochs=2)
    run.write_epoch([model], replace(STATE, stopped=True), best=True)
    run.finish()
    assert make_run(tmp_path / "run", epochs=9).is_complete()


def test_run_without_its_state_does_not_continue(model, tmp_path):
    run = make_run(tmp_path / "run", epochs=2)
    run.write_epoch([model], STATE, best=True)
    run.finish()
    (run.folder / "state.h5").unlink()
    assert run.is_complete()
    for epochs in (1, 3):
        with pytest.raises(InputError, match=r"with 2 epochs, and its state.h5, .*another --out"):
            make_run(run.folder, epochs=epochs).is_complete()


def test_run_with_different_settings_is_rejected_whether_complete_or_not(unfinished, tmp_path):
    """The folder contains only some of the files, as it might after a kill."""
    (unfinished.folder / "last.h5").rename(unfinished.folder / "best.h5")
    for _ in range(2):
        with pytest.raises(InputError, match=r"run: already .*settings\.rate: 0\.01 -> 0\.1"):
            make_run(unfinished.folder, rate=0.1).is_complete()
        unfinished.finish()
    assert not make_run(tmp_path / "new", rate=0.1).is_complete()


@pytest.mark.parametrize("fraction", [0, 0.001, 0.3, 0.999])
def test_truncated_state_is_rejected(fraction, unfinished):
    path = unfinished.folder / "state.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    for read in (unfinished.read_state, unfinished.is_complete):
        with pytest.raises(InputError) as error:
            read()
        message = str(error.value)
        assert message.startswith(str(path)) and "\n" not in message
        assert message.endswith(f"; delete {unfinished.folder} to train from scratch")


@pytest.mark.parametrize("name", ["variables", "history", "finished"])
def test_incomplete_state_is_rejected(name, unfinished):
    with h5py.File(unfinished.folder / "state.h5", "a") as file:
        del (file.attrs if name == "finished" else file)[name]
    with pytest.raises(InputError, match=rf"state\.h5: .*{name}"):
        unfinished.read_state()


@pytest.mark.parametrize("values", [[np.nan, 1.0], [1.0], 1.0, np.ones((2, 2))])
def test_damaged_history_is_rejected(values, unfinished):
    with h5py.File(unfinished.folder / "state.h5", "a") as file:
        del file["history/val_loss"]
        file["history/val_loss"] = values
    with pytest.raises(InputError, match=r"state\.h5: history is damaged; delete"):
        unfinished.read_state()


def test_damaged_record_is_rejected(unfinished):
    with h5py.File(unfinished.folder / "state.h5", "a") as file:
        file.attrs["made_from"] = '{"inputs": [1]}'
    with pytest.raises(InputError, match=r"state\.h5: made_from is damaged; delete"):
        unfinished.is_complete()


def test_training_inputs_record_split_cache_settings_and_initial_weights(small_corpus, tmp_path):
    split, cache = split_csv.read_split(small_corpus[0]), MelCache(small_corpus[2])
    folder = tmp_path / "name"
    inputs = training_inputs(folder, "basic", split, cache, {"rate": 1})
    assert (inputs["name"], inputs["model"], inputs["artists"]) == ("name", "basic", 4)
    assert inputs["cache"] == cache.made_from["inputs"] and inputs["settings"] == {"rate": 1}
    assert json.loads(json.dumps(inputs)) == inputs
    changed = split.assign(artist=split["artist"][::-1].to_numpy())
    assert training_inputs(folder, "basic", changed, cache, {})["split"] != inputs["split"]
    assert training_inputs(folder, "tag", split, cache, {})["artists"] is None
    with_start = training_inputs(folder, "basic", split, cache, {"rate": 1}, {"sha256": "0"})
    assert with_start == {**inputs, "start_from": {"sha256": "0"}}
