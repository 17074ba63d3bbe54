"""Trainings as they happen: stopped, gone on with, by other means, and from what will not do."""

import importlib.util
import json
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest

from common.files import file_sha256
from data_prep import split_csv
from models import pretrained
from tests.conftest import error_of, run_script, run_two_at_a_time, start_script

# On the CPU, where the same training gives the same bytes.
CPU = {"CUDA_VISIBLE_DEVICES": "-1"}
run_script, error_of, start_script = (
    partial(function, **CPU) for function in (run_script, error_of, start_script)
)

MODELS = {
    "basic": ("train_basic.py", "--rate", 2e-3),
    "siamese": ("train_siamese.py", "--rate", 0.01, "--negatives", 2),
}
# The lowest loss comes at epoch 3, and the end, by patience, at 7; in between the rate falls.
SETTINGS = ("--epochs", 30, "--batch", 4, "--dropout", 0.3, "--plateau", 1, "--patience", 4)
WEIGHTS = ("best.h5", "last.h5")

KILLED = """
import os, runpy, signal, sys, threading

name, count, moment, *sys.argv = sys.argv[1:]
replace, seen = os.replace, 0


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def watched(source, target):
    global seen
    seen += os.path.basename(target) == name
    if seen == int(count) and moment == "before":
        die()
    replace(source, target)
    if seen == int(count) and moment == "after":
        die()
    if seen == int(count):
        threading.Timer(float(moment), die).start()


os.replace = watched
runpy.run_path(sys.argv[0], run_name="__main__")
"""

LATE = """
import runpy, shutil, sys
from common import files

finished, *sys.argv = sys.argv[1:]
make_folder = files.make_folder


def late(folder):
    files.make_folder = make_folder
    shutil.copytree(finished, folder)
    make_folder(folder)


files.make_folder = late
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Where the outputs of this module go."""
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def commands(small_corpus) -> dict:
    """{model: function of the run's folder, and more options, to a command}."""
    split, _, cache = small_corpus

    def command(model, out, *more):
        script, *own = MODELS[model]
        return script, split, cache, "--out", out, *own, *SETTINGS, *more

    return {model: partial(command, model) for model in MODELS}


@pytest.fixture(scope="module")
def whole(commands, place) -> dict[str, Path]:
    """{model: the folder of a training that nothing disturbed}."""
    folders = {model: place / "whole" / model for model in MODELS}
    run_two_at_a_time(run_script, *(commands[model](folder) for model, folder in folders.items()))
    for folder in folders.values():
        log = pd.read_csv(folder / "log.csv")
        assert 5 < len(log) < 30, "patience did not end it, or too early for the tests below"
        assert log["val_loss"].idxmin() > 0
        assert log["learning_rate"].iloc[-1] < 0.1 * log["learning_rate"].iloc[0]
    return folders


def contents(folder: Path) -> dict[str, str]:
    """What a run's folder holds; TensorBoard's files have the time in them."""
    return {path.name: file_sha256(path) for path in folder.iterdir() if path.name != "tensorboard"}


# ---------------------------------------------------------------- stopped and gone on with


def killed(name: str, count: int, moment: str | float, *command) -> None:
    """Run a script that is killed when it puts file `name` in place for the `count`th time.

    That is before it does so, after, or so many seconds later.
    """
    process = start_script("-c", KILLED, name, count, moment, *command)
    out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, out + err


def killed_between_files(command, folder: Path) -> None:
    """Between those of one epoch, which belong together, and where the watchers have counted."""
    killed("last.h5", 3, "before", *command(folder))
    killed("state.h5", 4, "before", *command(folder))
    assert len(pd.read_csv(folder / "log.csv")) == 6
    # What a training comes to does not depend on the means, and these may change on the way.
    ran = run_script(*command(folder, "--data", "resident", "--steps-per-call", 3))
    assert "frames on the device, 3 steps per call" in ran.lines[0]
    assert ran.lines[1] == f"{folder}: going on after epoch 5 of 30"


