"""Test complete script runs: killed, resumed, repeated, fine-tuned, or given bad inputs."""

import shutil
import signal
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import train_siamese
from common.files import file_sha256
from data_prep import split_csv
from models.basic import build_basic
from models.encoder import build_encoder
from models.pretrained import save_weights
from tests.conftest import error_in_process, run_in_process, run_script, start_script
from training.config import SiameseConfig, TrainingData

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
# Run on the CPU, where training is bit-reproducible.
CPU = {"CUDA_VISIBLE_DEVICES": "-1"}
MODELS = {
    "basic": ("train_basic.py", "--learning-rate", 2e-3),
    "siamese": ("train_siamese.py", "--learning-rate", 0.01, "--negatives", 2),
}
# The loss is lowest in epoch 3, and patience ends training in epoch 7, after the learning rate was
# lowered.
OPTIONS = ("--epochs", 30, "--batch-size", 4, "--dropout", 0.3, "--plateau", 1, "--patience", 4)

# Runs a script and kills it at the `count`th replacement of the file `name`. The kill comes just
# before the replacement, just after it, or a given number of seconds later.
KILLED = """
import os, runpy, signal, sys, threading

name, count, moment, *sys.argv = sys.argv[1:]
replace, seen = os.replace, 0


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def counting_replace(source, target):
    global seen
    seen += os.path.basename(target) == name
    if seen == int(count) and moment == "before":
        die()
    replace(source, target)
    if seen == int(count):
        die() if moment == "after" else threading.Timer(float(moment), die).start()


os.replace = counting_replace
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    """Return the output folder shared by this module's tests."""
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def commands(small_corpus) -> dict:
    """Return {model: function that builds a command from a run folder and options}."""
    split, _, cache = small_corpus

    def command(model, out, *more):
        script, *own = MODELS[model]
        return script, split, cache, "--out", out, *own, *OPTIONS, *more

    return {model: partial(command, model) for model in MODELS}


@pytest.fixture(scope="module")
def undisturbed(commands, outputs) -> dict[str, Path]:
    """Return {model: folder of an uninterrupted run}."""
    folders = {model: outputs / "undisturbed" / model for model in MODELS}
    for model, folder in folders.items():
        run_script(*commands[model](folder), **CPU)
        log = pd.read_csv(folder / "log.csv")
        assert 5 < len(log) < 30, "patience did not apply, or too early for these tests"
        assert log["val_loss"].idxmin() > 0
        assert log["learning_rate"].iloc[-1] < 0.1 * log["learning_rate"].iloc[0]
    return folders


def hash_files(folder: Path) -> dict[str, str]:
    """Return {file name: sha256}, excluding TensorBoard's files, which contain timestamps."""
    return {path.name: file_sha256(path) for path in folder.iterdir() if path.is_file()}


def read_run(folder: Path) -> dict:
    """Return `hash_files`, with the values in state.h5, whose bytes depend on the session."""
    with h5py.File(folder / "state.h5") as file:
        names = [f"{group}/{name}" for group in ("variables", "history") for name in file[group]]
        values = {name: (file[name].dtype.str, file[name][()].tobytes()) for name in names}
    return {**hash_files(folder), "state.h5": values}


def run_and_kill(name: str, count: int, moment: str | float, *command) -> None:
    """Run a script and kill it as described at KILLED."""
    process = start_script("-c", KILLED, name, count, moment, *command, **CPU)
    out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, out + err


# ---------------------------------------------------------------- killed and resumed


@pytest.mark.slow
def test_resume_after_kills_between_files_is_bit_identical(commands, undisturbed, outputs):
    """The data placement changes when the run resumes."""
    command, folder = commands["basic"], outputs / "killed/basic"
    run_and_kill("last.h5", 3, "before", *command(folder))
    run_and_kill("state.h5", 4, "before", *command(folder))
    assert len(pd.read_csv(folder / "log.csv")) == 6
    result = run_script(*command(folder, "--data", "resident", "--steps-per-call", 3), **CPU)
    assert "frames on the device, 3 steps per call" in result.lines[0]
    assert result.lines[1] == f"{folder}: resuming after epoch 5 of 30"
    assert read_run(folder) == read_run(undisturbed["basic"])


