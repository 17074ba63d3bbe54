"""Test the root scripts on a small corpus, as a researcher would run them."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from common import feature_file
from data_prep.mel_cache import MelCache
from evaluate import COMMANDS
from evaluation.retrieval import mean_average_precision
from models import pretrained
from tests.conftest import error_in_process, run_in_process, run_script

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
SCRIPTS = (
    "train_basic.py",
    "train_siamese.py",
    "train_ivector.py",
    "train_agf.py",
    "export.py",
    "extract_features.py",
    "evaluate.py",
    "reproduce.py",
    "data_prep/2b_artist_groups.py",
)
HELP = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, script
    slow = {"tensorflow", "keras", "matplotlib.pyplot", "essentia", "protocols"} & set(sys.modules)
    assert not slow, f"{script} imports {slow}"
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    """Return the output folder shared by this module's tests."""
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="module")
def one_valid(small_corpus, outputs) -> Path:
    """Return a split with one validation track per artist, like the paper's 10,000 artists."""
    table = pd.read_csv(small_corpus[0], dtype=str, keep_default_na=False)
    table = table[~(table["subset"].eq("valid") & table.duplicated(["artist", "subset"]))]
    assert table["subset"].eq("valid").sum() == 4
    table.to_csv(outputs / "one_valid.csv", index=False)
    return outputs / "one_valid.csv"


@pytest.fixture(scope="module")
def runs(small_corpus, one_valid, outputs) -> Path:
    """Return the folder of a basic and a siamese run, the latter on three artists."""
    split, _, cache = small_corpus
    runs = outputs / "runs"
    few = ("--epochs", 1, "--negatives", 2, "--max-artists", 3)
    few += ("--start-from", runs / "basic/best.h5")
    for name, run, *command in (
        ("basic", run_script, "train_basic.py", split, "--epochs", 2, "--batch-size", 6),
        ("siamese", run_in_process, "train_siamese.py", one_valid, *few),
    ):
        script, table, *options = command
        result = run(script, table, cache, "--out", runs / name, *options)
        start = rf"{runs / name}: on .+ \(tensorflow\), float32, .+, \d+ steps per call\n"
        end = rf"{runs / name}: complete, lowest validation loss \d+\.\d{{4}}\n"
        assert re.fullmatch(start + end, result.out)
    return runs


@pytest.fixture(scope="module")
def features(runs, small_corpus, outputs) -> Path:
    """Return a file with the basic model's features for the whole corpus."""
    out = outputs / "features/basic.h5"
    weights = runs / "basic/best.h5"
    result = run_script("extract_features.py", weights, small_corpus[2], "--out", out)
    assert result.lines[-1] == f"{out}: basic, 24 tracks"
    return out


# ---------------------------------------------------------------- help and usage errors


def test_help_has_an_example_and_does_not_import_tensorflow():
    result = run_script("-c", HELP, *SCRIPTS)
    for script in SCRIPTS:
        assert f"example:\n  python {script} " in result.out


@pytest.mark.parametrize("name", [name for names in COMMANDS.values() for name in names])
def test_evaluation_command_help_has_an_example(name):
    result = run_in_process("evaluate.py", name, "--help")
    assert f"example:\n  python evaluate.py {name} " in result.out
    assert name != "knn" or "(default: 20)" in result.out


@pytest.mark.parametrize(
    "command",
    [
        "train_basic.py",
        "train_basic.py a.csv b.h5 --out c --epochs 0",
        "train_siamese.py a.csv b.h5 --out c --margin nan",
        "extract_features.py mfcc a.h5",
        "extract_features.py mfcc a.h5 --out b.h5 --whole-tracks",
        "evaluate.py guess a.h5 b.csv",
        "evaluate.py knn a.h5 b.csv -k 0",
        "evaluate.py knn a.h5 b.csv --lab genre",
    ],
)
def test_usage_errors_exit_with_status_2(command):
    result = run_in_process(*command.split(), status=2)
    assert result.err.startswith("usage: ") and not result.out


