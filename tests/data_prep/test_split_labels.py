"""Tests of label columns as training targets and of splits that are rejected."""

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from data_prep.split_csv import artist_classes, tag_matrix


def split(**columns):
    count = len(next(iter(columns.values())))
    plain = {"track_id": [f"t{n}" for n in range(count)], "subset": ["train"] * count}
    return pd.DataFrame({**plain, **columns}, dtype=str)


def test_artist_classes_are_ordered_by_first_track():
    names, numbers = artist_classes(split(artist=list("bcabb")), "s.csv")
    assert names == ["b", "c", "a"] and numbers.tolist() == [0, 1, 2, 0, 0]
    assert numbers.dtype == np.int32


@pytest.mark.parametrize(
    ("columns", "problem"),
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
def test_artist_classes_rejects_invalid_splits(columns, problem):
    with pytest.raises(InputError, match=problem):
        artist_classes(split(**columns), "s.csv")


def test_tag_matrix_columns_are_sorted():
    names, hot = tag_matrix(
        split(tags=["rock|guitar", "", "guitar", "ambient|rock"]), "tags", "s.csv"
    )
    assert names == ["ambient", "guitar", "rock"] and hot.dtype == np.float32
    assert hot.tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_tag_matrix_rejects_too_few_tags():
    with pytest.raises(InputError, match=r"s.csv: its column 'tags' contains 1 tags"):
        tag_matrix(split(tags=["a", ""]), "tags", "s.csv")
    with pytest.raises(InputError, match=r"has no column 'tags'"):
        tag_matrix(split(artist=["a"]), "tags", "s.csv")
