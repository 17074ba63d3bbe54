"""The root scripts as a researcher runs them, on a small corpus."""

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import train_siamese
from common import feature_file
from data_prep.mel_cache import MelCache
from evaluation.retrieval import mean_average_precision
from models import pretrained
from tests.conftest import (
    ROOT,
    error_in_process,
    error_of,
    run_in_process,
    run_script,
    run_two_at_a_time,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own callbacks
SCRIPTS = (
    "train_basic.py",
    "train_siamese.py",
    "train_ivector.py",
    "train_agf.py",
    "extract_features.py",
    "evaluate.py",
    "reproduce.py",
    "data_prep/2b_artist_groups.py",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Where the outputs of this module go."""
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="module")
def trained(small_corpus, place) -> Path:
    """The folder of three runs, each trained for an epoch or two."""
    split, _, cache = small_corpus
    runs = place / "runs"
    given = {
        "basic": ("train_basic.py", "--epochs", 2, "--batch", 6),
        "tag": ("train_basic.py", "--epochs", 1, "--labels", "tags"),
        "siamese": ("train_siamese.py", "--epochs", 1, "--negatives", 2),
    }
    ran = run_two_at_a_time(
        run_script,
        *(
            (script, split, cache, "--out", runs / name, *more)
            for name, (script, *more) in given.items()
        ),
    )
    for name, one in zip(given, ran, strict=True):
        on = rf"{runs / name}: on .+ \(tensorflow\), float32, .+, \d+ steps per call\n"
        complete = rf"{runs / name}: complete, lowest validation loss \d+\.\d{{4}}\n"
        assert re.fullmatch(on + complete, one.out)
    return runs


@pytest.fixture(scope="module")
def basic(trained) -> Path:
    """The folder of the basic model."""
    return trained / "basic"


@pytest.fixture(scope="module")
def features(basic, small_corpus, place) -> Path:
    """Features of the whole corpus by that model."""
    out = place / "features/basic.h5"
    ran = run_script("extract_features.py", basic / "best.h5", small_corpus[2], "--out", out)
    assert ran.out == f"{out}: basic, 24 tracks\n"
    return out


# ---------------------------------------------------------------- help and wrong use


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_has_an_example_and_does_not_wait_for_tensorflow(script):
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", script, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0
    assert f"example:\n  python {script} " in ran.stdout
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"tensorflow", "keras", "matplotlib.pyplot", "essentia"}


def test_help_of_a_protocol_has_an_example_and_its_defaults():
    ran = run_script("evaluate.py", "knn", "--help")
    assert "example:\n  python evaluate.py " in ran.out and "(default: 20)" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("train_basic.py",),
        ("train_basic.py", "a.csv", "b.h5", "--out", "c", "--epochs", "0"),
        ("train_siamese.py", "a.csv", "b.h5", "--out", "c", "--margin", "nan"),
        ("extract_features.py", "mfcc", "a.h5"),
        ("extract_features.py", "mfcc", "a.h5", "--out", "b.h5", "--whole-tracks"),
        ("evaluate.py", "guess", "a.h5", "b.csv"),
        ("evaluate.py", "knn", "a.h5", "b.csv", "-k", "0"),
        ("evaluate.py", "knn", "a.h5", "b.csv", "--lab", "genre"),
    ],
)
def test_wrong_use_ends_with_2(arguments):
    ran = run_script(*arguments, status=2)
    assert ran.err.startswith("usage: ") and "Traceback" not in ran.err and not ran.out


# ---------------------------------------------------------------- training


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_folder_holds_what_is_promised(basic):
    assert {path.name for path in basic.iterdir()} == {
        "best.h5",
        "last.h5",
        "log.csv",
        "run.json",
        "tensorboard",
    }
    log = pd.read_csv(basic / "log.csv")
    assert log["epoch"].tolist() == [1, 2] and log["val_loss"].notna().all()
    assert list((basic / "tensorboard").glob("events.*"))
    inputs = json.loads((basic / "run.json").read_text())["inputs"]
    assert (inputs["name"], inputs["model"], inputs["artists"]) == ("basic", "basic", 4)
    assert inputs["settings"]["batch"] == 6 and inputs["settings"]["labels"] == "artist"


def test_second_training_is_complete_already_and_another_refused(basic, small_corpus):
    split, _, cache = small_corpus
    before = contents(basic)
    command = ("train_basic.py", split, cache, "--out", basic, "--batch", 6)
    with ThreadPoolExecutor(2) as pool:
        again = pool.submit(run_script, *command, "--epochs", 2)
        message = error_of(*command, "--epochs", 3)
    assert again.result().out == f"{basic}: complete already\n"
    assert str(basic) in message and "settings.epochs: 2 -> 3" in message and "--out" in message
    assert contents(basic) == before


def test_tag_model(trained, small_corpus):
    tags = {tag for row in pd.read_csv(small_corpus[0])["tags"] for tag in row.split("|")}
    with h5py.File(trained / "tag/best.h5") as file:
        assert file["model_weights/classes/classes/kernel:0"].shape == (256, len(tags))
        assert json.loads(file.attrs["made_from"])["inputs"]["model"] == "tag"


def test_siamese_model(trained):
    log = pd.read_csv(trained / "siamese/log.csv")
    assert {"loss", "val_loss", "val_negatives_within_margin"} < set(log.columns)
    # 12 anchors in one batch, summed, of 2 negatives each: at worst each costs the margin and 2.
    assert 0 < log["loss"][0] < 12 * 2 * 2.4 + 1


def test_siamese_validates_on_one_song_an_artist(small_corpus, place, monkeypatch):
    """As the 10,000-artist set must: the validation song's positive is a training song."""
    split, _, cache = small_corpus
    table = pd.read_csv(split, dtype=str, keep_default_na=False)
    kept = table[~(table["subset"].eq("valid") & table.duplicated(["artist", "subset"]))]
    assert kept["subset"].eq("valid").sum() == 4
    kept.to_csv(place / "one_valid.csv", index=False)
    given = [place / "one_valid.csv", cache, "--out", place / "runs/one_valid", "--epochs", 1]
    monkeypatch.setattr(sys, "argv", ["train_siamese.py", *map(str, given)])
    train_siamese.main()
    assert pd.read_csv(place / "runs/one_valid/log.csv")["val_loss"].notna().all()


def test_training_on_what_does_not_fit(small_corpus, place):
    split, _, cache = small_corpus
    table = pd.read_csv(split, dtype=str, keep_default_na=False)

    def with_split(changed, script="train_basic.py", *more):
        changed.to_csv(place / "changed.csv", index=False)
        out = place / "runs/never"
        message = error_of(script, place / "changed.csv", cache, "--out", out, *more)
        assert not out.exists()
        return message

    artist = table["artist"][0]
    first_of = table.index[table["artist"].eq(artist) & table["subset"].eq("train")][0]
    one_song = table[
        ~(table["artist"].eq(artist) & table["subset"].eq("train")) | (table.index == first_of)
    ]
    message = with_split(one_song, "train_siamese.py")
    assert f"artist {artist!r} has one track" in message
    message = with_split(table.assign(track_id=table["track_id"].replace("", "").add("x")))
    assert str(cache) in message and "lacks 20 of 20 tracks" in message
    assert "no column 'tags'" in with_split(
        table.drop(columns="tags"), "train_basic.py", "--labels", "tags"
    )
    assert "subset valid" in with_split(table[table["subset"].ne("valid")])
    assert "--negatives" in with_split(table, "train_siamese.py", "--negatives", "50")
    assert "no such" in error_of("train_basic.py", split, place / "no.h5", "--out", place / "r")
    assert "no such" in error_of("train_basic.py", place / "no.csv", cache, "--out", place / "r")


# ---------------------------------------------------------------- extraction


def test_features_stand_beside_their_tracks(features, basic, small_corpus):
    """Each row is recomputed from the cache's frames of the track that it is said to be of."""
    found, cache = feature_file.read_features(features), MelCache(small_corpus[2])
    loaded = pretrained.load_weights(str(basic / "best.h5"))
    encoder = pretrained.encoder_from(loaded)
    assert list(found.track_id) == list(cache.track_id)
    for track, feature in zip(found.track_id, found.features, strict=True):
        segment = cache[track][None, :129].astype(np.float32)
        expected = encoder.predict_on_batch((segment - cache.mean) / cache.std)[0]
        np.testing.assert_allclose(feature, expected, atol=1e-4 * np.abs(expected).max())
    assert found.inputs["weights"] == loaded.provenance
    assert (loaded.mean, loaded.std) == (cache.mean, cache.std)


def test_second_extraction_is_complete_already_and_another_refused(features, basic, small_corpus):
    before, to = features.read_bytes(), (small_corpus[2], "--out", features)
    with ThreadPoolExecutor(2) as pool:
        again = pool.submit(run_script, "extract_features.py", basic / "best.h5", *to)
        message = error_of("extract_features.py", "mfcc", *to)
    assert again.result().out == f"{features}: complete already, 24 tracks\n"
    assert str(features) in message and "weights.model" in message
    assert features.read_bytes() == before


def test_folder_with_a_bad_file(features, basic, small_corpus, place):
    """What cannot be used is told and left out; the others' features stand by their names."""
    _, audio, _ = small_corpus
    table = pd.read_csv(small_corpus[0], dtype=str).set_index("track_id")
    music, songs = place / "music", table["path"].iloc[:3]
    for number, path in enumerate(songs):
        (music / "below").mkdir(parents=True, exist_ok=True)
        shutil.copy(audio / path, music / "below" / f"{2 * number}{Path(path).suffix}")
    (music / "below/1.wav").write_bytes(b"RIFF, or so it says")
    (music / "below/3.wav").write_bytes(b"")
    (music / "notes.txt").write_text("no music")
    out = place / "features/folder.h5"
    command = ("extract_features.py", basic / "best.h5", music, "--out", out, "--workers", 1)

    ran = run_script(*command, status=1)
    assert ran.err == ""
    assert ran.lines[-1].startswith(f"{out}: basic, 3 tracks; 2 failed")
    failed = pd.read_csv(place / "features/folder.failures.csv")
    assert list(failed["track_id"]) == ["below/1.wav", "below/3.wav"]
    assert failed["reason"].str.len().gt(5).all()
    found, cached = feature_file.read_features(out), feature_file.read_features(features)
    assert [Path(track).stem for track in found.track_id] == ["0", "2", "4"]
    expected = cached.select(songs.index.to_numpy(object), features)
    np.testing.assert_allclose(found.features, expected, atol=1e-2 * np.abs(expected).max())
    assert np.abs(np.diff(expected, axis=0)).max() > 0.1 * np.abs(expected).max()

    before = out.read_bytes()
    again = run_script(*command, "--allow-failures")  # still not all of it worked, so it says so
    assert again.lines[-1].startswith(f"{out}: complete already, 3 tracks; 2 failed")
    assert out.read_bytes() == before


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_features_stay_with_their_songs_wherever_one_fails(bad, small_corpus, tmp_path):
    """`mfcc` makes each row as it is asked for, so that nothing is known ahead."""
    audio, music = small_corpus[1], tmp_path / "music"
    songs = [path for path in sorted(audio.rglob("*")) if path.is_file()][:3]
    music.mkdir()
    for number, song in enumerate(songs):
        shutil.copy(song, music / f"{number}{song.suffix}")
    whole, holed = tmp_path / "whole.h5", tmp_path / "holed.h5"
    run_in_process("extract_features.py", "mfcc", music, "--out", whole, "--workers", 1)
    names = sorted(path.name for path in music.iterdir())
    (music / names[bad]).write_bytes(b"no music")
    command = ("extract_features.py", "mfcc", music, "--out", holed, "--workers", 1)
    assert "2 tracks; 1 failed" in run_in_process(*command, status=1).out
    found, expected = feature_file.read_features(holed), feature_file.read_features(whole)
    kept = [name for name in names if name != names[bad]]
    assert list(found.track_id) == kept and list(found.failed) == [names[bad]]
    np.testing.assert_array_equal(found.features, expected.select(np.array(kept, object), whole))


def test_one_file(small_corpus, place):
    _, audio, _ = small_corpus
    song = next(path for path in sorted(audio.rglob("*")) if path.is_file())
    out = place / "features/one.h5"
    assert (
        run_script("extract_features.py", "mfcc", song, "--out", out).out
        == f"{out}: mfcc, 1 tracks\n"
    )
    found = feature_file.read_features(out)
    assert found.features.shape == (1, 40) and list(found.track_id) == [song.name]


def test_extraction_of_what_cannot_be_used(small_corpus, place):
    cache, out = small_corpus[2], ("--out", place / "features/never.h5")
    foreign = place / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["frames"] = np.zeros(3)
    bad = place / "bad.wav"
    bad.write_bytes(b"no music")
    cases = {
        ("siamese_7", cache, *out): "siamese_7: neither .*siamese_5000",
        ("mfcc", bad, *out): f"{bad}: none of the 1 tracks could be used; the first, bad.wav: ",
        ("mfcc", foreign, *out): f"{foreign}: not a mel cache",
        ("mfcc", place / "no.wav", *out): f"{place / 'no.wav'}: no such file",
        ("mfcc", cache, "--out", foreign / "features.h5"): str(foreign),
        ("mfcc", cache, "--out", place): f"{place}: is a folder",
    }
    messages = run_two_at_a_time(error_of, *(("extract_features.py", *case) for case in cases))
    for expected, message in zip(cases.values(), messages, strict=True):
        assert re.match(f"error: .*{expected}", message), message
    assert not (place / "features/never.h5").exists()


# ---------------------------------------------------------------- evaluation


def test_protocols_and_layouts(features, small_corpus, place):
    split, results = small_corpus[0], place / "results"
    for protocol, metric, variant, *more in (
        ("retrieval", "map", []),
        ("knn", "accuracy", ["k=3"], "-k", 3),
        ("linear", "accuracy", ["trials=2"], "--trials", 2),
    ):
        path = results / f"{protocol}.json"
        ran = run_in_process("evaluate.py", protocol, features, split, *more, "--json", path)
        name, value = ran.lines[-1].split(" ")
        found = json.loads(path.read_text(encoding="utf-8"))
        assert name == found["metric"] == metric
        assert re.fullmatch(r"\d\.\d{4}", value) and float(value) == round(found["value"], 4)
        assert 0 < found["value"] <= 1
        assert [found[key] for key in ("protocol", "dataset", "label", "features", "model")] == [
            protocol,
            split.stem,
            "genre",
            " ".join(["basic", *variant]),
            "basic",
        ]
        assert found["variant"] == " ".join(variant)
        assert found["artists"] == 4
        assert found["n_songs"] == (24 if protocol == "retrieval" else 4)
        assert found["trials"] == (2 if protocol == "linear" else None)

    table = pd.read_csv(split, dtype=str)
    rows = feature_file.read_features(features).select(table["track_id"].to_numpy(object), features)
    found = json.loads((results / "retrieval.json").read_text())["value"]
    assert found == pytest.approx(mean_average_precision(rows, table["genre"]))

    ran = run_in_process("evaluate.py", "tables", "--results", results)
    assert f"{found:.4f}" in ran.out and "0.5508" in ran.out  # a number of the paper's
    written = {path.name for path in results.iterdir()}
    names = {"tables", "summary", f"retrieval_by_artists_{split.stem}_genre"}
    assert {f"{name}.{suffix}" for name in names for suffix in ("csv", "md", "tex")} < written
    ran = run_in_process("evaluate.py", "figures", "--results", results)
    assert f"{split.stem}_genre.png: MAP and accuracies of genre on {split.stem}" in ran.out
    assert "ismir2018, Figure 6: not drawn; it needs evaluate.py tsne --label artist" in ran.out


def test_songs_in_another_order_or_without_label(features, small_corpus, place):
    """The split's order decides nothing, and what has no label is left out and told."""
    table = pd.read_csv(small_corpus[0], dtype=str, keep_default_na=False)
    table[::-1].to_csv(place / "reversed.csv", index=False)
    values = [
        run_in_process("evaluate.py", "retrieval", features, split).lines[-1]
        for split in (small_corpus[0], place / "reversed.csv")
    ]
    assert values[0] == values[1]
    table.loc[[0, 7], "genre"] = ""
    table.to_csv(place / "unlabelled.csv", index=False)
    ran = run_in_process("evaluate.py", "retrieval", features, place / "unlabelled.csv")
    assert "2 tracks without genre left out" in ran.lines[0]
    assert ran.lines[-1].startswith("map ")


def test_evaluation_of_what_does_not_fit(features, small_corpus, place):
    split, _, cache = small_corpus
    table = pd.read_csv(split, dtype=str, keep_default_na=False)
    changed = place / "changed.csv"
    message = error_in_process("evaluate.py", "retrieval", features, split, "--label", "mood")
    assert str(split) in message and "'mood'" in message and "genre" in message
    table.assign(track_id=table["track_id"] + "x").to_csv(changed, index=False)
    assert str(features) in error_in_process("evaluate.py", "retrieval", features, changed)
    table[table["subset"].ne("test")].to_csv(changed, index=False)
    assert "test subset" in error_in_process("evaluate.py", "knn", features, changed, "-k", 3)
    assert "k = 20" in error_in_process("evaluate.py", "knn", features, split)
    table.assign(genre="").to_csv(changed, index=False)
    error_in_process("evaluate.py", "retrieval", features, changed)
    assert str(cache) in error_in_process("evaluate.py", "retrieval", cache, split)
    assert "no such file" in error_in_process("evaluate.py", "retrieval", place / "no.h5", split)
    for layout in ("tables", "figures", "report"):
        message = error_in_process("evaluate.py", layout, "--results", place / "no")
        assert "no such folder" in message


# ---------------------------------------------------------------- a corpus with a bad file


def test_a_track_that_failed_is_left_out_to_the_end(small_corpus, place):
    """Once let through with --allow-failures, it must not stop a later step."""
    split, audio, _ = small_corpus
    table = pd.read_csv(split, dtype=str, keep_default_na=False)
    table.loc[0, "path"] = "gone.wav"
    holed, cache = place / "holed.csv", place / "holed.h5"
    features, runs = place / "features/holed.h5", place / "runs/holed"
    table.to_csv(holed, index=False)
    making = ("data_prep/2_cache_mels.py", holed, "--audio", audio, "--out", cache)
    run_script(*making, status=1)
    assert "23 tracks; 1 failed" in run_script(*making, "--allow-failures").out
    note = "1 tracks skipped"
    assert note in run_script("train_basic.py", holed, cache, "--out", runs, "--epochs", 1).out
    assert "23 tracks\n" in run_script("extract_features.py", "mfcc", cache, "--out", features).out
    assert note in run_in_process("evaluate.py", "retrieval", features, holed).out
