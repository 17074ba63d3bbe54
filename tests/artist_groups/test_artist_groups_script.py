"""Script 2b as its user meets it: what it makes, what it says, what it refuses."""

import importlib.util
import sys

import numpy as np
import pytest

from artist_groups import descriptors, groups_file
from artist_groups.descriptors import Described
from artist_groups.vocabulary import band_statistics
from common.errors import InputError
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from tests.conftest import error_in_process, run_in_process

SCRIPT = "data_prep/2b_artist_groups.py"
FEW = ("--clusters", 5, "--track-clusters", 5, "--groups", 2)


@pytest.fixture
def corpus(small_corpus, tmp_path):
    """(split_path, audio_folder, cache_path, out); sub-genres are mood and genre of the song."""
    split, audio, cache = small_corpus
    table = split_csv.read_split(split)
    moods = [f"{genre}|{'calm' if n % 2 else 'wild'}" for n, genre in enumerate(table["genre"])]
    split_csv.write_split(table.assign(subgenres=moods), tmp_path / "s.csv", {"inputs": {}})
    return tmp_path / "s.csv", audio, cache, tmp_path / "groups" / "s.h5"


@pytest.fixture
def no_essentia(monkeypatch):
    monkeypatch.setitem(sys.modules, "essentia", None)


def change(split, rows, **columns):
    table = split_csv.read_split(split)
    for name, value in columns.items():
        table.loc[rows, name] = value
    split_csv.write_split(table, split, {"inputs": {}})


def of_artist(split, number=0):
    artists = split_csv.read_split(split)["artist"]
    return artists.eq(artists.unique()[number])


def test_groups_of_the_training_artists_made_once(corpus):
    split, _, cache, out = corpus
    command = (SCRIPT, split, cache, "--out", out, *FEW, "--subgenres", "subgenres")
    command += ("--words", "s", "d", "m", "s")
    said = run_in_process(*command)
    assert said.lines == [f"{out}: complete, words m d s of 4 artists in 2 groups"]
    prepared = groups_file.load_groups(out)
    table, mels = split_csv.read_split(split), MelCache(cache)
    train = table[table["subset"].eq("train")]
    statistics = band_statistics(mels, train["track_id"].to_numpy(object))
    np.testing.assert_array_equal([prepared.mean, prepared.std], statistics)
    assert list(prepared.groups) == ["m", "d", "s"] and "s" not in prepared.codebooks
    assert prepared.subgenres == sorted([*table["genre"].unique(), "calm", "wild"])
    for groups in prepared.groups.values():
        assert list(groups.artists) == list(table["artist"].unique())
        assert groups.proportions_of(train["artist"]).shape == (12, 2)
    assert prepared.codebooks["m"].centres.shape == (5, 25)
    assert prepared.inputs["cache"] == mels.made_from["inputs"]
    assert prepared.inputs["settings"] == {
        **{"words": "m d s", "clusters": 5, "track_clusters": 5, "groups": 2},
        **{"subgenres": "subgenres", "seed": 0},
    }
    before = out.read_bytes()
    assert run_in_process(*command).lines == [
        f"{out}: complete already, words m d s of 4 artists in 2 groups"
    ]
    assert out.read_bytes() == before
    message = error_in_process(*command, "--seed", 1)
    assert "seed: 0 -> 1" in message and str(out) in message
    assert 'words: "m d s" -> "m"' in error_in_process(*command[:-4], "m")
    # The same inputs make the same, and only training tracks count.
    change(split, table["subset"].ne("train"), artist="others", subgenres="", genre="")
    assert "split: " in error_in_process(*command)
    again = out.with_name("again.h5")
    run_in_process(*command[:4], again, *command[5:])
    found = groups_file.load_groups(again)
    np.testing.assert_array_equal(found.mean, prepared.mean)
    for word, groups in found.groups.items():
        np.testing.assert_array_equal(groups.proportions, prepared.groups[word].proportions)


def test_words_that_cannot_be_made_are_told_or_refused(corpus, no_essentia):
    split, audio, cache, out = corpus
    command = (SCRIPT, split, cache, "--out", out, *FEW)
    said = run_in_process(*command)
    assert said.lines[0].startswith(
        f"no word s: {split}: has no column 'genres'; it has track_id, "
    )
    assert said.lines[1:] == [
        "no word e without Essentia: pip install -r requirements-essentia.txt",
        f"{out}: complete, words m d of 4 artists in 2 groups",
    ]
    assert "no column 'genres'" in error_in_process(*command, "--words", "m", "s")
    out.unlink()
    message = error_in_process(*command, "--words", "e", "--audio", audio)
    assert "the word e needs Essentia; pip install" in message
    assert "--audio: the word e needs it" in error_in_process(*command, "--words", "e")
    assert "no such folder" in error_in_process(*command, "--words", "e", "--audio", audio / "no")
    assert not out.exists()


def test_tracks_and_artists_that_are_left_out_are_counted(corpus):
    split, _, cache, out = corpus
    change(split, of_artist(split), subgenres="")
    change(split, [6, 9], artist="")  # a training and a validation track of the next
    name = split_csv.read_split(split)["artist"][0]
    command = (SCRIPT, split, cache, "--out", out, *FEW, "--subgenres", "subgenres")
    said = run_in_process(*command, "--words", "m", "s")
    assert said.lines == [
        f"{split}: 1 training tracks without artist left out",
        f"{split}: 1 artists without a sub-genre: no groups of the word s for them, the first is "
        f"{name!r}",
        f"{out}: complete, words m s of 4 artists in 2 groups",
    ]
    prepared = groups_file.load_groups(out)
    assert prepared.groups["m"].contains([name, ""]).tolist() == [True, False]
    assert not prepared.groups["s"].contains([name]).any()


