"""The rule that deals an artist's songs to subsets, and the checks of what is dealt."""

import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep import artist_split, split_csv
from data_prep.artist_split import (
    ArtistSplitReport,
    artist_key,
    read_artists,
    similar_names,
    split_by_artist,
)

SMALL = {"songs": 8, "shares": (5, 2, 1)}
# For each artist the lengths of its albums; an album of length 0 is none.
ALBUMS = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=1, max_size=8)


def catalog(songs):
    """Artists a0, a1, … with that many songs, on three albums of very different length."""
    rows = [
        (f"a{artist}/{song}", f"a{artist}", "long" if song > 5 else "ab"[song % 2])
        for artist, count in enumerate(songs)
        for song in range(count)
    ]
    table = pd.DataFrame(rows, columns=["track_id", "artist", "album"])
    return table.assign(path=table["track_id"], genre=table["artist"].str[-1])


def with_albums(lengths):
    """Artists a0, a1, … with albums of these lengths, and a last one that has enough songs."""
    rows = [
        (f"a{artist}/{album}/{song}", f"a{artist}", str(album))
        for artist, albums in enumerate([*lengths, [3, 9]])
        for album, length in enumerate(albums)
        for song in range(length)
    ]
    table = pd.DataFrame(rows, columns=["track_id", "artist", "album"])
    return table.assign(path=table["track_id"] + ".mp3")


def written(folder, **columns):
    plain = {"track_id": ["a", "b"], "path": ["a", "b"], "subset": ["train", "test"]}
    table = pd.DataFrame({**plain, "artist": ["x", "y"], **columns}, dtype=str)
    split_csv.write_split(table, folder / "s.csv", {"inputs": {}})
    return folder / "s.csv"


# ---------------------------------------------------------------- the rule