@pytest.mark.slow
def test_resume_after_kills_within_an_epoch_and_at_the_end_is_bit_identical(
    commands, undisturbed, outputs
):
    command, folder = commands["siamese"], outputs / "killed/siamese"
    run_and_kill("log.csv", 2, 0.05, *command(folder))
    assert not (folder / "run.json").exists()
    run_and_kill("run.json", 1, "before", *command(folder))
    assert (folder / "state.h5").exists() and not (folder / "run.json").exists()
    run_and_kill("run.json", 1, "after", *command(folder))
    assert run_script(*command(folder), **CPU).out == f"{folder}: already complete\n"
    assert read_run(folder) == read_run(undisturbed["siamese"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, description",
    [
        (("--steps-per-call", 1), "crops streamed from the mapped cache, 1 step per call"),
        (("--steps-per-call", 3, "--data", "resident"), "frames on the device, 3 steps per call"),
        (("--data", 0.4), "40 % of the frames on the device, 16 steps per call"),
    ],
)
def test_same_seed_is_bit_identical_with_any_placement(
    options, description, commands, undisturbed, tmp_path
):
    folder = tmp_path / "siamese"
    result = run_script(*commands["siamese"](folder, *options), **CPU)
    assert result.lines[0] == f"{folder}: on the CPU (tensorflow), float32, {description}"
    assert read_run(folder) == read_run(undisturbed["siamese"])


def test_targets_of_a_loss_over_a_batch_are_the_artists_of_the_anchors(small_corpus):
    split, _, cache = small_corpus
    data = TrainingData.read(split, cache, None)
    classes, targets = split_csv.artist_classes(data.split, split)
    config = SiameseConfig(loss="supcon", batch_size=4)
    batches = train_siamese._make_batches(
        data, config, data.train, data.train, targets[data.used], split
    )
    artists = data.split.set_index("track_id")["artist"]
    for number in range(len(batches)):
        _, y = batches[0, number]
        assert [classes[n] for n in y] == list(artists[batches.anchor_ids(0, number)])


@pytest.mark.slow
def test_recipe_resumes_bit_identically_although_its_masks_are_random(small_corpus, tmp_path):
    split, _, cache = small_corpus
    recipe = ("--recipe", "best", "--positives", 1, "--epochs", 3, "--batch-size", 4)
    command = ("train_siamese.py", split, cache, *recipe, "--seed", 5, "--out")
    undisturbed, killed = tmp_path / "undisturbed/run", tmp_path / "killed/run"
    run_script(*command, undisturbed, **CPU)
    run_and_kill("state.h5", 2, "after", *command, killed)
    result = run_script(*command, killed, **CPU)
    assert result.lines[1] == f"{killed}: resuming after epoch 2 of 3"
    assert read_run(killed) == read_run(undisturbed)


# ---------------------------------------------------------------- rejected inputs


def change_cache(cache: Path, path: Path, change) -> Path:
    """Copy a mel cache to `path`, apply `change` to the open copy, and return its path."""
    shutil.copy(cache, path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def set_hop(file: h5py.File) -> None:
    file.attrs["front_end"] = file.attrs["front_end"].replace('"hop": 512', '"hop": 256')


def save_basic(path: Path, kind: str = "paper", *, equal_level: bool = False) -> Path:
    """Save a model with an encoder of a kind and return the path."""
    normalisation: dict = {"mean": 0.0, "std": 1.0, "equal_level": equal_level}
    model = build_basic(build_encoder(kind=kind), 2, "softmax", **normalisation)
    save_weights(path, model, **normalisation, made_from={"inputs": {"model": "basic"}})
    return path


def test_unsuitable_training_inputs_are_rejected(small_corpus, tmp_path):
    split, _, cache = small_corpus
    table = split_csv.read_split(split)

    def write_table(name, changed):
        changed.to_csv(tmp_path / f"{name}.csv", index=False)
        return tmp_path / f"{name}.csv"

    unknown = write_table("unknown", table.assign(track_id=table["track_id"] + "x"))
    one_artist = write_table("one_artist", table[table["artist"].eq(table["artist"][0])])
    train = table["artist"].eq(table["artist"][0]) & table["subset"].eq("train")
    one_track = write_table("one_track", table[~train | ~train.duplicated()])
    untagged = write_table("untagged", table.drop(columns="tags"))
    no_albums = write_table("no_albums", table.drop(columns="album", errors="ignore"))
    empty = write_table("empty", table.assign(genre=""))
    no_valid = write_table("no_valid", table[table["subset"].ne("valid")])
    hop = change_cache(cache, tmp_path / "hop.h5", set_hop)
    no_weights = tmp_path / "no_weights.h5"
    no_weights.write_text("no weights")
    basic, siamese, missing = "train_basic.py", "train_siamese.py", tmp_path / "missing"
    supcon, statistics = ("--loss", "supcon"), ("--encoder", "statistics")
    recipe = ("--recipe", "best", "--positives", 1)
    cosine, gain = ("--schedule", "cosine"), ("--augment", "gain")
    paper = save_basic(tmp_path / "paper.h5")
    level = save_basic(tmp_path / "level.h5", "statistics", equal_level=True)
    for (*command, file), words in {
        (basic, unknown, cache, cache): "20 of 20 tracks are missing",
        (siamese, split, hop, hop): "hop: 256 -> 512",
        (basic, one_artist, cache, one_artist): "one artist",
        (siamese, split, cache, "--max-artists", 1, split): "one artist",
        (basic, split, cache, "--artists", 5, split): "has 4 artists, not 5",
        (siamese, one_track, cache, one_track): "has one track",
        (siamese, split, cache, "--negatives", 50, split): "--negatives",
        (siamese, split, cache, *supcon, "--positives", 50, split): "but --positives 50 needs 51",
        (siamese, split, cache, *supcon, "--batch-size", 1, "--batch-size 1"): "at least 2 in each",
        (siamese, one_artist, cache, *supcon, one_artist): "one artist",
        (siamese, no_albums, cache, *supcon, "--other-album", no_albums): "has no column 'album'",
        (siamese, empty, cache, "--same-genre", 0.5, empty): "no track has a value of genre",
        (siamese, split, cache, "--same-genre", 0.5, split): "no track has 4 tracks of its genre",
        (basic, split, cache, "--start-from", paper, *statistics, paper): "with --encoder paper",
        (siamese, split, cache, "--start-from", paper, *recipe, paper): "level --encoder paper",
        (basic, split, cache, "--start-from", level, "--no-equal-level", level): "--equal-level;",
        (basic, split, cache, "--start-from", level, "--encoder", "paper", level): "statistics;",
        (basic, split, cache, "--start-from", level, *gain, "--augment gain"): f"{level} was",
        (basic, split, cache, *cosine, "--plateau", 3, "--plateau"): "--schedule cosine",
        (basic, split, cache, *cosine, "--plateau", 5, "--plateau"): "--schedule cosine",
        (basic, split, cache, *cosine, "--patience", 3, "--patience"): "--schedule cosine",
        (basic, split, cache, *gain, "--equal-level", "--augment gain"): "--equal-level",
        (basic, untagged, cache, "--labels", "tags", untagged): "no column 'tags'",
        (basic, no_valid, cache, no_valid): "subset valid",
        (basic, split, missing, missing): "no such",
        (basic, missing, cache, missing): "no such split",
        (basic, split, cache, "--start-from", no_weights, no_weights): "not an HDF5 file",
    }.items():
        message = error_in_process(*command, "--out", tmp_path / "never")
        assert words in message and str(file) in message, message
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "script, options, words",
    [
        ("basic", ("--loss", "am-softmax", "--labels", "tags"), "a track has several tags"),
        ("basic", ("--loss", "am-softmax", "--margin", 2.1), "differ by at most 2"),
        ("basic", ("--scale", 5), "need --loss am-softmax"),
        ("basic", ("--margin", 0.35), "need --loss am-softmax"),
        ("siamese", ("--loss", "semi-hard", "--margin", 2.1), "differ by at most 2"),
        ("siamese", ("--loss", "semi-hard", "--batch-size", 321), "use at most 320"),
        ("siamese", ("--loss", "supcon", "--temperature", 0), "not a number from 0.001 up"),
        ("siamese", ("--loss", "supcon", "--margin", 0.2), "needs --loss hinge or semi-hard"),
        ("siamese", ("--temperature", 0.2), "needs --loss softmax or supcon"),
        ("siamese", ("--classification", 1), "needs --loss semi-hard or softmax or supcon"),
        ("siamese", ("--loss", "supcon", "--classification", "inf"), "not a finite number from"),
        ("siamese", ("--recipe", "best", "--negatives", 3), "--negatives needs --loss hinge"),
        (
            "siamese",
            ("--recipe", "best", "--loss", "hinge", "--classification", 1),  # the recipe's value
            "--classification needs --loss semi-hard",
        ),
    ],
)
def test_options_that_a_loss_cannot_use_are_refused(script, options, words, small_corpus, tmp_path):
    split, _, cache = small_corpus
    command = (f"train_{script}.py", split, cache, "--out", tmp_path / "never", *options)
    assert words in run_in_process(*command, status=2).err
    assert not (tmp_path / "never").exists()


@pytest.fixture(scope="module")
def killed_run(small_corpus, outputs) -> tuple:
    """Return the folder of a run that was killed after its first epoch, and its command."""
    split, _, cache = small_corpus
    command = ("train_basic.py", split, cache, "--epochs", 2, "--batch-size", 4, "--out")
    run_and_kill("state.h5", 1, "after", *command, outputs / "killed_run")
    return outputs / "killed_run", command


@pytest.fixture
def copy(killed_run, tmp_path) -> Path:
    """Return a copy of the killed run's folder."""
    ignored = shutil.ignore_patterns("lock", "tensorboard")
    return shutil.copytree(killed_run[0], tmp_path / "killed_run", ignore=ignored)


@pytest.mark.slow
def test_killed_run_resumes(killed_run, copy):
    _, command = killed_run
    result = run_in_process(*command, copy)
    assert result.lines[-2] == f"{copy}: resuming after epoch 1 of 2"
    assert result.lines[-1].startswith(f"{copy}: complete, lowest validation loss ")
    assert set(hash_files(copy)) == {"best.h5", "last.h5", "log.csv", "run.json", "state.h5"}
    assert len(pd.read_csv(copy / "log.csv")) == 2


@pytest.mark.slow
def test_unfinished_run_is_not_overwritten(killed_run, copy):
    """Different settings and a damaged state file both raise an error."""
    _, command = killed_run
    options = ("--learning-rate", 0.5, "--max-artists", 4, "--precision", "mixed")
    before = hash_files(copy)
    message = error_in_process(*command, copy, *options)
    assert str(copy) in message and "choose another --out, or delete it" in message
    for difference in ("rate: 0.015 -> 0.5", "artists: null -> 4", 'ion: "float32" -> "mixed"'):
        assert difference in message
    assert hash_files(copy) == before

    state = copy / "state.h5"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    before = hash_files(copy)
    message = error_in_process(*command, copy)
    assert message.startswith(f"error: {state}: ")
    assert f"delete {copy} to train from scratch" in message
    assert hash_files(copy) == before


@pytest.mark.slow
def test_damaged_track_stops_a_resumed_run(killed_run, copy, tmp_path):
    _, (script, split, cache, *options) = killed_run
    table = split_csv.read_split(split)
    track = table["track_id"][table["subset"].eq("train").idxmax()]

    def damage(file: h5py.File) -> None:
        row = file["track_id"].asstr()[()].tolist().index(track)
        first = file["start"][row]
        file["frames"][first : first + file["length"][row]] = np.nan

    damaged = change_cache(cache, tmp_path / "damaged.h5", damage)
    before = hash_files(copy)
    message = error_in_process(script, split, damaged, *options, copy)
    assert message.startswith(f"error: {damaged}: {track!r} ")
    assert message.endswith("; last.h5 contains the weights after the last completed epoch\n")
    assert hash_files(copy) == before