def killed_somewhere_and_at_the_end(command, folder: Path) -> None:
    """Within an epoch; when all is trained, but not said so; and when that is said."""
    killed("log.csv", 2, 0.05, *command(folder))
    assert not (folder / "run.json").exists()
    killed("run.json", 1, "before", *command(folder))
    assert (folder / "state.h5").exists() and not (folder / "run.json").exists()
    killed("run.json", 1, "after", *command(folder))
    assert run_script(*command(folder)).out == f"{folder}: complete already\n"


@pytest.fixture(scope="module")
def went_on(commands, place) -> dict[str, Path]:
    """{model: the folder of a training that was killed several times, and went on to the end}."""
    folders = {model: place / "killed" / model for model in MODELS}
    run_two_at_a_time(
        lambda chain, model: chain(commands[model], folders[model]),
        (killed_between_files, "basic"),
        (killed_somewhere_and_at_the_end, "siamese"),
    )
    return folders


@pytest.mark.parametrize("model", MODELS)
def test_a_training_that_was_killed_comes_to_the_same_end(whole, went_on, model):
    found, wanted = contents(went_on[model]), contents(whole[model])
    assert wanted.keys() == {*WEIGHTS, "log.csv", "run.json"}
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("model", MODELS)
def test_nothing_else_is_left_of_a_kill(whole, went_on, model):
    assert contents(went_on[model]).keys() == contents(whole[model]).keys()


def test_a_training_that_ends_while_another_begins_is_not_undone(commands, whole, place):
    """The other one is complete, and its lock gone, between our look at the folder and our lock."""
    folder = place / "late" / "siamese"
    run_script("-c", LATE, whole["siamese"], *commands["siamese"](folder))
    for path in whole["siamese"].iterdir():  # copied as old as they are
        assert (folder / path.name).stat().st_mtime_ns == path.stat().st_mtime_ns, path.name
    assert contents(folder) == contents(whole["siamese"])


# ---------------------------------------------------------------- the same again


def test_same_seed_same_bytes_by_whatever_means(commands, whole, place):
    means = {
        (): "crops streamed from the mapped cache, 16 steps per call",
        ("--steps-per-call", 1): "crops streamed from the mapped cache, 1 step per call",
        ("--steps-per-call", 3, "--data", "resident"): "frames on the device, 3 steps per call",
    }
    folders = [place / f"means{number}" / "siamese" for number in range(len(means))]
    given = zip(folders, means, strict=True)
    ran = run_two_at_a_time(
        run_script, *(commands["siamese"](folder, *more) for folder, more in given)
    )
    for folder, said, one in zip(folders, means.values(), ran, strict=True):
        assert one.lines[0] == f"{folder}: on the CPU (tensorflow), float32, {said}"
        assert contents(folder) == contents(whole["siamese"])


def test_tensorboard_has_the_numbers_of_the_log(whole):
    from tensorboard.backend.event_processing import event_accumulator, tag_types

    board = event_accumulator.EventAccumulator(
        str(whole["siamese"] / "tensorboard"), {tag_types.TENSORS: 0}
    )
    board.Reload()
    log = pd.read_csv(whole["siamese"] / "log.csv", index_col="epoch")
    assert set(board.Tags()["tensors"]) == set(log.columns)
    for name, values in log.items():
        found = {one.step: one.tensor_proto.float_val[0] for one in board.Tensors(name)}
        assert found == values.astype(np.float32).to_dict()


# ---------------------------------------------------------------- fewer artists, other weights


def shifted(trained: Path, to: Path) -> Path:
    """A copy of a weights file, as if normalised with another cache's mean and std."""
    shutil.copy(trained, to)
    with h5py.File(to, "r+") as file:
        file.attrs["mean"], file.attrs["std"] = file.attrs["mean"] + 0.01, file.attrs["std"] * 1.1
    return to


