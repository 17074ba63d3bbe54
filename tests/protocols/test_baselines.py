"""Tests of features that are not computed from the audio."""

import numpy as np
import pandas as pd
import pytest

from common.feature_file import read_features
from tests.conftest import error_in_process, run_in_process


@pytest.fixture
def split(tmp_path):
    """Write a split of three tunes, two of which have the same header fields."""
    rows = [("a", "6581", "1980s"), ("b", "", "1990s"), ("c", "6581", "1980s")]
    table = pd.DataFrame(rows, columns=["track_id", "chip", "decade"])
    table = table.assign(path=table["track_id"], subset="test", artist=["x", "y", "y"])
    table.to_csv(tmp_path / "tunes.csv", index=False)
    return tmp_path / "tunes.csv"


def test_header_features_are_one_hot_header_fields(split, tmp_path):
    command = ("evaluate.py", "header", split, "--out", tmp_path / "header.h5")
    assert "3 tracks by chip, decade, 4 values" in run_in_process(*command).out
    features = read_features(tmp_path / "header.h5")
    assert features.track_id.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(
        features.features @ features.features.T, [[2, 0, 2], [0, 2, 0], [2, 0, 2]]
    )
    assert "already complete" in run_in_process(*command).out
    result = ("evaluate.py", "retrieval", tmp_path / "header.h5", split, "--label", "artist")
    assert run_in_process(*result).lines[-1].startswith("map ")


def test_header_features_of_another_split_are_rejected(split, tmp_path):
    command = ("evaluate.py", "header", split, "--out", tmp_path / "header.h5")
    run_in_process(*command)
    table = pd.read_csv(split, dtype=str, keep_default_na=False)
    table.assign(chip="8580").to_csv(split, index=False)
    assert "header.h5" in error_in_process(*command)
    table.drop(columns=["chip", "decade"]).to_csv(split, index=False)
    message = error_in_process(*command)
    assert "tunes.csv: has none of the columns chip, clock, decade; add one" in message
