"""MagnaTagATune's published split, and made-up lists in its formats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.errors import InputError
from data_prep import targets
from data_prep.datasets import mtat
from data_prep.datasets.catalog import Request, pickled_texts, read_lines, tag_names, tag_texts
from tests.data_prep.datasets import python2

TAGS = ["guitar", "no vocals", "rock"]
NAMES = {
    "train": ["0/some_band-first_album-01-a_song-0-29.npy", "f/duo-live-03-b-29-58.npy"],
    "valid": ["a/duo-live-04-c-0-29.npy"],
    "test": ["0/other-x-01-d-0-29.npy"],
}
VALUES = {"train": [[1, 0, 1], [0, 0, 0]], "valid": [[0, 1, 0]], "test": [[1, 1, 1]]}


class Published:
    """A tiny MTAT_split and its audio; what a test changes, it writes again."""

    def __init__(self, folder):
        self.root = folder / "music"
        self.tags = folder / "top50_tags.txt"
        self.tags.write_text("".join(f"{tag}\n" for tag in TAGS), encoding="utf-8")
        self.subsets = {}
        for protocol, subset in zip((0, 2, 0), NAMES, strict=True):
            self.subsets[subset] = folder / f"{subset}_list_pub.cP", folder / f"y_{subset}_pub.npy"
            python2.dump(NAMES[subset], self.subsets[subset][0], protocol)
            np.save(self.subsets[subset][1], np.array(VALUES[subset], dtype=float))
            for name in NAMES[subset]:
                path = self.root / name.replace(".npy", ".mp3")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")

    def catalog(self):
        return mtat.mtat_catalog(self.subsets, self.tags, Request(self.root))


@pytest.fixture
def published(tmp_path):
    return Published(tmp_path)


def test_a_split_in_the_published_formats(published):
    found = published.catalog()
    table = found.table
    assert found.notes == []
    assert set(table.columns) == {"track_id", "path", "artist", "album", "tags", "subset"}
    assert table["track_id"][0] == "0/some_band-first_album-01-a_song-0-29"
    assert (table["path"] == table["track_id"] + ".mp3").all()
    assert table["artist"].tolist() == ["some_band", "duo", "duo", "other"]
    assert table["album"].tolist() == ["first_album", "live", "live", "x"]
    assert table["subset"].tolist() == ["train", "train", "valid", "test"]
    assert table["tags"].tolist() == ["guitar|rock", "", "no vocals", "guitar|no vocals|rock"]


def test_clips_that_are_not_there(published):
    (published.root / "f/duo-live-03-b-29-58.mp3").unlink()
    found = published.catalog()
    assert len(found.table) == 3 and found.table.index.tolist() == [0, 1, 2]
    assert found.notes == [
        f"{published.root}: 1 of 4 tracks are not there, such as "
        "'f/duo-live-03-b-29-58.mp3': left out"
    ]
    published.root = published.root / "0"
    with pytest.raises(InputError, match=r"0: 4 of 4 tracks are not there, such as '0/some_band"):
        published.catalog()


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["0/a-b-01-c-0-29.mp3"], "'0/a-b-01-c-0-29.mp3' is not 0/artist-album"),
        (["a-b-01-c-0-29.npy"], "is not 0/artist-album"),
        (["0/nothing.npy"], "is not 0/artist-album"),
        (["../../a-b-01-c-0-29.npy"], "is not 0/artist-album"),
        ([7], "row 1 is 7, not text"),
        ([], "not a list of tracks"),
        ({}, "not a list of tracks"),
        (["0/other-x-01-d-0-29.npy"] * 2, "row 2: '0/other-x-01-d-0-29.npy' stands twice"),
        (["a/duo-live-04-c-0-29.npy"], "'a/duo-live-04-c-0-29' stands twice"),
        (["0/a-b-1-c-0-29.npy", "0/a-b-2-c-0-29.npy"], r"y_test_pub.npy: its shape is \(1, 3\)"),
    ],
)
def test_lists_that_are_wrong(published, names, why):
    python2.dump(names, published.subsets["test"][0])
    with pytest.raises(InputError, match=rf"{why}.*; get"):
        published.catalog()


def test_a_path_that_leaves_the_folder(published):
    python2.dump(["../a-b-01-c-0-29.npy"], published.subsets["test"][0])
    with pytest.raises(InputError, match=r"'\.\./a-b-01-c-0-29\.mp3': a listed path that cannot"):
        published.catalog()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([[1, 0]], r"its shape is \(1, 2\), but 1 tracks and 3 tags are listed"),
        ([[1, 0, 2]], "'0/other-x-01-d-0-29' has values other than 0 and 1"),
        ([[1, 0, float("nan")]], "has values other than 0 and 1"),
        ([["1", "0", "1"]], "contains no numbers"),
        ([1, 0, 1], r"y_test_pub\.npy: its array has 1 dimensions"),
    ],
)
def test_arrays_that_are_wrong(published, values, why):
    np.save(published.subsets["test"][1], np.array(values))
    with pytest.raises(InputError, match=why):
        published.catalog()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\nb|c\nd\n", r"the tag 'b\|c' holds \|"),
        ("a\nb\na\n", "the tag 'a' stands twice"),
        ("a\nb\n", r"its shape is \(2, 3\), but 2 tracks and 2 tags"),
    ],
)
def test_tags_that_are_wrong(published, text, why):
    published.tags.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=why):
        published.catalog()


@given(arrays.arrays(bool, st.tuples(st.integers(1, 6), st.just(4))))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_tags_come_back_from_their_texts(values):
    tags, tracks = ["b", "a", "no c", "d"], [str(track) for track in range(len(values))]
    texts = tag_texts(values, tags, tracks, "source")
    for row, text in zip(values, texts, strict=True):
        assert text == "|".join(tag for tag, has in zip(tags, row, strict=True) if has)


def test_networks_can_be_trained_with_it(published):
    names, hot = targets.tag_matrix(published.catalog().table, "tags", "source")
    assert names == sorted(TAGS)
    assert hot.tolist() == [row for subset in VALUES.values() for row in subset]


def test_a_mirror_without_the_lists(tmp_path):
    with pytest.raises(InputError, match=r"train_list_pub\.cP"):
        mtat.read_mtat(Request(tmp_path, metadata=tmp_path))


def test_the_published_lists(music_data):
    folder = music_data / "data" / "splits" / "MTAT_split"
    tags = tag_names(folder / "top50_tags.txt")
    assert len(tags) == 50 and tags[0] == "guitar"
    tracks = set()
    for subset, count in (("train", 15244), ("valid", 1529), ("test", 4332)):
        names = pickled_texts(folder / f"{subset}_list_pub.cP")
        assert len(names) == count and names[0].endswith(".npy")
        tracks.update(names)
    assert len(tracks) == 15244 + 1529 + 4332
    assert len(read_lines(folder / "top50_tags.txt")) == 50


def test_the_published_clips_and_tags(music_data, tmp_path):
    folder = music_data / "data" / "splits" / "MTAT_split"
    subsets = {
        subset: (folder / f"{subset}_list_pub.cP", folder / f"y_{subset}_pub.npy")
        for subset in ("valid", "test")  # y_train is not in the test data
    }
    clip = "d/ambient_teknology-the_all_seeing_eye_project-01-cyclops-0-29.mp3"
    (tmp_path / "d").mkdir()
    (tmp_path / clip).write_bytes(b"x")
    found = mtat.mtat_catalog(subsets, folder / "top50_tags.txt", Request(tmp_path))
    assert found.table["path"].tolist() == [clip]
    assert found.table["artist"][0] == "ambient_teknology"
    assert found.table["album"][0] == "the_all_seeing_eye_project"
    row = np.load(folder / "y_test_pub.npy")[0]
    tags = tag_names(folder / "top50_tags.txt")
    assert found.table["tags"][0] == "|".join(tags[tag] for tag in np.flatnonzero(row))
    assert found.notes[0].startswith(f"{tmp_path}: 5860 of 5861 tracks are not there")
