"""Tests of splitting by artist and by genre, and of the checks made before splitting."""

import hashlib
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from common.errors import InputError
from data_prep import split_csv, split_methods
from data_prep.split_methods import (
    describe_untrainable,
    read_artists,
    split_by_artist,
    split_by_genre,
    split_disjoint,
)

SMALL = {"tracks_per_group": 8, "subset_sizes": (5, 2, 1)}
# Album lengths for each artist; an album of length 0 does not exist.
ALBUMS = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=1, max_size=8)


def catalog(counts):
    """Return artists a0, a1, … with these track counts, on three albums of very unequal length."""
    rows = [
        (f"a{artist}/{track}", f"a{artist}", "long" if track > 5 else "ab"[track % 2])
        for artist, count in enumerate(counts)
        for track in range(count)
    ]
    table = pd.DataFrame(rows, columns=["track_id", "artist", "album"])
    return table.assign(path=table["track_id"], genre=table["artist"].str[-1])


def with_albums(lengths):
    """Return artists a0, a1, … with these album lengths, and one more with enough tracks."""
    rows = [
        (f"a{artist}/{album}/{track}", f"a{artist}", str(album))
        for artist, albums in enumerate([*lengths, [3, 9]])
        for album, length in enumerate(albums)
        for track in range(length)
    ]
    table = pd.DataFrame(rows, columns=["track_id", "artist", "album"])
    return table.assign(path=table["track_id"] + ".mp3")


def write_split(folder, artists):
    table = {"track_id": ["a", "b"], "path": ["a", "b"], "subset": ["train", "test"]}
    table = pd.DataFrame({**table, "artist": artists}, dtype=str)
    split_csv.write_split(table, folder / "s.csv", {"inputs": {}})
    return folder / "s.csv"


