"""Tests of atomic writes, folder creation and checksums."""

import hashlib
import os
import time

import pytest

from common import files
from common.errors import InputError
from common.files import atomic_write, file_sha256, make_folder, steady_writer


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


def test_steady_writer_appends_everything_and_syncs_as_the_file_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SYNC_BYTES", 3)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    with open(tmp_path / "x", "ab", buffering=0) as file, steady_writer(file) as write:
        for _ in range(100):
            write(memoryview(b"ab"))
            time.sleep(0.001)
    assert (tmp_path / "x").read_bytes() == 100 * b"ab"
    assert len(synced) > 2 and synced == sorted(synced)


def test_steady_writer_raises_the_error_of_a_failed_sync(monkeypatch):
    monkeypatch.setattr(files, "_SYNC_BYTES", 2)
    ends = os.pipe()  # which cannot be synced
    with (
        os.fdopen(ends[0]),
        os.fdopen(ends[1], "wb", buffering=0) as file,
        pytest.raises(OSError, match="Invalid argument"),
        steady_writer(file) as write,
    ):
        write(memoryview(b"ab"))
