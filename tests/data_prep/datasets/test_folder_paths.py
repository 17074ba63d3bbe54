"""A folder's labels, read off its paths."""

import pytest

from common.errors import InputError
from data_prep.datasets import Request, folder_paths


def read(root, pattern):
    return folder_paths.read_folder_paths(Request(root=root, pattern=pattern))


@pytest.fixture
def music(tmp_path):
    root = tmp_path / "music"
    for path in ("a/x/1.wav", "a/x/2.mp3", "b/y/1.wav", "b/y/disc 1/1.wav", "loose.wav"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def test_labels_are_read_off_paths(music):
    catalog = read(music, "{artist}/{album}/{}")
    table = catalog.table
    assert table["path"].tolist() == ["a/x/1.wav", "a/x/2.mp3", "b/y/1.wav"]
    assert table["artist"].tolist() == ["a", "a", "b"] and table["album"].tolist() == list("xxy")
    assert catalog.notes == [
        f"{music}: 2 files do not fit the pattern, such as 'b/y/disc 1/1.wav': left out"
    ]
    assert table.columns.tolist() == ["track_id", "path", "artist", "album"]


def test_patterns_without_artists_and_with_dots(tmp_path):
    for name in ("blues.00000.wav", "hip.hop.00001.wav", "x+y.00000.wav"):
        (tmp_path / name).write_bytes(b"x")
    catalog = read(tmp_path, "{genre}.{}")
    table = catalog.table
    assert table["genre"].tolist() == ["blues", "hip", "x+y"] and not catalog.notes
    assert table["artist"].tolist() == ["", "", ""]
    catalog = read(tmp_path, "x+{genre}.00000")
    assert catalog.table["genre"].tolist() == ["y"] and len(catalog.notes) == 1


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{}", "needs names in braces"),
        ("{artist}/{artist}", "needs names in braces, each once"),
        ("{path}/{}", "none reserved"),
        ("{an artist}/{}", "is letters, digits and _"),
        ("{artist}/{a}/{b}/{c}/{d}", r"no file fits the pattern .*not even 'a/x/1.wav'"),
    ],
)
def test_patterns_that_are_wrong(music, pattern, why):
    with pytest.raises(InputError, match=why):
        read(music, pattern)