def test_each_artist_gets_its_shares():
    dealt = split_by_artist(catalog([20, 35, 19, 24])).table
    counts = dealt.groupby(["artist", "subset"]).size().unstack()
    assert counts.index.tolist() == ["a0", "a1", "a3"]  # a2 has too few songs
    assert (counts[["train", "valid", "test"]] == [15, 3, 2]).all(axis=None)
    assert dealt["track_id"].is_unique and dealt.index.equals(pd.RangeIndex(60))
    assert dealt.columns.tolist() == ["track_id", "artist", "album", "path", "genre", "subset"]
    for _, songs in dealt.groupby(dealt.index // 20):  # an artist after the other, each sorted
        assert songs["artist"].nunique() == 1 and songs["track_id"].is_monotonic_increasing


@given(ALBUMS, st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_any_catalog_gets_its_shares(lengths, seed):
    table = with_albums(lengths)
    dealt = split_by_artist(table, seed=seed, **SMALL).table
    sizes = table["artist"].value_counts()
    assert set(dealt["artist"]) == set(sizes.index[sizes >= 8])
    for subset, share in zip(split_csv.SUBSETS, SMALL["shares"], strict=True):
        assert dealt.loc[dealt["subset"].eq(subset), "artist"].value_counts().eq(share).all()
    assert dealt["track_id"].is_unique
    plain = dealt.drop(columns="subset").merge(table, on=table.columns.tolist())
    assert len(plain) == len(dealt)  # the rows are the table's


@given(st.integers(1, 6), st.integers(0, 5), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=20)
def test_fewer_artists_are_the_first_rows_of_more(groups, seed, albums):
    table = catalog([9, 20, 7, 8, 12, 30, 10])
    table = table if albums else table.drop(columns="album")
    whole = split_by_artist(table, seed=seed, **SMALL).table
    part = split_by_artist(table, groups=groups, seed=seed, **SMALL).table
    assert len(part) == 8 * groups and part.equals(whole[: 8 * groups])


@given(ALBUMS, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_the_order_of_the_rows_does_not_matter(lengths, seed, random):
    table = with_albums(lengths)
    rows = list(range(len(table)))
    random.shuffle(rows)
    shuffled = table.iloc[rows]  # with its index in disorder, too
    dealt, other = (split_by_artist(one, seed=seed, **SMALL) for one in (table, shuffled))
    assert other.table.equals(dealt.table) and other.report == dealt.report
    assert shuffled.equals(table.iloc[rows])  # what is given is left as it is


def test_the_seed_decides_and_nothing_else():
    table = catalog([30] * 6)
    assert split_by_artist(table, seed=1).table.equals(split_by_artist(table, seed=1).table)
    one, other = (split_by_artist(table, seed=seed).table for seed in (1, 2))
    assert list(one["artist"].unique()) != list(other["artist"].unique())
    assert set(one["track_id"]) != set(other["track_id"])
    merged = one.merge(other, on="track_id")
    assert (merged["subset_x"] != merged["subset_y"]).any()


def test_no_upgrade_changes_what_is_drawn():
    dealt = split_by_artist(catalog([30] * 6), seed=3).table
    text = "\n".join(dealt["track_id"] + " " + dealt["subset"])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e69d6ef3252d78cd"


def test_songs_are_spread_over_albums():
    dealt = split_by_artist(catalog([40, 40]), songs=9, shares=(5, 2, 2)).table
    # Three each of a, b and the long one, which would get 7 or 8 of 9 otherwise.
    assert (dealt.groupby(["artist", "album"]).size() == 3).all()


@given(ALBUMS, st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_no_album_is_used_twice_more_than_one_that_has_songs_left(lengths, seed):
    table = with_albums(lengths)
    dealt = split_by_artist(table, seed=seed, **SMALL).table
    used = dealt.groupby(["artist", "album"]).size()
    there = table.groupby(["artist", "album"]).size()
    for artist in dealt["artist"].unique():
        use = used[artist].reindex(there[artist].index, fill_value=0)
        has_left = use < there[artist]
        assert not has_left.any() or use.max() - use[has_left].min() <= 1


def test_luck_is_fair():
    """Over 400 seeds: albums whatever their length, artists' places, songs and their subsets."""
    table = with_albums([[1, 2, 9], [12]])  # and 3 + 9 songs of a2
    dealt = [
        split_by_artist(table, songs=2, shares=(1, 1, 0), seed=seed).table for seed in range(400)
    ]
    first = pd.Series([one["artist"][0] for one in dealt]).value_counts()
    assert first.between(133 - 40, 133 + 40).all() and len(first) == 3
    everything = pd.concat(dealt)
    albums = everything[everything["artist"].eq("a0")]["album"].value_counts()
    assert albums.between(267 - 40, 267 + 40).all() and len(albums) == 3
    songs = everything[everything["artist"].eq("a1")]["track_id"].value_counts()
    assert songs.between(67 - 30, 67 + 30).all() and len(songs) == 12
    train = everything[everything["artist"].eq("a1") & everything["subset"].eq("train")]
    assert train["track_id"].value_counts().between(33 - 25, 33 + 25).all() and len(train) == 400


def test_dealing_by_another_label():
    dealt = split_by_artist(catalog([10, 10, 4]), by="genre", songs=10, shares=(8, 1, 1)).table
    assert dealt["genre"].nunique() == 2 and len(dealt) == 20
    blank = catalog([10, 10]).assign(artist=["a0"] * 10 + ["", " "] * 5)
    found = split_by_artist(blank, songs=10, shares=(8, 1, 1))
    assert set(found.table["artist"]) == {"a0"}
    assert (found.report.groups, found.report.unnamed) == (1, 10)


def test_a_file_is_dealt_once():
    table = catalog([25, 20])
    table.loc[:2, "path"] = ["a0/9", "./a0/9", "a0//9"]  # four tracks of one file; a0/0 is first
    found = split_by_artist(table, by="artist")
    assert found.report.repeated == 3
    assert not set(found.table["track_id"]) & {"a0/1", "a0/2", "a0/9"}
    table.loc[25, "path"] = "a0/9"
    with pytest.raises(InputError, match=r"1 of 2 values of 'artist' have 20 tracks"):
        split_by_artist(table, groups=2)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"songs": 10}, r"--train 15 --valid 3 --test 2: sum to 20, not to --songs 10; change"),
        ({"groups": 3}, r"2 of 3 values of 'artist' have 20 tracks or more, 3 are asked for"),
        ({"songs": 50, "shares": (48, 1, 1)}, r"0 of 3 values of 'artist' have 50 tracks"),
        ({"by": "mood"}, r"--by mood: no such label; there are track_id"),
        (
            {"groups": 2, "exclude": frozenset({"A1", "zz"})},
            r"1 of 3 values of 'artist' have 20 tracks or more without 1 excluded artists, 2 are",
        ),
    ],
)
def test_what_cannot_be_dealt(options, why):
    with pytest.raises(InputError, match=why):
        split_by_artist(catalog([20, 20, 5]), **options)