def test_an_artist_with_one_track_is_one(corpus):
    split, _, cache, out = corpus
    change(split, np.flatnonzero(of_artist(split))[1:], subset="test")
    run_in_process(SCRIPT, split, cache, "--out", out, *FEW, "--words", "m", "d")
    shares = groups_file.load_groups(out).groups["d"].proportions
    assert shares.shape == (4, 2)


def test_splits_that_make_no_groups_are_refused(corpus, small_corpus):
    split, audio, cache, out = corpus
    command = (SCRIPT, split, cache, "--out", out, "--words")
    frames = MelCache(cache).length[0] * 12
    assert f"{frames} vectors for {frames + 1} clusters; take fewer clusters" in error_in_process(
        *command, "m", "--clusters", frames + 1
    )
    message = error_in_process(*command, "e", "--track-clusters", 13, "--audio", audio)
    assert "--track-clusters 13: more than the 12 training tracks" in message
    change(split, slice(1, None), subgenres="")
    message = error_in_process(*command, "s", "--subgenres", "subgenres")
    assert "the word s: artist groups: 1 artists" in message
    change(split, ~of_artist(split), subset="test")
    assert f"{split}: training tracks of 1 artists" in error_in_process(*command, "m")
    change(split, slice(None), artist="")
    assert f"{split}: training tracks of 0 artists" in error_in_process(*command, "m")
    change(split, slice(None), subset="test")
    assert f"{split}: no track is in the subset train" in error_in_process(*command, "m")
    message = error_in_process(SCRIPT, small_corpus[0], split, "--out", out)
    assert "not an HDF5 file" in message
    assert not list(out.parent.iterdir())


@pytest.fixture
def described(monkeypatch):
    """Descriptors made up: all tracks of the first artist fail, and one of the second."""
    asked = []

    def of_tracks(track_ids, paths, folder, *, workers):
        asked.append((list(track_ids), list(paths), folder, workers))
        folder.mkdir(parents=True, exist_ok=True)
        kept = np.array(list(track_ids)[4:], object)
        failed = dict.fromkeys(list(track_ids)[:4], "is mute")
        values = np.random.default_rng(0).normal(size=(len(kept), 6)).astype(np.float32)
        values[2, 3] = np.nan
        return Described(np.array(list("abcdef"), object), values, kept, failed)

    monkeypatch.setattr(descriptors, "describe_tracks", of_tracks)
    return asked


def test_descriptors_of_what_could_be_described(corpus, described):
    split, audio, cache, out = corpus
    table = split_csv.read_split(split)
    train, first = table[table["subset"].eq("train")], table["artist"][0]
    command = (SCRIPT, split, cache, "--out", out, *FEW, "--words", "e", "--audio", audio)
    said = run_in_process(*command, "--workers", 3)
    assert said.lines == [
        f"{audio}: 4 of 12 tracks could not be described for the word e, the first, "
        f"{train['track_id'].iloc[0]}: is mute",
        f"{split}: 1 artists without descriptors: no groups of the word e for them, the first is "
        f"{first!r}",
        f"{out}: complete, words e of 3 artists in 2 groups",
    ]
    (tracks, paths, folder, workers), making = described[0], out.with_name("s.h5.making")
    assert tracks == list(train["track_id"]) and workers == 3 and folder == making
    assert paths == [audio / path for path in train["path"]]
    assert not making.exists()
    prepared = groups_file.load_groups(out)
    assert prepared.codebooks["e"].centres.shape == (5, 5)  # one descriptor is missing in a track
    assert list(prepared.groups["e"].artists) == list(train["artist"].unique()[1:])
    making.mkdir()  # by a kill after the file was whole
    assert "complete already" in run_in_process(*command).out and not making.exists()
    assert len(described) == 1


def test_what_was_described_survives_a_kill(corpus, described, monkeypatch):
    split, audio, cache, out = corpus
    command = (SCRIPT, split, cache, "--out", out, *FEW, "--words", "m", "e", "--audio", audio)

    def killed(*arguments):
        raise InputError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(groups_file, "save_groups", killed)
        assert "killed" in error_in_process(*command)
    assert out.with_name("s.h5.making").is_dir() and not out.exists()
    run_in_process(*command)
    assert [path.name for path in out.parent.iterdir()] == ["s.h5"]


@pytest.mark.skipif(importlib.util.find_spec("essentia") is None, reason="Essentia is not there")
def test_all_words_of_real_songs(corpus):
    split, audio, cache, out = corpus
    command = (SCRIPT, split, cache, "--out", out, *FEW, "--subgenres", "subgenres")
    said = run_in_process(*command, "--audio", audio)
    assert said.lines[-1] == f"{out}: complete, words m d e s of 4 artists in 2 groups"
    prepared = groups_file.load_groups(out)
    assert prepared.codebooks["e"].centres.shape[1] > 1000
    assert list(prepared.groups) == ["m", "d", "e", "s"]
    assert "--audio: the word e needs it" in error_in_process(*command)