@given(ALBUMS, st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_subsets_have_requested_sizes_and_are_spread_over_albums(lengths, seed):
    table = with_albums(lengths)
    split, _ = split_by_artist(table, seed=seed, **SMALL)
    assert split.columns.tolist() == [*table.columns, "subset"]
    for _, tracks in split.groupby(split.index // 8):  # grouped by artist and sorted by id
        assert tracks["artist"].nunique() == 1 and tracks["track_id"].is_monotonic_increasing
    sizes = table["artist"].value_counts()
    assert set(split["artist"]) == set(sizes.index[sizes >= 8])
    for subset, size in zip(split_csv.SUBSETS, SMALL["subset_sizes"], strict=True):
        assert split.loc[split["subset"].eq(subset), "artist"].value_counts().eq(size).all()
    assert split["track_id"].is_unique
    rows = split.drop(columns="subset").merge(table, on=table.columns.tolist())
    assert len(rows) == len(split)  # every row comes from the table
    # An album with unused tracks contributes at most one track less than any other album.
    used = split.groupby(["artist", "album"]).size()
    available = table.groupby(["artist", "album"]).size()
    for artist in split["artist"].unique():
        use = used[artist].reindex(available[artist].index, fill_value=0)
        has_left = use < available[artist]
        assert not has_left.any() or use.max() - use[has_left].min() <= 1


@given(st.integers(1, 6), st.integers(0, 5), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=20)
def test_smaller_split_is_a_prefix_of_a_larger_one(max_groups, seed, albums):
    table = catalog([9, 20, 7, 8, 12, 30, 10])
    table = table if albums else table.drop(columns="album")
    whole, _ = split_by_artist(table, seed=seed, **SMALL)
    part, _ = split_by_artist(table, max_groups=max_groups, seed=seed, **SMALL)
    assert len(part) == 8 * max_groups and part.equals(whole[: 8 * max_groups])


@given(ALBUMS, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_row_order_does_not_matter(lengths, seed, random):
    table = with_albums(lengths)
    rows = list(range(len(table)))
    random.shuffle(rows)
    shuffled = table.iloc[rows]  # the index is shuffled as well
    (split, notes), (other, other_notes) = (
        split_by_artist(one, seed=seed, **SMALL) for one in (table, shuffled)
    )
    assert other.equals(split) and other_notes == notes
    assert shuffled.equals(table.iloc[rows])  # the argument is not modified


def test_split_depends_on_the_seed_and_not_on_the_version():
    split, _ = split_by_artist(catalog([30] * 6), seed=3)
    other, _ = split_by_artist(catalog([30] * 6), seed=2)
    assert set(split["track_id"]) != set(other["track_id"])
    text = "\n".join(split["track_id"] + " " + split["subset"])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e69d6ef3252d78cd"


def test_random_choices_are_uniform():
    """Test over 150 seeds that artists, albums, tracks and subsets are drawn uniformly."""
    table = with_albums([[1, 2, 9], [12]])  # with_albums adds a2, with 3 + 9 tracks
    options = {"tracks_per_group": 2, "subset_sizes": (1, 1, 0)}
    splits = [split_by_artist(table, seed=seed, **options)[0] for seed in range(150)]
    tracks = pd.concat(splits)
    a1 = tracks[tracks["artist"].eq("a1")]
    for drawn, values in (
        (pd.Series([split["artist"][0] for split in splits]), 3),
        (tracks["album"][tracks["artist"].eq("a0")], 3),
        (a1["track_id"], 12),
        (a1["track_id"][a1["subset"].eq("train")], 12),
    ):
        counts = drawn.value_counts()
        assert len(counts) == values and chisquare(counts).pvalue > 0.01


def test_duplicate_file_is_used_once():
    table = catalog([25, 20])
    table.loc[:2, "path"] = ["a0/9", "./a0/9", "a0//9"]  # of these and a0/9, a0/0 comes first
    split, notes = split_by_artist(table)
    assert notes[1] == "left out: 3 tracks that share a file with another track"
    assert not set(split["track_id"]) & {"a0/1", "a0/2", "a0/9"}
    table.loc[25, "path"] = "a0/9"
    with pytest.raises(InputError, match=r"1 of 2 values of 'artist' have 20 tracks"):
        split_by_artist(table, max_groups=2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tracks_per_group": 10}, r"--train 15 --valid 3 --test 2 sum to 20, not to --tracks-per"),
        ({"max_groups": 3}, r"2 of 3 values of 'artist' have 20 tracks or more, but 3 are needed"),
        ({"tracks_per_group": 50, "subset_sizes": (48, 1, 1)}, r"0 of 3 values .* 50 tracks"),
        ({"by": "mood"}, r"--by mood: no such label; choose from track_id"),
        ({"by": "blank"}, "0 of 0 values of 'blank'"),
        (
            {"max_groups": 2, "exclude": frozenset({"A1", "zz"})},
            r"1 of 3 values of 'artist' .*, without the 1 excluded artists, but 2 are needed",
        ),
    ],
)
def test_rejects_impossible_options(options, problem):
    with pytest.raises(InputError, match=problem):
        split_by_artist(catalog([20, 20, 5]).assign(blank=" "), **options)


@pytest.mark.parametrize(
    ("counts", "max_groups", "suggestion"),
    [
        # 20 artists x 7 tracks are more than 30 x 4 or 2 x 19.
        ([19] * 2 + [7] * 18 + [4] * 10, None, "20 have 7 or more: try .* 7 --train 5 --valid 1 "),
        ([19] * 2 + [7] * 18 + [4] * 10, 25, "30 have 4 or more: try .* 4 --train 2 --valid 1 "),
        ([19, 19], None, "2 have 19 or more: try .* 19 --train 16 --valid 2 --test 1$"),
        ([19, 3], None, "; add tracks, or artists$"),
        ([], None, "; add tracks, or artists$"),
        ([20, 20], 3, "; add tracks, or artists, or lower --max-artists$"),
    ],
)
def test_rejected_split_suggests_options_that_work(counts, max_groups, suggestion):
    table = catalog([*counts, 1])
    with pytest.raises(InputError, match=suggestion) as error:
        split_by_artist(table, max_groups=max_groups)
    options = dict(re.findall(r"--(\S+) (\d+)", str(error.value)))
    if options:
        tracks, *sizes = map(int, options.values())
        split, _ = split_by_artist(
            table, max_groups=max_groups, tracks_per_group=tracks, subset_sizes=tuple(sizes)
        )
        assert describe_untrainable(split, "s.csv") == []


def test_split_that_no_training_script_accepts_is_described():
    split, _ = split_by_artist(catalog([20] * 3))
    assert describe_untrainable(split, "s.csv") == []
    assert describe_untrainable(split.assign(artist=" "), "s.csv") == []
    assert describe_untrainable(split.assign(subset="test"), "s.csv") == []
    every, siamese = ("train_basic.py and train_siamese.py", "train_siamese.py")
    first = ~split.duplicated(["artist", "subset"])
    for changed, scripts, problem in (
        (split[split["subset"].ne("valid")], every, "no track is in the subset valid"),
        (split[split["subset"].ne("train")], every, "no track is in the subset train"),
        (split.assign(artist="A"), every, "all tracks are by one artist"),
        (split[(split["subset"].ne("train")) | split["artist"].ne("a1")], every, "'a1' has no tr"),
        (split[split["subset"].ne("train") | first], siamese, "has one track"),
    ):
        [note] = describe_untrainable(changed.reset_index(drop=True), "s.csv")
        assert note.startswith(f"{scripts} would refuse to train on these artists: s.csv: ")
        assert problem in note


def test_notes_count_excluded_artists_and_tracks():
    table = catalog([20, 35, 19, 24, 40, 3])
    table = pd.concat([table, catalog([2]).assign(track_id=["x", "y"], path=["x", "y"], artist="")])
    split, notes = split_by_artist(
        table, max_groups=2, exclude=frozenset({"a0", "a5", "nobody", "", " "})
    )
    assert notes == [
        "artist: 6 in all, 3 qualify, 2 used",
        "left out: 1 with fewer than 20 tracks, 2 excluded artists, 2 tracks with no artist",
    ]
    assert split["artist"].nunique() == 2
    assert split_by_artist(catalog([20]))[1] == ["artist: 1 in all, 1 qualify, 1 used"]


@given(ALBUMS, st.sets(st.integers(0, 8), max_size=4), st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_excluding_artists_does_not_affect_others(lengths, numbers, seed):
    table = with_albums([*lengths, [8]])
    exclude = frozenset(f" A{number}" for number in numbers if number <= len(lengths))
    whole, _ = split_by_artist(table, seed=seed, **SMALL)
    split, _ = split_by_artist(table, seed=seed, exclude=exclude, **SMALL)
    kept = whole[~whole["artist"].isin([name.strip().lower() for name in exclude])]
    assert split.equals(kept.reset_index(drop=True))


def test_artists_are_excluded_in_any_spelling(tmp_path):
    table = catalog([20] * 5)
    spelled = {"a0": "BJORK", "a1": "Sigur Rós", "a2": "Beatles", "a3": "日本 "}
    table["artist"] = table["artist"].replace(spelled)
    artists = read_artists(write_split(tmp_path, ["Björk", "SIGUR  RÓS"]))
    assert artists == {"Björk", "SIGUR  RÓS"}
    with pytest.raises(InputError, match=r"s\.csv: has no artist that could be excluded; give"):
        read_artists(write_split(tmp_path, ["", " "]))
    split, notes = split_by_artist(table, exclude=artists | frozenset({"The Beatles", "日本"}))
    # The Beatles and Beatles are different names.
    assert set(split["artist"]) == {"Beatles", "a4"} and "3 excluded artists" in notes[1]
    split, notes = split_by_artist(table, by="genre", exclude=artists)
    assert set(split["genre"]) == {"2", "3", "4"}
    assert notes[1] == "left out: 2 with fewer than 20 tracks, 2 excluded artists"


def test_check_artists_reports_missing_labels_and_similar_names():
    table = catalog([3, 3]).assign(tags="")
    assert split_methods.check_artists(table.drop(columns="tags"), "music") == []
    table["artist"] = ["Björk", "Bjork", "", " ", "x", "X"]
    table.loc[2, "genre"] = None
    assert split_methods.check_artists(table, "music") == [
        "music: of 6 tracks, 2 have no artist, 1 have no genre, 6 have no tags",
        "music: 2 artists may be named in several ways, which are kept apart: "
        "'Bjork' = 'Björk'; 'X' = 'x'",
    ]
    assert not split_methods.check_artists(table[["track_id", "path", "artist"]][4:5], "music")


COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


def genres(counts, **columns):
    """Return genres g0, g1, … with these track counts, by 3 artists each."""
    rows = [
        (f"{genre}/{track}", f"{genre}/{track}.mp3", f"a{track % 3} of g{genre}", f"g{genre}")
        for genre, count in enumerate(counts)
        for track in range(count)
    ]
    table = pd.DataFrame(rows, columns=["track_id", "path", "artist", "genre"])
    return table.assign(**columns)


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 5))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_each_genre_has_the_requested_test_fraction(counts, fraction, seed):
    table, notes = split_by_genre(genres(counts), test_fraction=fraction, seed=seed)
    split_csv.check_split(table, "split")
    pd.testing.assert_frame_equal(table.drop(columns="subset"), genres(counts))
    backwards, _ = split_by_genre(genres(counts)[::-1], test_fraction=fraction, seed=seed)
    pd.testing.assert_frame_equal(backwards[::-1].reset_index(drop=True), table)
    for genre, subset in table.groupby("genre")["subset"]:
        tests, count = subset.eq("test").sum(), counts[int(genre[1:])]
        assert subset.isin(["train", "test"]).all()
        if count == 1:
            assert tests == 0
        else:
            assert 1 <= tests <= count - 1
            nearest = min(max(fraction * count, 1), count - 1)
            assert abs(tests - nearest) <= 0.5 + 1e-9
    single = counts.count(1)
    expected = [f"{single} genres have one track, which is used for training"] if single else []
    assert notes == expected


def test_disjoint_subsets_share_no_artist():
    table = catalog([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    split, notes = split_disjoint(table, seed=1)
    assert split["artist"].tolist() == table["artist"].tolist()
    artists = split.groupby("subset")["artist"].unique().map(set)
    assert {name: len(group) for name, group in artists.items()} == {
        **{"train": 5, "valid": 2, "test": 3}
    }
    assert len(set.union(*artists)) == 10
    assert notes == ["artist: 10, each with all tracks in the same subset"]
    shuffled = split_disjoint(table.sample(frac=1, random_state=0), seed=1)[0]
    subsets = split.set_index("track_id")["subset"]
    assert subsets.equals(shuffled.set_index("track_id")["subset"].reindex(subsets.index))
    assert not subsets.equals(split_disjoint(table, seed=2)[0].set_index("track_id")["subset"])


def test_disjoint_split_needs_an_artist_per_subset():
    unknown = pd.DataFrame({"track_id": ["x"], "path": ["x"], "artist": [""]})
    table = pd.concat([catalog([2, 2, 2, 2]), unknown])
    split, notes = split_disjoint(table)
    assert set(split["subset"]) == set(split_csv.SUBSETS)
    assert notes[0] == "left out: 1 tracks with no artist"
    with pytest.raises(InputError, match="3 artists, but at least 4 are needed"):
        split_disjoint(table, exclude=frozenset(["a0"]))


def test_dropped_tracks_are_counted():
    table = genres([20, 8, 2, 1], album="x")
    table.loc[[3, 24], "genre"] = ["", None]
    table.loc[5, "path"] = "./" + table.loc[19, "path"]  # the same file; "0/19" sorts first
    split, notes = split_by_genre(table, exclude=frozenset({"A1 of G1"}))
    # Tracks 1, 4 and 7 in the second genre are by the excluded artist.
    dropped = {"0/3", "0/5", "1/4", "1/1", "1/7"}
    assert set(table["track_id"]) - set(split["track_id"]) == dropped
    assert notes == [
        "left out: 3 tracks of 1 excluded artists",
        "left out: 1 tracks with no genre",
        "left out: 1 tracks that share a file with another track",
        "1 genres have one track, which is used for training",
    ]
    by_album, notes = split_by_genre(table, by="album", test_fraction=0.5)
    assert by_album["subset"].value_counts().to_dict() == {"train": 15, "test": 15}
    assert notes == ["left out: 1 tracks that share a file with another track"]


def test_rejects_unknown_and_empty_labels():
    with pytest.raises(InputError, match="--by mood: no such label; choose from track_id, path"):
        split_by_genre(genres([5]), by="mood")
    with pytest.raises(InputError, match="--by genre: no track has a value"):
        split_by_genre(genres([5], genre=""))


def test_clear_not_artists_counts_placeholders():
    table = catalog([3, 1]).assign(artist=["VA", "Björk", "VA", "???"])
    cleared, notes = split_methods.clear_not_artists(table)
    assert cleared["artist"].tolist() == ["", "Björk", "", ""]
    assert notes == ["3 of 4 tracks have no artist but a placeholder: 'VA' (2), '???' (1)"]
    assert split_methods.clear_not_artists(cleared) == (cleared, [])
