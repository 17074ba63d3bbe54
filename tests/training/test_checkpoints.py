"""The folder of a training: what comes back from it, and when it is refused."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from common.provenance import make_record
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from models import pretrained
from models.basic import build_basic
from tests.training.fixtures import CLASSES, MEAN, STD, run
from training.checkpoints import TrainingState
from training.inputs import training_inputs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
# The columns are in no order of the alphabet, and one value is no short decimal.
HISTORY = {"loss": [3.0, 1 / 3], "accuracy": [0.1, 0.2], "val_loss": [2.0, 2.5]}
STATE = TrainingState(
    [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.ones(2, np.uint32)],
    HISTORY,
    finished=False,
)


@pytest.fixture(scope="module")
def model(encoder):
    return build_basic(encoder, CLASSES, "softmax", mean=MEAN, std=STD)


@pytest.fixture
def unfinished(model, tmp_path):
    """A run of which two epochs are done."""
    made = run(tmp_path / "run")
    made.keep([model], STATE, best=True)
    return made


def other(folder):
    """A run into the same folder from other settings."""
    return run(folder, rate=0.1)


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize("finished", [False, True])
def test_state_comes_back_as_it_was(finished, model, unfinished):
    unfinished.keep([model], replace(STATE, finished=finished), best=False)
    found = unfinished.state()
    assert list(found.history.items()) == list(HISTORY.items())
    assert (found.finished, found.epochs) == (finished, 2)
    for ours, theirs in zip(found.variables, STATE.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape


def test_no_state_where_nothing_was_begun(tmp_path):
    assert run(tmp_path).state() is None
    assert run(tmp_path / "new").state() is None


def test_log_has_the_columns_in_their_order_after_the_epoch(unfinished):
    lines = (unfinished.folder / "log.csv").read_text().splitlines()
    assert lines == [
        "epoch,loss,accuracy,val_loss",
        "1,3.0,0.1,2.0",
        "2,0.3333333333333333,0.2,2.5",
    ]


def test_best_is_written_when_told_and_last_always(model, tmp_path):
    folder = tmp_path / "run"
    run(folder).keep([model], STATE, best=False)
    assert {path.name for path in folder.iterdir()} == {"last.h5", "log.csv", "state.h5"}
    run(folder).keep([model], STATE, best=True)
    for name in ("best.h5", "last.h5"):
        found = pretrained.load_weights(str(folder / name))
        assert (found.name, found.mean, found.std) == ("run", MEAN, STD)


def test_finish_declares_it_complete_and_drops_the_state(unfinished):
    assert not unfinished.is_complete()
    unfinished.finish()
    assert unfinished.is_complete() and unfinished.state() is None
    names = {path.name for path in unfinished.folder.iterdir()}
    assert names == {"best.h5", "last.h5", "log.csv", "run.json"}
    assert len(pd.read_csv(unfinished.folder / "log.csv")) == 2


# ---------------------------------------------------------------- what is refused


def test_what_a_kill_at_the_end_can_leave_is_taken_away(unfinished):
    left = {name: unfinished.folder / name for name in ("state.h5", "lock")}
    state = left["state.h5"].read_bytes()
    unfinished.finish()
    for path in left.values():
        path.write_bytes(state)
    assert unfinished.is_complete()
    assert not any(path.exists() for path in left.values())


def test_run_from_other_settings_is_refused_finished_or_not(unfinished, tmp_path):
    """Whichever of its files a kill in the middle of writing them has left there."""
    (unfinished.folder / "last.h5").rename(unfinished.folder / "best.h5")
    for _ in range(2):
        with pytest.raises(InputError, match=r"run: already .*settings\.rate: 0\.01 -> 0\.1"):
            other(unfinished.folder).is_complete()
        unfinished.finish()
    assert not other(tmp_path / "new").is_complete()


def test_state_cut_short_anywhere_is_refused(unfinished):
    path = unfinished.folder / "state.h5"
    content = path.read_bytes()
    for share in (0, 0.001, 0.3, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        for read in (unfinished.state, unfinished.is_complete):
            with pytest.raises(InputError) as error:
                read()
            message = str(error.value)
            assert message.startswith(str(path)) and "\n" not in message
            assert message.endswith(f"; delete {unfinished.folder} to begin anew")


@pytest.mark.parametrize("lost", ["variables", "history", "finished"])
def test_state_that_lacks_something_is_refused(lost, unfinished):
    with h5py.File(unfinished.folder / "state.h5", "a") as file:
        del (file.attrs if lost == "finished" else file)[lost]
    with pytest.raises(InputError, match=rf"state\.h5: .*{lost}"):
        unfinished.state()


def test_state_is_not_read_from_elsewhere(unfinished, tmp_path):
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["private"] = np.zeros((2, 3), np.float32)
    with h5py.File(unfinished.folder / "state.h5", "a") as file:
        del file["variables/000"]
        file["variables/000"] = h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), "private")
    with pytest.raises(InputError, match=r"state\.h5: 000 is a link"):
        unfinished.state()


def test_only_one_at_a_time(tmp_path):
    folder = tmp_path / "run"
    with run(folder).locked():
        with (
            pytest.raises(InputError, match=r"run: another process is at work"),
            run(folder).locked(),
        ):
            pass
        assert (folder / "lock").exists(), "who was refused took the other's lock away"
    with pytest.raises(ZeroDivisionError), run(folder).locked():
        raise ZeroDivisionError
    assert list(folder.iterdir()) == []
    with run(folder).locked():
        pass


# ---------------------------------------------------------------- what it is made from


def test_inputs_tell_split_cache_and_settings(small_corpus, tmp_path):
    split_path, _, cache_path = small_corpus
    split, cache = split_csv.read_split(split_path), MelCache(cache_path)
    found = training_inputs(tmp_path / "name", "basic", split, cache, {"rate": 1})
    assert (found["name"], found["model"], found["artists"]) == ("name", "basic", 4)
    assert found["cache"] == cache.made_from["inputs"] and found["settings"] == {"rate": 1}
    assert make_record(json.loads(json.dumps(found)))["inputs"] == found  # survives its file
    changed = split.assign(artist=split["artist"][::-1].to_numpy())
    assert (
        training_inputs(tmp_path / "name", "basic", changed, cache, {})["split"] != found["split"]
    )
    assert training_inputs(tmp_path / "name", "tag", split, cache, {})["artists"] is None


def test_inputs_tell_the_weights_it_starts_from(small_corpus, encoder, tmp_path):
    """By what they are, not by where they lie."""
    split, cache = split_csv.read_split(small_corpus[0]), MelCache(small_corpus[2])
    path = tmp_path / "best.h5"
    model = build_basic(encoder, CLASSES, "softmax", mean=0.1, std=0.4)
    inputs = {"name": "first", "model": "basic", "artists": CLASSES}
    pretrained.save_weights(path, model, mean=0.1, std=0.4, made_from={"inputs": inputs})
    start = pretrained.load_weights(str(path))
    bare, found = (
        training_inputs(tmp_path / "run", "tag", split, cache, {}, about)
        for about in (None, start.provenance)
    )
    assert found == {**bare, "start_from": start.provenance}
    moved = path.rename(tmp_path / "moved.h5")
    again = pretrained.load_weights(str(moved))
    assert training_inputs(tmp_path / "run", "tag", split, cache, {}, again.provenance) == found
