"""Artist groups in words, against sums written out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from report.group_tables import describe_groups, genres_of_groups

ARTISTS = np.array(["Ärzte", "b", "c", "d"], object)
SHARES = np.array([[0.9, 0.1, 0], [0.5, 0.5, 0], [0, 1, 0], [0.25, 0.25, 0.5]])


def split():
    """Ärzte is rock, b half rock and half folk, c is folk; of d no genre is known."""
    rows = [
        *[("Ärzte", "rock", "train")] * 3,
        *[("b", "rock", "train"), ("b", "folk", "train"), ("b", "", "train")],
        *[("c", "folk", "train")] * 5,
        ("d", "", "train"),
        *[("d", "jazz", "test"), ("c", "jazz", "valid"), ("x", "polka", "train")],
    ]
    table = pd.DataFrame(rows, columns=["artist", "genre", "subset"])
    return table.assign(track_id=table.index.astype(str), path=table.index.astype(str))


def test_genres_are_weighted_by_the_shares_of_their_artists():
    found = genres_of_groups(SHARES, ARTISTS, split())
    assert found.columns.tolist() == ["folk", "rock"] and found.index.tolist() == [0, 1, 2]
    first, second = np.array([0.25, 0.9 + 0.25]), np.array([1 + 0.25, 0.1 + 0.25])
    wanted = [first / first.sum(), second / second.sum(), [0, 0]]
    np.testing.assert_allclose(found, wanted)


def test_groups_in_words():
    symbols = np.array([[0.1, 0.7, 0.2], [0.996, 0.004, 0], [0.25, 0.25, 0.5]])
    names = ["ska", "oi", "dub"]
    found = describe_groups(SHARES, ARTISTS, split(), top=2, symbols=symbols, names=names)
    np.testing.assert_allclose(found["weight"], SHARES.mean(axis=0))
    assert found.drop(columns="weight").to_dict("list") == {
        "group": [0, 1, 2],
        "genres": ["rock 0.82; folk 0.18", "folk 0.78; rock 0.22", ""],
        "artists": ["Ärzte 0.90; b 0.50", "c 1.00; b 0.50", "d 0.50"],
        "subgenres": ["oi 0.70; dub 0.20", "ska 1.00", "dub 0.50; ska 0.25"],
    }
    assert "subgenres" not in describe_groups(SHARES, ARTISTS, split())


@given(st.permutations(range(4)), st.permutations(range(15)))
def test_the_order_of_artists_and_tracks_does_not_matter(artists, tracks):
    artists, tracks = list(artists), list(tracks)
    table = split().iloc[tracks]
    found = genres_of_groups(SHARES[artists], ARTISTS[artists], table)
    pd.testing.assert_frame_equal(found, genres_of_groups(SHARES, ARTISTS, split()))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"shares of shape \(4, 3\) for 3 artists"):
        describe_groups(SHARES, ARTISTS[:3], split())
    with pytest.raises(InputError, match="no column 'genre'"):
        genres_of_groups(SHARES, ARTISTS, split().drop(columns="genre"))
    with pytest.raises(InputError, match="no artist has a training track with a genre"):
        genres_of_groups(SHARES, ARTISTS, split().assign(subset="test"))
    for symbols, names in ((np.ones((3, 2)), ["a"]), (np.ones((3, 2)), None)):
        with pytest.raises(InputError, match=r"symbols of shape \(3, 2\) for 3 groups"):
            describe_groups(SHARES, ARTISTS, split(), symbols=symbols, names=names)
