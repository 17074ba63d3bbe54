"""Tests of MagnaTagATune's published split and of small lists in the same formats."""

import numpy as np
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import Request, mtat
from data_prep.datasets.catalog import read_lines
from data_prep.datasets.pickled_lists import load_pickled_texts
from tests.data_prep.datasets.conftest import dump, put

TAGS = ["guitar", "no vocals", "rock"]
NAMES = {
    "train": ["0/some_band-first_album-01-a_song-0-29.npy", "f/duo-live-03-b-29-58.npy"],
    "valid": ["a/duo-live-04-c-0-29.npy"],
    "test": ["0/other-x-01-d-0-29.npy"],
}
VALUES = {"train": [[1, 0, 1], [0, 0, 0]], "valid": [[0, 1, 0]], "test": [[1, 1, 1]]}


@pytest.fixture
def read(tmp_path, publish):
    """Publish small lists, write their audio, and return a function that reads the dataset."""
    for subset, names in NAMES.items():
        path, y = (tmp_path / name for name in mtat._LISTS[subset])
        dump(names, path)
        np.save(y, np.array(VALUES[subset], dtype=float))
        put(tmp_path / "music", [name.replace(".npy", ".mp3") for name in names])
    (tmp_path / mtat._TAGS).write_text("\n".join(TAGS), encoding="utf-8")
    publish(tmp_path, mtat.INFO.lists)
    return lambda root=tmp_path / "music": mtat.read_mtat(Request(root, metadata=tmp_path))


def test_reads_split_in_published_format(read):
    catalog = read()
    table = catalog.table
    assert (catalog.notes, catalog.missing) == ([], 0)
    assert set(table.columns) == {"track_id", "path", "artist", "album", "tags", "subset"}
    assert table["track_id"][0] == "0/some_band-first_album-01-a_song-0-29"
    assert (table["path"] == table["track_id"] + ".mp3").all()
    assert table["artist"].tolist() == ["some_band", "duo", "duo", "other"]
    assert table["album"].tolist() == ["first_album", "live", "live", "x"]
    assert table["subset"].tolist() == ["train", "train", "valid", "test"]
    assert table["tags"].tolist() == ["guitar|rock", "", "no vocals", "guitar|no vocals|rock"]
    names, hot = split_csv.tag_matrix(table, "tags", "source")
    assert names == sorted(TAGS)
    assert hot.tolist() == [row for subset in VALUES.values() for row in subset]


def test_missing_clips_are_counted(read, tmp_path):
    root = tmp_path / "music"
    (root / "f/duo-live-03-b-29-58.mp3").unlink()
    catalog = read()
    assert catalog.table.index.tolist() == [0, 1, 2] and catalog.missing == 1
    assert catalog.notes == [
        f"{root}: 1 of 4 tracks are missing, such as 'f/duo-live-03-b-29-58.mp3': left out"
    ]
    with pytest.raises(InputError, match=r"0: 4 of 4 tracks are missing, such as '0/some_band"):
        read(root / "0")


def test_published_lists_have_documented_sizes(music_data):
    folder = music_data / "data" / "splits" / "MTAT_split"
    tags = read_lines(folder / "top50_tags.txt")
    assert len(tags) == 50 and tags[0] == "guitar"
    tracks = set()
    for subset, count in (("train", 15244), ("valid", 1529), ("test", 4332)):
        names = load_pickled_texts(folder / f"{subset}_list_pub.cP")
        assert len(names) == count and all(name.count("-") >= 4 for name in names)
        tracks.update(names)
    assert len(tracks) == 15244 + 1529 + 4332
    # The array's first row belongs to the first clip.
    clip = "d/ambient_teknology-the_all_seeing_eye_project-01-cyclops-0-29"
    paths = (folder / "test_list_pub.cP", folder / "y_test_pub.npy")
    track, _, artist, album, text = mtat._read_clips(*paths, tags).iloc[0]
    assert (track, artist, album) == (clip, "ambient_teknology", "the_all_seeing_eye_project")
    row = np.load(paths[1])[0]
    assert text == "|".join(tags[tag] for tag in np.flatnonzero(row))
