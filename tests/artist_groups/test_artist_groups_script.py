"""Test script 2b (artist groups): its output files, messages and errors."""

import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest

from artist_groups import descriptors, topics
from artist_groups.decibels import band_statistics
from common.errors import InputError
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from tests.conftest import error_in_process, run_in_process

SCRIPT = "data_prep/2b_artist_groups.py"
FEW = ("--clusters", 5, "--track-clusters", 5, "--groups", 2)


@pytest.fixture
def corpus(small_corpus, tmp_path):
    """Return (split, audio folder, out, command); each track's sub-genres are its genre and a mood.

    The script runs with few clusters and groups.
    """
    split, audio, cache = small_corpus
    table = split_csv.read_split(split)
    moods = [f"{genre}|{'calm' if n % 2 else 'wild'}" for n, genre in enumerate(table["genre"])]
    split_csv.write_split(table.assign(subgenres=moods), tmp_path / "s.csv", {"inputs": {}})
    split, out = tmp_path / "s.csv", tmp_path / "groups" / "s.h5"
    return split, audio, out, (SCRIPT, split, cache, "--out", out, *FEW)


def change(split, rows, **columns):
    table = split_csv.read_split(split)
    for name, value in columns.items():
        table.loc[rows, name] = value
    split_csv.write_split(table, split, {"inputs": {}})


def is_of_first_artist(split):
    artists = split_csv.read_split(split)["artist"]
    return artists.eq(artists[0])


def test_script_writes_groups_for_training_artists_and_skips_complete_files(corpus):
    split, _, out, command = corpus
    command = (*command, "--subgenres", "subgenres", "--words", "s", "d", "m", "s")
    summary = "words m d s of 4 artists in 2 groups"
    assert run_in_process(*command).lines == [f"{out}: complete, {summary}"]
    content = topics.load_groups(out)
    table, cache = split_csv.read_split(split), MelCache(command[2])
    train = table[table["subset"].eq("train")]
    statistics = band_statistics(cache, train["track_id"].to_numpy(object))
    np.testing.assert_array_equal([content.mean, content.std], statistics)
    assert list(content.groups) == ["m", "d", "s"] and "s" not in content.codebooks
    assert content.subgenres == sorted([*table["genre"].unique(), "calm", "wild"])
    for groups in content.groups.values():
        assert list(groups.artists) == list(table["artist"].unique())
        assert groups.proportions.shape == (4, 2)
    assert content.codebooks["m"].centres.shape == (5, 25)
    settings = {"words": "m d s", "clusters": 5, "track_clusters": 5, "groups": 2}
    settings |= {"subgenres": "subgenres", "seed": 0}
    assert content.inputs["settings"] == settings
    before = out.read_bytes()
    assert run_in_process(*command).lines == [f"{out}: already complete, {summary}"]
    assert out.read_bytes() == before
    message = error_in_process(*command, "--seed", 1)
    assert "seed: 0 -> 1" in message and str(out) in message
    assert 'words: "m d s" -> "m"' in error_in_process(*command[:-4], "m")
    # Changes to tracks outside the training subset do not change the groups.
    change(split, table["subset"].ne("train"), artist="others", subgenres="", genre="")
    assert "split: " in error_in_process(*command)
    again = out.with_name("again.h5")
    run_in_process(*command[:4], again, *command[5:])
    for word, groups in topics.load_groups(again).groups.items():
        np.testing.assert_array_equal(groups.proportions, content.groups[word].proportions)


def test_script_skips_unavailable_words_unless_requested(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "essentia", None)
    split, audio, out, command = corpus
    lines = run_in_process(*command).lines
    assert lines[0].startswith(
        f"the sub-genre vocabulary (s) is left out: {split}: has no column 'genres'; it has "
    )
    assert lines[1:] == [
        "the descriptor vocabulary (e) is left out: it needs Essentia; "
        "pip install -r requirements-essentia.txt",
        f"{out}: complete, words m d of 4 artists in 2 groups",
    ]
    assert "no column 'genres'" in error_in_process(*command, "--words", "m", "s")
    out.unlink()
    message = error_in_process(*command, "--words", "e", "--audio", audio)
    assert "vocabulary e needs Essentia; pip install" in message
    assert "--audio: vocabulary e needs it" in error_in_process(*command, "--words", "e")
    assert "no such folder" in error_in_process(*command, "--words", "e", "--audio", audio / "no")
    assert not out.exists()


