"""Tests of splitting each genre's tracks at random into train and test."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep import split_csv
from data_prep.stratified_split import split_by_genre

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


def catalog(counts, **columns):
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
    table, notes = split_by_genre(catalog(counts), test_fraction=fraction, seed=seed)
    split_csv.check_split(table, "split")
    pd.testing.assert_frame_equal(table.drop(columns="subset"), catalog(counts))
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


@given(COUNTS, st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_row_order_does_not_matter(counts, random):
    table, _ = split_by_genre(catalog(counts))
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled, _ = split_by_genre(catalog(counts).iloc[order])
    pd.testing.assert_frame_equal(shuffled, table.iloc[order].reset_index(drop=True))


def test_split_depends_on_the_seed_but_not_on_existing_subsets():
    one, same, other = (
        split_by_genre(catalog([40, 40], subset=subset), seed=seed)[0]
        for seed, subset in ((1, "valid"), (1, "train"), (2, "train"))
    )
    pd.testing.assert_frame_equal(one, same)
    assert (one["subset"] != other["subset"]).any()
    assert one["subset"].value_counts().to_dict() == {"train": 68, "test": 12}


def test_dropped_tracks_are_counted():
    table = catalog([20, 8, 2, 1], album="x")
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
        split_by_genre(catalog([5]), by="mood")
    with pytest.raises(InputError, match="--by genre: no track has a value"):
        split_by_genre(catalog([5], genre=""))
