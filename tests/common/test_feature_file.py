"""Tests that feature files survive a round trip and that damaged ones are rejected."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from common import feature_file
from common.errors import InputError

TRACKS = np.array(["a/1.wav", "日本.mp3", "c"], object)
FEATURES = feature_file.Features(
    np.arange(6).reshape(3, 2),
    TRACKS,
    {"d.mp3": "is silent"},
    {"weights": {"name": "w"}},
    ["Björk"],
)
PROBABILITIES = np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]], np.float32)
CLASSIFIED = replace(FEATURES, classes=["rock", "日本"], probabilities=PROBABILITIES)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "features.h5"
    feature_file.write_features(path, CLASSIFIED)
    return path


def test_read_features_returns_what_was_written(path):
    features = feature_file.read_features(path)
    assert features.features.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert features.features.dtype == np.float32
    assert features.track_id.tolist() == TRACKS.tolist()
    assert features.inputs == {"weights": {"name": "w"}}
    assert features.failed == {"d.mp3": "is silent"} and list(features.trained_on) == ["Björk"]
    assert features.probabilities.dtype == np.float32 and list(features.classes) == ["rock", "日本"]
    np.testing.assert_array_equal(features.probabilities, PROBABILITIES)


def test_select_returns_rows_in_the_given_order(path):
    features = feature_file.read_features(path)
    assert features.select(np.array(["c", "a/1.wav"]), path).tolist() == [[4, 5], [0, 1]]
    selected = features.select_probabilities(TRACKS[[2, 0]], path)
    np.testing.assert_array_equal(selected, PROBABILITIES[[2, 0]])
    with pytest.raises(InputError, match=r"split.csv: 2 of 3 tracks are missing, the first 'x'"):
        features.select(np.array(["c", "x", "y"]), "split.csv")
    feature_file.write_features(path, FEATURES)
    features = feature_file.read_features(path)
    assert features.probabilities is None and list(features.classes) == []
    with pytest.raises(InputError, match=r"split.csv: contains no class probabilities; extract"):
        features.select_probabilities(TRACKS, "split.csv")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", np.zeros((2, 2), np.float32)),  # fewer rows than tracks
        ("features", np.zeros(3, np.float32)),
        ("features", np.zeros((3, 2), np.int64)),
        ("features", None),
        ("track_id", [1, 2, 3]),
        ("probabilities", PROBABILITIES[:2]),  # fewer rows than tracks
        ("probabilities", PROBABILITIES[:, :1]),  # fewer columns than classes
        ("probabilities", PROBABILITIES.astype(np.int64)),
        ("probabilities", PROBABILITIES * 1.002),
        ("probabilities", PROBABILITIES + [[1, -1]] * 3),
        ("probabilities", PROBABILITIES * [[np.nan], [1], [1]]),
        ("probabilities", None),
        ("classes", ["rock", "rock"]),
        ("classes", None),
    ],
)
def test_read_features_rejects_damaged_files(path, name, value):
    with h5py.File(path, "a") as file:
        del file[name]
        if value is not None:
            file[name] = value
    with pytest.raises(InputError, match=str(path)):
        feature_file.read_features(path)


def test_read_features_does_not_follow_links(path, tmp_path):
    feature_file.write_features(tmp_path / "other.h5", CLASSIFIED)
    with h5py.File(path, "a") as file:
        del file["probabilities"]
        file["probabilities"] = h5py.ExternalLink(tmp_path / "other.h5", "probabilities")
    with pytest.raises(InputError, match="probabilities is a link"):
        feature_file.read_features(path)


def test_read_features_tolerates_float32_rounding(path):
    rounded = PROBABILITIES * np.float32(1 - 4e-4)
    feature_file.write_features(path, replace(CLASSIFIED, probabilities=rounded))
    assert feature_file.read_features(path).probabilities.sum() == pytest.approx(3, abs=2e-3)
