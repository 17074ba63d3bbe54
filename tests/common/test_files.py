"""Files that appear whole or not at all."""

import hashlib

import pytest

from common.errors import InputError
from common.files import atomic_write, file_sha256, make_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "out.txt"
    with atomic_write(path) as aside:
        aside.write_text("half")
        assert not path.exists()
        aside.write_text("whole")
    assert path.read_text() == "whole" and names(path.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_write(path) as aside:
        aside.write_text("half")
        raise error
    assert path.read_text() == "before" and names(tmp_path) == ["out.txt"]


def test_an_error_of_the_disk_names_the_file(tmp_path):
    path = tmp_path / "out.txt"
    with pytest.raises(OSError) as caught, atomic_write(path):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(path)


def test_a_partial_file_of_a_killed_run_is_written_over(tmp_path):
    (tmp_path / "out.txt.partial").write_text("left by a kill, and longer")
    with atomic_write(tmp_path / "out.txt") as aside:
        aside.write_text("new")
    assert (tmp_path / "out.txt").read_text() == "new" and names(tmp_path) == ["out.txt"]


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/below: cannot make this folder \(.+\); choose"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(InputError, match=r"is a folder"), atomic_write(tmp_path):
        pass
    assert names(tmp_path) == ["file"]


def test_sha256_of_more_than_a_block(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()
