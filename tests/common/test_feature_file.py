"""The feature file: what is written comes back; what is none is refused."""

import h5py
import numpy as np
import pytest

from common import feature_file, provenance
from common.errors import InputError

TRACKS = np.array(["a/1.wav", "日本.mp3", "c"], object)
MADE = feature_file.Features(
    np.arange(6).reshape(3, 2),
    TRACKS,
    {"d.mp3": "is silent"},
    {"weights": {"name": "w"}},
    ["Björk"],
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "features.h5"
    feature_file.write(path, MADE)
    return path


def test_what_is_written_comes_back(path):
    found = feature_file.read(path)
    assert found.features.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.features.dtype == np.float32
    assert found.track_id.tolist() == TRACKS.tolist() and found.inputs == {"weights": {"name": "w"}}
    assert found.failed == {"d.mp3": "is silent"} and list(found.trained_on) == ["Björk"]


def test_rows_of_tracks_in_their_order(path):
    found = feature_file.read(path)
    assert found.of(np.array(["c", "a/1.wav"]), path).tolist() == [[4, 5], [0, 1]]
    with pytest.raises(InputError, match=r"split.csv: lacks 2 of 3 tracks, the first 'x'"):
        found.of(np.array(["c", "x", "y"]), "split.csv")


def test_damaged_files_are_refused(path):
    for name, value in (
        ("features", np.zeros((2, 2), np.float32)),  # fewer than tracks
        ("features", np.zeros(3, np.float32)),
        ("features", np.zeros((3, 2), np.int64)),
        ("features", ["a", "b", "c"]),
        ("track_id", [1, 2, 3]),
    ):
        feature_file.write(path, MADE)
        with h5py.File(path, "a") as file:
            del file[name]
            file[name] = value
        with pytest.raises(InputError, match=str(path)):
            feature_file.read(path)
    with h5py.File(path, "w") as file:
        file.attrs["made_from"] = provenance.to_json(provenance.record({}))
    with pytest.raises(InputError, match="features is missing"):
        feature_file.read(path)
