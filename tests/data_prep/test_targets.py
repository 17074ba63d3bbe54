"""Label columns as arrays, and the splits that cannot be trained on."""

import numpy as np
import pandas as pd
import pytest

from artist_groups.targets import group_targets
from artist_groups.topics import ArtistGroups
from common.errors import InputError
from data_prep.targets import artist_classes, tag_matrix


def split(**columns):
    count = len(next(iter(columns.values())))
    plain = {"track_id": [f"t{n}" for n in range(count)], "subset": ["train"] * count}
    return pd.DataFrame({**plain, **columns}, dtype=str)


def test_artists_are_numbered_in_the_order_of_their_first_track():
    names, numbers = artist_classes(split(artist=list("bcabb")), "s.csv")
    assert names == ["b", "c", "a"] and numbers.tolist() == [0, 1, 2, 0, 0]
    assert numbers.dtype == np.int32


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"artist": ["a", "", "b"]}, r"s.csv: 't1' has no artist"),
        ({"artist": ["a", "a"]}, r"s.csv: all tracks are by one artist"),
        (
            {"artist": ["a", "c", "b", "b"], "subset": ["train", "test", "valid", "test"]},
            r"s.csv: artist 'b' has no training track \(2 such artists\)",
        ),
        ({"genre": ["a", "b"]}, r"s.csv: has no column 'artist'; it has track_id, subset, genre"),
    ],
)
def test_artists_that_cannot_be_trained_on(columns, why):
    with pytest.raises(InputError, match=why):
        artist_classes(split(**columns), "s.csv")


def test_tags_are_columns_in_alphabetical_order():
    names, hot = tag_matrix(
        split(tags=["rock|guitar", "", "guitar", "ambient|rock"]), "tags", "s.csv"
    )
    assert names == ["ambient", "guitar", "rock"] and hot.dtype == np.float32
    assert hot.tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_too_few_tags():
    with pytest.raises(InputError, match=r"s.csv: its column 'tags' holds 1 tags"):
        tag_matrix(split(tags=["a", ""]), "tags", "s.csv")
    with pytest.raises(InputError, match=r"has no column 'tags'"):
        tag_matrix(split(artist=["a"]), "tags", "s.csv")


def training_tracks() -> pd.DataFrame:
    """Thirty tracks of five artists and three genres, one of them without genre."""
    numbers = np.arange(30)
    genre = np.array(["jazz", "polka", "rock"], object)[numbers % 3]
    genre[4] = ""
    artists = [f"artist {number % 5}" for number in numbers]
    return pd.DataFrame({"artist": artists, "genre": genre})


def test_tasks_have_the_tracks_that_have_a_target(capsys):
    artists = np.array([f"artist {number}" for number in range(4)], object)
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    groups = {"s": ArtistGroups(artists, shares, np.full((3, 2), 0.5))}
    genres, targets = group_targets(training_tracks(), groups, "split.csv")
    assert genres == ["jazz", "polka", "rock"] and list(targets) == ["g", "s"]
    assert targets["g"].tracks.tolist() == [*range(4), *range(5, 30)]
    np.testing.assert_array_equal(targets["g"].shares[4], [0, 0, 1])  # track 5 is rock
    assert targets["s"].tracks.tolist() == [n for n in range(30) if n % 5 != 4]
    np.testing.assert_allclose(targets["s"].shares[4], shares[0], rtol=1e-6)  # track 5
    assert targets["g"].shares.dtype == targets["s"].shares.dtype == np.float32
    assert capsys.readouterr().out.splitlines() == [
        "split.csv: 1 training tracks without genre: not in the task g",
        "split.csv: 6 training tracks without artist groups: not in the task s",
    ]


def test_one_genre_cannot_be_learnt():
    alone = training_tracks().assign(genre="jazz")
    with pytest.raises(InputError, match=r"split\.csv: its training tracks have 1 genres; needs"):
        group_targets(alone, {}, "split.csv")
    with pytest.raises(InputError, match="no column 'genre'"):
        group_targets(alone.drop(columns="genre"), {}, "split.csv")