def test_tracks_that_cannot_be_dealt():
    table = catalog([20, 20])
    twice = pd.concat([table, table[7:9]])
    with pytest.raises(InputError, match=r"^track_id 'a0/7' stands twice in the catalog; keep one"):
        split_by_artist(twice)
    with pytest.raises(InputError, match="0 of 0 values of 'artist'"):
        split_by_artist(table.assign(artist=""))


# ---------------------------------------------------------------- what is left out


def test_what_is_left_out_is_counted():
    table = catalog([20, 35, 19, 24, 40, 3])
    table = pd.concat([table, catalog([2]).assign(track_id=["x", "y"], path=["x", "y"], artist="")])
    found = split_by_artist(table, groups=2, exclude=frozenset({"a0", "a5", "nobody"}))
    assert found.report == ArtistSplitReport(
        by="artist",
        songs=20,
        groups=6,
        qualify=3,
        used=2,
        few=1,
        excluded=2,
        unnamed=2,
        repeated=0,
    )
    assert found.report.lines() == [
        "artist: 6 in all, 3 qualify, 2 used",
        "left out: 1 with fewer than 20 tracks, 2 artists of target sets, 2 tracks with no artist",
    ]
    assert found.table["artist"].nunique() == 2
    assert split_by_artist(catalog([20])).report.lines() == ["artist: 1 in all, 1 qualify, 1 used"]
    assert "3 tracks whose file" in dataclasses.replace(found.report, repeated=3).lines()[1]