def test_script_reports_skipped_tracks_and_artists(corpus):
    split, _, out, command = corpus
    change(split, is_of_first_artist(split), subgenres="")
    change(split, [6, 9], artist="")  # a training and a validation track by the second artist
    name = split_csv.read_split(split)["artist"][0]
    ran = run_in_process(*command, "--subgenres", "subgenres", "--words", "m", "s")
    assert ran.lines == [
        f"{split}: 1 training tracks without an artist are left out",
        f"{split}: 1 artists without sub-genres get no groups by vocabulary s; the first is "
        f"{name!r}",
        f"{out}: complete, words m s of 4 artists in 2 groups",
    ]
    groups = topics.load_groups(out).groups
    assert groups["m"].rows_of([name, ""]).tolist() == [0, -1]
    assert groups["s"].rows_of([name]) == [-1]


def test_script_rejects_splits_that_cannot_give_groups(corpus):
    split, audio, out, command = corpus
    frames = MelCache(command[2]).length[0] * 12
    assert f"{frames} vectors for {frames + 1} clusters; use fewer clusters" in error_in_process(
        *command, "--words", "m", "--clusters", frames + 1
    )
    message = error_in_process(*command, "--words", "e", "--track-clusters", 13, "--audio", audio)
    assert "--track-clusters 13: more than the 12 training tracks" in message
    change(split, slice(1, None), subgenres="")
    message = error_in_process(*command, "--words", "s", "--subgenres", "subgenres")
    assert "word s: 1 artists with symbols" in message
    change(split, ~is_of_first_artist(split), subset="test")
    assert f"{split}: its training tracks have 1 artists" in error_in_process(*command)
    change(split, slice(None), artist="")
    assert f"{split}: its training tracks have 0 artists" in error_in_process(*command)
    change(split, slice(None), subset="test")
    assert "no track is in the subset train" in error_in_process(*command)
    assert "is a list, but an .h5 file" in error_in_process(SCRIPT, split, split, "--out", out)
    assert not list(out.parent.iterdir())


@pytest.fixture
def described(monkeypatch):
    """Replace Essentia by random descriptors, and return a list that records the calls.

    The first four tracks fail: all tracks by the first artist, and one track by the second.
    """
    calls = []

    def describe_tracks(track_ids, paths, folder, *, workers):
        calls.append((list(track_ids), list(paths), folder, workers))
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).normal(size=(len(track_ids) - 4, 6)).astype(np.float32)
        values[2, 3] = np.nan
        table = pd.DataFrame(values, index=list(track_ids)[4:], columns=list("abcdef"))
        return table, dict.fromkeys(list(track_ids)[:4], "is mute")

    monkeypatch.setattr(descriptors, "describe_tracks", describe_tracks)
    return calls


def test_descriptor_groups_use_only_tracks_that_could_be_described(corpus, described, monkeypatch):
    split, audio, out, command = corpus
    table = split_csv.read_split(split)
    train, first = table[table["subset"].eq("train")], table["artist"][0]
    command = (*command, "--words", "e", "--audio", audio, "--workers", 3)
    unfinished = out.with_name("s.h5.making")

    def interrupt(*_):
        raise InputError("interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(topics, "save_groups", interrupt)
        assert "interrupted" in error_in_process(*command)
    assert unfinished.is_dir() and not out.exists()  # the folder survives until completion
    assert run_in_process(*command).lines == [
        f"{audio}: 4 of 12 tracks could not be described for vocabulary e, the first, "
        f"{train['track_id'].iloc[0]}: is mute",
        f"{split}: 1 artists without descriptors get no groups by vocabulary e; the first is "
        f"{first!r}",
        f"{out}: complete, words e of 3 artists in 2 groups",
    ]
    paths = [audio / path for path in train["path"]]
    assert described == 2 * [(list(train["track_id"]), paths, unfinished, 3)]
    content = topics.load_groups(out)
    # One of the six descriptors is missing for one track and therefore dropped.
    assert content.codebooks["e"].centres.shape == (5, 5)
    assert list(content.groups["e"].artists) == list(train["artist"].unique()[1:])
    assert [path.name for path in out.parent.iterdir()] == ["s.h5"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("essentia") is None, reason="needs Essentia")
def test_script_learns_groups_for_all_words_with_essentia(corpus):
    _, audio, out, command = corpus
    command = (*command, "--subgenres", "subgenres")
    ran = run_in_process(*command, "--audio", audio)
    assert ran.lines[-1] == f"{out}: complete, words m d e s of 4 artists in 2 groups"
    content = topics.load_groups(out)
    assert content.codebooks["e"].centres.shape[1] > 1000
    assert list(content.groups) == ["m", "d", "e", "s"]