def test_fewer_artists_and_a_start_from_weights(commands, whole, small_corpus, place):
    few, tuned = place / "few", place / "tuned"
    given = shifted(whole["siamese"] / "last.h5", place / "weights.h5")
    run_two_at_a_time(
        run_script,
        commands["basic"](few, "--artists", 3),
        commands["siamese"](tuned, "--start-from", given),
    )

    made_from = json.loads((few / "run.json").read_text())["inputs"]
    assert made_from["artists"] == made_from["settings"]["artists"] == 3
    assert "start_from" not in made_from
    with h5py.File(few / "best.h5") as file:
        assert file["model_weights/classes/classes/kernel:0"].shape == (256, 3)

    lost, before = (pd.read_csv(one / "log.csv")["loss"][0] for one in (tuned, whole["siamese"]))
    assert lost < 0.6 * before
    start_from = json.loads((tuned / "run.json").read_text())["inputs"]["start_from"]
    loaded = pretrained.load_weights(str(given))
    assert start_from == loaded.provenance and start_from["sha256"] == file_sha256(given)
    for name in WEIGHTS:
        kept = pretrained.load_weights(str(tuned / name))
        assert (
            (kept.mean, kept.std)
            == (loaded.mean, loaded.std)
            == (start_from["mean"], start_from["std"])
        )

    no_weights = place / "none.h5"
    no_weights.write_text("no weights")
    other, none = run_two_at_a_time(
        error_of,
        commands["siamese"](tuned),
        commands["basic"](place / "none", "--start-from", no_weights),
    )
    assert str(tuned) in other and "start_from: " in other and "choose another --out" in other
    assert re.match(f"error: {no_weights}: not an HDF5 file, .*; make it or download it", none)
    assert not (place / "none").exists()


# ---------------------------------------------------------------- what will not do


def changed(cache: Path, to: Path, change) -> Path:
    """A copy of a mel cache in which `change` of the open file has changed something."""
    shutil.copy(cache, to)
    with h5py.File(to, "r+") as file:
        change(file)
    return to


def hop_of_256(file: h5py.File) -> None:
    file.attrs["front_end"] = file.attrs["front_end"].replace('"hop": 512', '"hop": 256')


def test_what_cannot_be_trained_on_is_said_at_once(small_corpus, place):
    split, _, cache = small_corpus
    table = split_csv.read_split(split)

    def other_split(name, changed):
        changed.to_csv(place / f"{name}.csv", index=False)
        return place / f"{name}.csv"

    strange = other_split("strange", table.assign(track_id=table["track_id"] + "x"))
    alone = other_split("alone", table[table["artist"].eq(table["artist"][0])])
    songs = table["artist"].eq(table["artist"][0]) & table["subset"].eq("train")
    lonely = other_split("lonely", table[~songs | ~songs.duplicated()])
    hop = changed(cache, place / "hop.h5", hop_of_256)
    basic, siamese, out = "train_basic.py", "train_siamese.py", ("--out", place / "never")
    cases = {
        (basic, strange, cache): (cache, "lacks 20 of 20 tracks, .*; cache this split with"),
        (siamese, split, hop): (hop, r"hop: 256 -> 512\); make the cache again with"),
        (basic, alone, cache): (alone, "all tracks are by one artist; add tracks of other artists"),
        (siamese, split, cache, "--artists", 1): (split, "all tracks are by one artist"),
        (basic, split, cache, "--artists", 5): (split, "has 4 artists, not 5; ask for fewer"),
        (siamese, lonely, cache): (lonely, "has one track, .*; add tracks, or remove"),
    }
    messages = run_two_at_a_time(error_of, *((*case[:3], *out, *case[3:]) for case in cases))
    for (file, said), message in zip(cases.values(), messages, strict=True):
        assert re.match(f"error: .*{said}", message), message
        assert str(file) in message
    assert not (place / "never").exists()


@pytest.fixture(scope="module")
def unfinished(small_corpus, place) -> SimpleNamespace:
    """A training that was killed after some epochs, in `folder`; and the end of its command.

    While it went on, another one was tried in its folder, and was told `meanwhile`.
    """
    split, _, cache = small_corpus
    folder = place / "unfinished"
    command = ("train_basic.py", split, cache, "--batch", 4, "--out", folder)
    process = start_script(*command)
    try:
        while not (folder / "state.h5").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        meanwhile = error_of(*command)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    return SimpleNamespace(folder=folder, command=command[:-1], meanwhile=meanwhile)


def test_two_trainings_at_once_in_one_folder(unfinished):
    assert re.fullmatch(
        f"error: {unfinished.folder}: another process is at work here; wait for it, "
        "or choose another --out\n",
        unfinished.meanwhile,
    )