@given(ALBUMS, st.sets(st.integers(0, 8), max_size=4), st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_excluding_some_changes_nothing_for_the_others(lengths, some, seed):
    table = with_albums([*lengths, [8]])
    exclude = frozenset(f" A{number}" for number in some if number <= len(lengths))
    whole = split_by_artist(table, seed=seed, **SMALL).table
    found = split_by_artist(table, seed=seed, exclude=exclude, **SMALL)
    there = set(table["artist"])
    kept = whole[~whole["artist"].isin([name.strip().lower() for name in exclude])]
    assert found.table.equals(kept.reset_index(drop=True))
    assert found.report.excluded == sum(name.strip().lower() in there for name in exclude)


def test_artists_are_excluded_whatever_the_spelling(tmp_path):
    named = ["Björk", "SIGUR  RÓS", "The Beatles", "日本"]
    table = catalog([20] * 5)
    spelled = {"a0": "BJORK", "a1": "Sigur Rós", "a2": "Beatles", "a3": "日本 "}
    table["artist"] = table["artist"].replace(spelled)
    split = written(tmp_path, artist=named[:2])
    assert read_artists(split) == {"Björk", "SIGUR  RÓS"}
    found = split_by_artist(table, exclude=read_artists(split) | frozenset(named[2:]))
    # The Beatles and Beatles are two names here.
    assert set(found.table["artist"]) == {"Beatles", "a4"} and found.report.excluded == 3
    by_genre = split_by_artist(table, by="genre", exclude=read_artists(split))
    assert set(by_genre.table["genre"]) == {"2", "3", "4"}
    assert (by_genre.report.few, by_genre.report.excluded) == (2, 2)


def test_a_split_without_artists_excludes_nobody(tmp_path):
    with pytest.raises(InputError, match=r"s\.csv: names no artist that could be excluded; give"):
        read_artists(written(tmp_path, artist=["", " "]))
    with pytest.raises(InputError, match="no such split"):
        read_artists(tmp_path / "none.csv")
    assert split_by_artist(catalog([20]), exclude=frozenset({"", " "})).report.excluded == 0


def test_names_that_are_alike():
    names = ["Bjork", "Björk", "AC/DC", "Ac/Dc", "ACDC", "x y", " x\u00a0 y ", "Straße", "STRASSE"]
    assert similar_names([*names, *names, "", " ", "ö", "Bjo\u0308rk"]) == [
        ("\u0020x\u00a0 y ", "x y"),
        ("AC/DC", "Ac/Dc"),
        ("Bjork", "Bjo\u0308rk", "Björk"),
        ("STRASSE", "Straße"),
    ]
    assert similar_names([]) == similar_names(["a", "b"]) == []


@given(st.text(max_size=8))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_key_of_a_name_is_its_own_key(name):
    key = artist_key(name)
    assert artist_key(key) == key == artist_key(f" {name}\n")
    assert key.isascii() or not name.isascii()


# ---------------------------------------------------------------- checks


def test_what_is_odd_is_counted():
    table = catalog([3, 3]).assign(tags="")
    assert artist_split.check_artists(table.drop(columns="tags"), "music") == []
    table["artist"] = ["Björk", "Bjork", "", " ", "x", "X"]
    table.loc[2, "genre"] = None
    assert artist_split.check_artists(table, "music") == [
        "music: 2 of 6 tracks have no artist",
        "music: 1 of 6 tracks have no genre",
        "music: 6 of 6 tracks have no tags",
        "music: 2 artists are spelled in several ways, which are kept apart: 'Bjork' and 'Björk' …",
    ]
    assert not artist_split.check_artists(table[["track_id", "path", "artist"]][4:5], "music")


@pytest.mark.parametrize(
    ("row", "columns", "why"),
    [
        (1, {"track_id": ""}, "row 3: track_id '' is empty; name each track"),
        (1, {"track_id": None}, "row 3: track_id nan is empty; name each track"),
        (2, {"track_id": "a0/0"}, "row 4: track_id 'a0/0' stands twice; keep one row of it"),
        (3, {"path": "../x"}, r"row 5: path '\.\./x' does not lie below the audio folder; corr"),
        (3, {"path": ""}, r"row 5: path '' does not lie below the audio folder; correct it"),
        (2, {"subset": "dev"}, "row 4: subset 'dev' is none of train, valid, test; correct it"),
        (2, {"path": "./a0/0", "subset": "test"}, "row 4: path './a0/0' is in two subsets; keep"),
    ],
)
def test_what_is_wrong_is_refused(row, columns, why):
    table = catalog([4]).assign(subset="train")
    table.index += 10
    table.loc[10 + row, list(columns)] = list(columns.values())
    with pytest.raises(InputError, match=f"^music: {why}"):
        artist_split.check_artists(table, "music")
    if "subset" not in columns:
        with pytest.raises(InputError, match=why):
            artist_split.check_artists(table.drop(columns="subset"), "music")


def test_columns_that_are_needed():
    with pytest.raises(InputError, match=r"^music: lacks the column path; make it again$"):
        artist_split.check_artists(catalog([4]).drop(columns="path"), "music")
    with pytest.raises(InputError, match="lists no track"):
        artist_split.check_artists(catalog([4])[:0], "music")


def test_an_artist_in_two_subsets_and_a_file_twice_in_one_are_fine():
    table = catalog([4]).assign(subset=["train", "train", "test", "valid"])
    table.loc[1, "path"] = "a0/0"
    assert artist_split.check_artists(table, "music") == []


def test_what_is_dealt_can_be_written(tmp_path):
    dealt = split_by_artist(catalog([20, 20])).table
    split_csv.write_split(dealt, tmp_path / "s.csv", {"inputs": {}})
    found = split_csv.read_split(tmp_path / "s.csv")
    assert found.equals(dealt[found.columns]) and artist_split.check_artists(found, "s.csv") == []
    assert read_artists(tmp_path / "s.csv") == {"a0", "a1"}
    assert np.array_equal(found["subset"].value_counts()[["train", "valid", "test"]], [30, 6, 4])
