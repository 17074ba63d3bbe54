"""Tests of reading the tracks in a split with their features and labels."""

import logging

import numpy as np
import pytest

from common.errors import InputError
from evaluation import labelled_tracks
from tests.evaluation import feature_files


@pytest.fixture
def files(tmp_path):
    tracks = feature_files.make_artists("abcdef")
    return feature_files.write_files(tmp_path, "tracks", *tracks, failed=("c1",))


def test_read_labelled_tracks_keeps_the_split_order(files, caplog):
    caplog.set_level(logging.INFO)
    table, features = feature_files.make_artists("abcdef")
    table.loc[4, "genre"] = ""
    table.sample(frac=1, random_state=0).to_csv(files[1], index=False)
    tracks = labelled_tracks.read_labelled_tracks(*files, "genre")
    assert "1 tracks without genre left out" in caplog.text
    assert len(tracks.split) == 34
    row = {track: row for row, track in enumerate(table["track_id"])}
    expected = features[[row[track] for track in tracks.split["track_id"]]]
    np.testing.assert_array_equal(tracks.features, expected)
    assert tracks.weights["model"] == "basic" and tracks.weights["name"] == "basic_run"
    subsets = tracks.subsets(tracks.labels("artist"))
    assert [len(labels) for _, labels in subsets] == [17, 6, 11]
    everything = labelled_tracks.read_labelled_tracks(*files)
    assert len(everything.split) == 35 and everything.digest != tracks.digest


def test_read_training_tracks_selects_the_first_artists(files):
    tracks = labelled_tracks.read_training_tracks(*files, 3)
    assert set(tracks.split["artist"]) == set("abc") and len(tracks.split) == 8
    assert set(tracks.split["subset"]) == {"train"}
    with pytest.raises(InputError, match="has 6 artists, not 7"):
        labelled_tracks.read_training_tracks(*files, 7)
