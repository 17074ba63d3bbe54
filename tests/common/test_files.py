"""Tests of atomic writes, folder creation and checksums."""

import hashlib

import pytest

from common.errors import InputError
from common.files import atomic_write, file_sha256, make_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_only_renames_complete_files(tmp_path):
    path = tmp_path / "new" / "folder" / "out.txt"
    path.parent.mkdir(parents=True)
    (path.parent / "out.txt.partial").write_text("left by a killed process")
    with atomic_write(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole" and names(path.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_atomic_write_keeps_the_old_file_on_error(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_write(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "before" and names(tmp_path) == ["out.txt"]


def test_atomic_write_adds_the_file_name_to_disk_errors(tmp_path):
    path = tmp_path / "out.txt"
    with pytest.raises(OSError) as caught, atomic_write(path):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(path)


def test_make_folder_and_atomic_write_reject_invalid_paths(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/below: cannot make this folder \(.+\); choose"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(InputError, match=r"is a folder"), atomic_write(tmp_path):
        pass
    assert names(tmp_path) == ["file"]


def test_file_sha256_matches_hashlib(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()