# ---------------------------------------------------------------- training


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_folder_contains_weights_log_and_record(runs):
    folder = runs / "basic"
    names = {"best.h5", "last.h5", "log.csv", "run.json", "state.h5", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == names
    log = pd.read_csv(folder / "log.csv")
    assert log["epoch"].tolist() == [1, 2] and log["val_loss"].notna().all()
    assert list((folder / "tensorboard").glob("events.*"))
    inputs = json.loads((folder / "run.json").read_text())["inputs"]
    assert (inputs["name"], inputs["model"], inputs["artists"]) == ("basic", "basic", 4)
    assert inputs["settings"]["batch"] == 6 and inputs["settings"]["labels"] == "artist"


def test_complete_run_is_recognised_and_different_settings_are_rejected(runs, small_corpus):
    """The command uses --batch, the former name of --batch-size."""
    split, _, cache = small_corpus
    folder = runs / "basic"
    before = read_files(folder)
    command = ("train_basic.py", split, cache, "--out", folder, "--batch", 6, "--epochs")
    assert run_in_process(*command, 2).out == f"{folder}: already complete\n"
    message = error_in_process(*command, 2, "--dropout", 0.5)
    assert str(folder) in message and "dropout: 0.0 -> 0.5" in message and "--out" in message
    assert "contains 2 epochs of training, more than the 1 requested" in error_in_process(
        *command, 1
    )
    assert read_files(folder) == before


def test_siamese_run_continues_from_other_weights_on_the_first_artists(runs):
    """Validation draws positives from the training tracks where an artist has one other track."""
    log = pd.read_csv(runs / "siamese/log.csv")
    assert {"loss", "val_loss", "val_negatives_within_margin"} < set(log.columns)
    # One batch has 9 anchors with 2 negatives each, and each negative adds at most margin + 2.
    assert 0 < log["loss"][0] < 9 * 2 * 2.4 + 1 and log["val_loss"].notna().all()
    inputs = json.loads((runs / "siamese/run.json").read_text())["inputs"]
    assert inputs["artists"] == inputs["settings"]["artists"] == 3
    start = pretrained.load_weights(str(runs / "basic/best.h5"))
    assert inputs["start_from"] == start.provenance


# ---------------------------------------------------------------- extraction


def test_features_match_recomputed_embeddings(features, runs, small_corpus):
    """Recompute each row from the cached frames of the corresponding track."""
    content, cache = feature_file.read_features(features), MelCache(small_corpus[2])
    weights = pretrained.load_weights(str(runs / "basic/best.h5"))
    encoder = pretrained.encoder_from(weights)
    assert list(content.track_id) == list(cache.track_id)
    segments = np.stack([cache[track][:129] for track in content.track_id]).astype(np.float32)
    expected = encoder.predict_on_batch((segments - cache.mean) / cache.std)
    np.testing.assert_allclose(content.features, expected, atol=1e-4 * np.abs(expected).max())
    assert content.inputs["weights"] == weights.provenance
    assert (weights.mean, weights.std) == (cache.mean, cache.std)


def test_complete_extraction_is_recognised_and_different_weights_are_rejected(
    features, runs, small_corpus
):
    before, options = features.read_bytes(), (small_corpus[2], "--out", features)
    again = run_in_process("extract_features.py", runs / "basic/best.h5", *options)
    assert again.out == f"{features}: already complete, 24 tracks\n"
    message = error_in_process("extract_features.py", "mfcc", *options)
    assert str(features) in message and "weights.model" in message
    assert features.read_bytes() == before


def test_extraction_skips_and_lists_unusable_files(features, runs, small_corpus, outputs):
    """The features of the remaining files keep their track names."""
    table = pd.read_csv(small_corpus[0], dtype=str).set_index("track_id")
    music, paths = outputs / "music", table["path"].iloc[:3]
    (music / "below").mkdir(parents=True)
    for number, path in enumerate(paths):
        shutil.copy(small_corpus[1] / path, music / "below" / f"{2 * number}{Path(path).suffix}")
    (music / "below/1.wav").write_bytes(b"RIFF, or so it says")
    (music / "below/3.wav").write_bytes(b"")
    (music / "notes.txt").write_text("no music")
    out = outputs / "features/folder.h5"
    command = ("extract_features.py", runs / "basic/best.h5", music, "--out", out, "--workers", 1)

    result = run_in_process(*command)
    assert result.lines[-1].startswith(f"{out}: basic, 3 tracks; 2 failed")
    failed = pd.read_csv(outputs / "features/folder.failures.csv")
    assert list(failed["track_id"]) == ["below/1.wav", "below/3.wav"]
    assert failed["reason"].str.len().gt(5).all()
    ours, cached = feature_file.read_features(out), feature_file.read_features(features)
    assert [Path(track).stem for track in ours.track_id] == ["0", "2", "4"]
    expected = cached.select(paths.index.to_numpy(object), features)
    np.testing.assert_allclose(ours.features, expected, atol=1e-2 * np.abs(expected).max())
    assert np.abs(np.diff(expected, axis=0)).max() > 0.1 * np.abs(expected).max()

    before = out.read_bytes()
    again = run_in_process(*command, "--strict", status=1)
    assert again.lines[-1].startswith(f"{out}: already complete, 3 tracks; 2 failed")
    assert out.read_bytes() == before


@pytest.mark.parametrize("bad", [0, 2])
def test_features_keep_their_track_names_whichever_track_fails(bad, small_corpus, tmp_path):
    """The `mfcc` extractor computes rows on demand, so failures cannot be detected in advance."""
    music = tmp_path / "music"
    tracks = [path for path in sorted(small_corpus[1].rglob("*")) if path.is_file()][:3]
    music.mkdir()
    for number, track in enumerate(tracks):
        shutil.copy(track, music / f"{number}{track.suffix}")
    whole, out = tmp_path / "whole.h5", tmp_path / "out.h5"
    run_in_process("extract_features.py", "mfcc", music, "--out", whole, "--workers", 1)
    names = sorted(path.name for path in music.iterdir())
    (music / names[bad]).write_bytes(b"no music")
    command = ("extract_features.py", "mfcc", music, "--out", out, "--workers", 1)
    assert "2 tracks; 1 failed" in run_in_process(*command).out
    ours, expected = feature_file.read_features(out), feature_file.read_features(whole)
    good = [name for name in names if name != names[bad]]
    assert list(ours.track_id) == good and list(ours.failed) == [names[bad]]
    np.testing.assert_array_equal(ours.features, expected.select(np.array(good, object), whole))


def test_extraction_rejects_unusable_inputs(small_corpus, outputs):
    cache, out = small_corpus[2], ("--out", outputs / "features/never.h5")
    foreign, bad = outputs / "foreign.h5", outputs / "bad.wav"
    with h5py.File(foreign, "w") as file:
        file["frames"] = np.zeros(3)
    bad.write_bytes(b"no music")
    for case, expected in {
        ("siamese_7", cache, *out): "siamese_7: neither .*siamese_5000",
        ("mfcc", bad, *out): f"{bad}: none of the 1 tracks could be used; the first, bad.wav: ",
        ("mfcc", foreign, *out): f"{foreign}: not a mel cache",
        ("mfcc", outputs / "no.wav", *out): f"{outputs / 'no.wav'}: no such file",
        ("mfcc", cache, "--out", foreign / "features.h5"): str(foreign),
        ("mfcc", cache, "--out", outputs): f"{outputs}: is a folder",
    }.items():
        message = error_in_process("extract_features.py", *case)
        assert re.match(f"error: .*{expected}", message), message
    assert not (outputs / "features/never.h5").exists()


# ---------------------------------------------------------------- evaluation


def test_protocol_results_are_shown_in_tables_and_figures(features, small_corpus, outputs):
    split, results = small_corpus[0], outputs / "results"
    for protocol, metric, *options in (
        ("retrieval", "map"),
        ("knn", "accuracy", "-k", 3),
        ("linear", "accuracy", "--trials", 2),
    ):
        path = results / f"{protocol}.json"
        output = run_in_process("evaluate.py", protocol, features, split, *options, "--json", path)
        result = json.loads(path.read_text(encoding="utf-8"))
        assert output.lines[-1] == f"{metric} {result['value']:.4f}" and 0 < result["value"] <= 1
        assert (result["model"], result["artists"], result["label"]) == ("basic", 4, "genre")
        assert result["dataset"] == split.stem

    table = pd.read_csv(split, dtype=str)
    rows = feature_file.read_features(features).select(table["track_id"].to_numpy(object), features)
    value = json.loads((results / "retrieval.json").read_text())["value"]
    assert value == pytest.approx(mean_average_precision(rows, table["genre"]))
    output = run_in_process("evaluate.py", "tables", "--results", results)
    assert f"{value:.4f}" in output.out and "0.5508" in output.out  # value from the paper
    written = {path.name for path in results.iterdir()}
    names = {"tables", "summary", f"retrieval_by_artists_{split.stem}_genre"}
    assert {f"{name}.{suffix}" for name in names for suffix in ("csv", "md", "tex")} < written
    output = run_in_process("evaluate.py", "figures", "--results", results)
    assert f"{split.stem}_genre.png: MAP and accuracies of genre on {split.stem}" in output.out
    assert "ismir2018, Figure 6: not drawn; it needs evaluate.py tsne --label artist" in output.out


@pytest.mark.parametrize("layout", ["tables", "figures", "report"])
def test_layouts_reject_a_missing_folder(layout, outputs):
    message = error_in_process("evaluate.py", layout, "--results", outputs / "no")
    assert "no such folder" in message


# ---------------------------------------------------------------- corpus with an unreadable file


def test_failed_track_is_skipped_in_all_later_steps(small_corpus, outputs):
    """Test that a failure does not stop later steps, and that --allow-failures is accepted."""
    table = pd.read_csv(small_corpus[0], dtype=str, keep_default_na=False)
    table.loc[0, "path"] = "gone.wav"
    split, cache = outputs / "gap.csv", outputs / "gap.h5"
    features, run = outputs / "features/gap.h5", outputs / "runs/gap"
    table.to_csv(split, index=False)
    command = ("data_prep/2_cache_mels.py", split, "--audio", small_corpus[1], "--out", cache)
    run_in_process(*command, "--strict", status=1)
    assert "23 tracks; 1 failed" in run_in_process(*command, "--allow-failures").out
    note = "1 tracks skipped"
    train = ("train_basic.py", split, cache, "--out", run, "--epochs", 1, "--labels", "tags")
    assert note in run_in_process(*train).out
    tags = {tag for row in table["tags"] for tag in row.split("|")}
    with h5py.File(run / "best.h5") as file:
        assert file["model_weights/classes/classes/kernel:0"].shape == (256, len(tags))
        assert json.loads(file.attrs["made_from"])["inputs"]["model"] == "tag"
    extract = ("extract_features.py", "mfcc", cache, "--out", features)
    assert "23 tracks\n" in run_in_process(*extract).out
    assert note in run_in_process("evaluate.py", "retrieval", features, split).out