@pytest.fixture
def copies(unfinished, tmp_path):
    """A maker of copies of that folder; the lock in it is of one that is no more."""
    without = shutil.ignore_patterns("lock")
    return lambda name: shutil.copytree(
        unfinished.folder, tmp_path / name / "unfinished", ignore=without
    )


def test_an_unfinished_training_is_not_spoilt(unfinished, copies):
    """Neither by other settings nor, where its state is damaged, by a new beginning."""
    others, damaged = copies("others"), copies("damaged")
    state = damaged / "state.h5"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    before = contents(others), contents(damaged)
    changed, cut = run_two_at_a_time(
        error_of,
        (*unfinished.command, others, "--rate", 0.5, "--artists", 4, "--precision", "mixed"),
        (*unfinished.command, damaged),
    )
    assert str(others) in changed and "choose another --out, or delete it" in changed
    for difference in ("rate: 0.015 -> 0.5", "artists: null -> 4", 'ion: "float32" -> "mixed"'):
        assert difference in changed
    assert re.match(f"error: {state}: .*damaged", cut)
    assert (contents(others), contents(damaged)) == before
    assert f"delete {damaged} to begin anew" in cut


def damage(track: str, value: float):
    def change(file: h5py.File) -> None:
        row = file["track_id"].asstr()[()].tolist().index(track)
        first = file["start"][row]
        file["frames"][first : first + file["length"][row]] = value

    return change


def test_a_damaged_track_stops_the_training(unfinished, copies, small_corpus, tmp_path):
    """In the midst of a training that goes on; and where only validation meets it."""
    split, _, cache = small_corpus
    table = split_csv.read_split(split)
    trained, validated = (
        table["track_id"][table["subset"].eq(name).idxmax()] for name in ("train", "valid")
    )
    midst = changed(cache, tmp_path / "midst.h5", damage(trained, np.nan))
    first = changed(cache, tmp_path / "first.h5", damage(validated, np.inf))
    going_on, new = copies("going_on"), tmp_path / "new"
    before = contents(going_on)
    script, _, _, *options = unfinished.command
    messages = run_two_at_a_time(
        error_of, (script, split, midst, *options, going_on), (script, split, first, *options, new)
    )
    for message, file, track, kept in zip(
        messages,
        (midst, first),
        (trained, validated),
        ("last.h5 is of the epoch before", "no weights are kept"),
        strict=True,
    ):
        assert message == (
            f"error: {file}: {track!r} contains NaN or infinity; delete the cache and make it "
            f"again, or remove the track from the split; {kept}\n"
        )
    assert contents(going_on) == before
    assert {path.name for path in new.iterdir()} <= {"tensorboard"}


def test_a_rate_that_explodes(small_corpus, tmp_path):
    """At once; and after an epoch, of which the weights are kept."""
    split, _, cache = small_corpus
    at_once, later = tmp_path / "at_once", tmp_path / "later"
    messages = run_two_at_a_time(
        error_of,
        ("train_siamese.py", split, cache, "--out", at_once, "--rate", 1e30),
        ("train_basic.py", split, cache, "--out", later, "--rate", 1e3),
    )
    again = "train again with a lower --rate"
    assert messages == [
        f"error: {at_once}: the loss is no longer a number; no weights are kept; {again}\n",
        f"error: {later}: the loss is no longer a number; last.h5 is of the epoch before; {again} "
        "into another folder\n",
    ]
    assert {path.name for path in at_once.iterdir()} <= {"tensorboard"}
    assert np.isfinite(pd.read_csv(later / "log.csv").to_numpy()).all()
    for name in WEIGHTS:
        pretrained.load_weights(str(later / name))  # which takes finite ones only


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_backend_that_cannot_share_a_training(commands, tmp_path):
    command = commands["basic"](tmp_path / "run", "--distribute")
    message = error_of(*command, KERAS_BACKEND="torch")
    assert message == (
        "error: --distribute: not with torch; set KERAS_BACKEND to jax or tensorflow\n"
    )
    assert not (tmp_path / "run").exists()
