"""MagnaTagATune's published split, and made-up lists in its formats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from common.errors import InputError
from data_prep import targets
from data_prep.datasets import Request, mtat
from data_prep.datasets.catalog import join_tags, read_tag_names
from data_prep.datasets.pickled_lists import load_pickled_texts
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


def test_read_split_in_published_format(published):
    catalog = published.catalog()
    table = catalog.table
    assert catalog.notes == []
    assert set(table.columns) == {"track_id", "path", "artist", "album", "tags", "subset"}
    assert table["track_id"][0] == "0/some_band-first_album-01-a_song-0-29"
    assert (table["path"] == table["track_id"] + ".mp3").all()
    assert table["artist"].tolist() == ["some_band", "duo", "duo", "other"]
    assert table["album"].tolist() == ["first_album", "live", "live", "x"]
    assert table["subset"].tolist() == ["train", "train", "valid", "test"]
    assert table["tags"].tolist() == ["guitar|rock", "", "no vocals", "guitar|no vocals|rock"]


def test_missing_clips_are_counted(published):
    (published.root / "f/duo-live-03-b-29-58.mp3").unlink()
    catalog = published.catalog()
    assert len(catalog.table) == 3 and catalog.table.index.tolist() == [0, 1, 2]
    assert catalog.notes == [
        f"{published.root}: 1 of 4 tracks are missing, such as "
        "'f/duo-live-03-b-29-58.mp3': left out"
    ]
    published.root = published.root / "0"
    with pytest.raises(InputError, match=r"0: 4 of 4 tracks are missing, such as '0/some_band"):
        published.catalog()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["0/a-b-01-c-0-29.mp3"], "'0/a-b-01-c-0-29.mp3' is not 0/artist-album"),
        (["a-b-01-c-0-29.npy"], "is not 0/artist-album"),
        (["0/nothing.npy"], "is not 0/artist-album"),
        (["../../a-b-01-c-0-29.npy"], "is not 0/artist-album"),
        ([7], "row 1 is 7, not text"),
        ([], "not a list of tracks"),
        ({}, "not a list of tracks"),
        (["0/other-x-01-d-0-29.npy"] * 2, "row 2: '0/other-x-01-d-0-29.npy' is a duplicate"),
        (["a/duo-live-04-c-0-29.npy"], "'a/duo-live-04-c-0-29' is a duplicate"),
        (["0/a-b-1-c-0-29.npy", "0/a-b-2-c-0-29.npy"], r"y_test_pub.npy: its shape is \(1, 3\)"),
    ],
)
def test_rejects_invalid_lists(published, names, problem):
    python2.dump(names, published.subsets["test"][0])
    with pytest.raises(InputError, match=rf"{problem}.*; download"):
        published.catalog()


def test_rejects_path_outside_the_folder(published):
    python2.dump(["../a-b-01-c-0-29.npy"], published.subsets["test"][0])
    with pytest.raises(
        InputError, match=r"'\.\./a-b-01-c-0-29\.mp3': a listed path that is not below"
    ):
        published.catalog()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([[1, 0]], r"its shape is \(1, 2\), but 1 tracks and 3 tags are listed"),
        ([[1, 0, 2]], "'0/other-x-01-d-0-29' has values other than 0 and 1"),
        ([[1, 0, float("nan")]], "has values other than 0 and 1"),
        ([["1", "0", "1"]], "contains no numbers"),
        ([1, 0, 1], r"y_test_pub\.npy: the array has 1 dimensions"),
    ],
)
def test_rejects_invalid_arrays(published, values, problem):
    np.save(published.subsets["test"][1], np.array(values))
    with pytest.raises(InputError, match=problem):
        published.catalog()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\nb|c\nd\n", r"the tag 'b\|c' contains \|"),
        ("a\nb\na\n", "the tag 'a' is a duplicate"),
        ("a\nb\n", r"its shape is \(2, 3\), but 2 tracks and 2 tags"),
    ],
)
def test_rejects_invalid_tags(published, text, problem):
    published.tags.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        published.catalog()


@given(arrays.arrays(bool, st.tuples(st.integers(1, 6), st.just(4))))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_join_tags_names_the_tags_of_each_row(values):
    tags, tracks = ["b", "a", "no c", "d"], [str(track) for track in range(len(values))]
    texts = join_tags(values, tags, tracks, "source")
    for row, text in zip(values, texts, strict=True):
        assert text == "|".join(tag for tag, has in zip(tags, row, strict=True) if has)


def test_tags_become_training_targets(published):
    names, hot = targets.tag_matrix(published.catalog().table, "tags", "source")
    assert names == sorted(TAGS)
    assert hot.tolist() == [row for subset in VALUES.values() for row in subset]


def test_rejects_mirror_without_the_lists(tmp_path):
    with pytest.raises(InputError, match=r"top50_tags\.txt: not in the mirror"):
        mtat.read_mtat(Request(tmp_path, metadata=tmp_path))


def test_published_lists_have_their_sizes(music_data):
    folder = music_data / "data" / "splits" / "MTAT_split"
    tags = read_tag_names(folder / "top50_tags.txt")
    assert len(tags) == 50 and tags[0] == "guitar"
    tracks = set()
    for subset, count in (("train", 15244), ("valid", 1529), ("test", 4332)):
        names = load_pickled_texts(folder / f"{subset}_list_pub.cP")
        assert len(names) == count and names[0].endswith(".npy")
        tracks.update(names)
    assert len(tracks) == 15244 + 1529 + 4332


def test_published_tags_belong_to_their_clips(music_data, tmp_path):
    folder = music_data / "data" / "splits" / "MTAT_split"
    subsets = {
        subset: (folder / f"{subset}_list_pub.cP", folder / f"y_{subset}_pub.npy")
        for subset in ("valid", "test")  # y_train is not in the test data
    }
    clip = "d/ambient_teknology-the_all_seeing_eye_project-01-cyclops-0-29.mp3"
    (tmp_path / "d").mkdir()
    (tmp_path / clip).write_bytes(b"x")
    catalog = mtat.mtat_catalog(subsets, folder / "top50_tags.txt", Request(tmp_path))
    assert catalog.table["path"].tolist() == [clip]
    assert catalog.table["artist"][0] == "ambient_teknology"
    assert catalog.table["album"][0] == "the_all_seeing_eye_project"
    row = np.load(folder / "y_test_pub.npy")[0]
    tags = read_tag_names(folder / "top50_tags.txt")
    assert catalog.table["tags"][0] == "|".join(tags[tag] for tag in np.flatnonzero(row))
    assert catalog.notes[0].startswith(f"{tmp_path}: 5860 of 5861 tracks are missing")
