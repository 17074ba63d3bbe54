"""Catalogs and the rule that deals songs to subsets; script 1, which writes them down."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import provenance
from common.errors import InputError
from data_prep import split_csv
from data_prep.catalogs import deal, from_folder
from data_prep.split_csv import SUBSETS
from tests.conftest import ROOT

SCRIPT = ROOT / "data_prep" / "1_make_splits.py"


def catalog(songs):
    """Artists a0, a1, … with that many songs, on three albums of very different length."""
    rows = [
        (f"a{artist}/{song}", f"a{artist}", "long" if song > 5 else "ab"[song % 2])
        for artist, count in enumerate(songs)
        for song in range(count)
    ]
    table = pd.DataFrame(rows, columns=["track_id", "artist", "album"])
    return table.assign(path=table["track_id"], genre=table["artist"].str[-1])


def test_each_artist_gets_its_shares():
    dealt = deal(catalog([20, 35, 19, 24]))
    counts = dealt.groupby(["artist", "subset"]).size().unstack()
    assert counts.index.tolist() == ["a0", "a1", "a3"]  # a2 has too few songs
    assert (counts[["train", "valid", "test"]] == [15, 3, 2]).all(axis=None)
    assert dealt["track_id"].is_unique and dealt.index.equals(pd.RangeIndex(60))
    assert dealt.columns.tolist() == ["track_id", "artist", "album", "path", "genre", "subset"]


@given(st.integers(1, 6), st.integers(0, 5), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=20)
def test_fewer_artists_are_the_first_rows_of_more(groups, seed, albums):
    table = catalog([9, 20, 7, 8, 12, 30, 10])
    table = table if albums else table.drop(columns="album")
    options = {"songs": 8, "shares": (5, 2, 1), "seed": seed}
    whole = deal(table, **options)
    part = deal(table, groups=groups, **options)
    assert len(part) == 8 * groups and part.equals(whole[: 8 * groups])


def test_the_seed_decides_and_nothing_else():
    table = catalog([30] * 6)
    assert deal(table, seed=1).equals(deal(table, seed=1))
    one, other = deal(table, seed=1), deal(table, seed=2)
    assert list(one["artist"].unique()) != list(other["artist"].unique())
    assert set(one["track_id"]) != set(other["track_id"])
    merged = one.merge(other, on="track_id")
    assert (merged["subset_x"] != merged["subset_y"]).any()


def test_songs_are_spread_over_albums():
    dealt = deal(catalog([40, 40]), songs=9, shares=(5, 2, 2))
    # Three each of a, b and the long one, which would get 7 or 8 of 9 otherwise.
    assert (dealt.groupby(["artist", "album"]).size() == 3).all()


def test_dealing_by_another_label():
    dealt = deal(catalog([10, 10, 4]), by="genre", songs=10, shares=(8, 1, 1))
    assert dealt["genre"].nunique() == 2 and len(dealt) == 20
    blank = catalog([10, 10]).assign(artist=["a0"] * 10 + [""] * 10)
    assert set(deal(blank, songs=10, shares=(8, 1, 1))["artist"]) == {"a0"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"songs": 10}, r"--train 15 --valid 3 --test 2: sum to 20, not to --songs 10"),
        ({"groups": 3}, r"2 of 3 values of 'artist' have 20 tracks or more, 3 are asked for"),
        ({"songs": 50, "shares": (48, 1, 1)}, r"0 of 3 values of 'artist' have 50 tracks"),
        ({"by": "mood"}, r"--by mood: no such label; there are track_id"),
    ],
)
def test_what_cannot_be_dealt(options, why):
    with pytest.raises(InputError, match=why):
        deal(catalog([20, 20, 5]), **options)


@pytest.fixture
def music(tmp_path):
    root = tmp_path / "music"
    for path in ("a/x/1.wav", "a/x/2.mp3", "b/y/1.wav", "b/y/disc 1/1.wav", "loose.wav"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def test_labels_are_read_off_paths(music):
    table, left_out = from_folder(music, "{artist}/{album}/{}")
    assert table["path"].tolist() == ["a/x/1.wav", "a/x/2.mp3", "b/y/1.wav"]
    assert table["artist"].tolist() == ["a", "a", "b"] and table["album"].tolist() == list("xxy")
    assert left_out == ["b/y/disc 1/1.wav", "loose.wav"]
    assert table.columns.tolist() == ["track_id", "path", "artist", "album"]


def test_patterns_without_artists_and_with_dots(tmp_path):
    for name in ("blues.00000.wav", "hip.hop.00001.wav", "x+y.00000.wav"):
        (tmp_path / name).write_bytes(b"x")
    table, left_out = from_folder(tmp_path, "{genre}.{}")
    assert table["genre"].tolist() == ["blues", "hip", "x+y"] and not left_out
    assert table["artist"].tolist() == ["", "", ""]
    table, left_out = from_folder(tmp_path, "x+{genre}.00000")
    assert table["genre"].tolist() == ["y"] and len(left_out) == 2


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{}", "needs names in braces"),
        ("{artist}/{artist}", "needs names in braces, each once"),
        ("{path}/{}", "none reserved"),
        ("{an artist}/{}", "is letters, digits and _"),
        ("{artist}/{a}/{b}/{c}/{d}", r"no file fits the pattern .*not even 'a/x/1.wav'"),
    ],
)
def test_patterns_that_are_wrong(music, pattern, why):
    with pytest.raises(InputError, match=why):
        from_folder(music, pattern)


def make_splits(*arguments):
    words = [sys.executable, SCRIPT, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def library(tmp_path):
    for artist in range(4):
        for song in range(5):
            path = tmp_path / "library" / f"artist {artist}" / f"album {song % 2}" / f"{song}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (tmp_path / "library" / "loose.wav").write_bytes(b"x")
    return tmp_path / "library"


def test_script_1_makes_a_split_of_a_folder_once(library, tmp_path):
    out = tmp_path / "splits" / "mine.csv"
    command = ("folder", "--root", library, "--out", out, "--songs", 5)
    command += ("--train", 3, "--valid", 1, "--test", 1)
    status, said, error = make_splits(*command, "--artists", 3, "--workers", 1)
    assert (status, error) == (0, "")
    assert said.splitlines() == [
        f"{library}: 1 files do not fit the pattern: loose.wav …",
        f"{out}: 9 train, 3 valid, 3 test",
    ]
    table = split_csv.read(out)
    assert table["artist"].nunique() == 3 and table.columns.tolist()[-1] == "album"
    assert all((library / path).is_file() for path in table["path"])
    assert provenance.read_sidecar(out)["inputs"]["seed"] == 0
    before = out.stat().st_mtime_ns
    # How many processes there are makes no other split.
    status, said, _ = make_splits(*command, "--artists", 3, "--workers", 2)
    assert status == 0 and said.endswith("complete already\n")
    assert out.stat().st_mtime_ns == before
    status, _, error = make_splits(*command, "--artists", 2, "--seed", 7)
    assert status == 1 and error.count("\n") == 1
    assert "artists: 3 -> 2" in error and "seed: 0 -> 7" in error


def test_script_1_says_what_is_wrong(library, tmp_path):
    out = tmp_path / "s.csv"
    status, _, error = make_splits("folder", "--root", tmp_path / "nowhere", "--out", out)
    assert status == 1
    assert error == f"error: {tmp_path / 'nowhere'}: no such folder; check the path\n"
    status, _, error = make_splits("folder", "--root", library, "--out", out)
    assert status == 1 and "have 20 tracks or more" in error
    status, _, error = make_splits("tapes", "--root", library, "--out", out)
    assert status == 2 and "invalid choice: 'tapes'" in error
    assert not out.exists() and os.listdir(tmp_path) == ["library"]
    assert set(SUBSETS) == {"train", "valid", "test"}
