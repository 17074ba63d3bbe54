"""Outputs that appear whole or not at all."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from common.errors import InputError


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `path` in one rename.

    The file is written beside its destination as `NAME.partial` and synced
    before the rename, so that a reader, a kill or a full disk never meets half
    a file. On an error the partial file is removed and `path` is as before.

    Raises
    ------
    InputError
        The folder cannot be made, or `path` is a folder itself.
    OSError
        It cannot be written; `filename` is set.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file's name in it")
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say whose write it met
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def add_suffix(path: Path, suffix: str) -> Path:
    """`path` with a suffix after its name, in which a dataset's name may have a dot."""
    return path.with_name(path.name + suffix)


def make_folder(folder: str | Path) -> None:
    """Make `folder` and its parents, or raise `InputError` saying why not."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot make this folder ({error.strerror}); choose another place"
        ) from error


@contextlib.contextmanager
def exclusive_folder(folder: str | Path) -> Iterator[None]:
    """Hold a folder, which is made, so that no other process works there.

    Raises
    ------
    InputError
        Another one does.
    """
    folder = Path(folder)
    make_folder(folder)
    path = folder / "lock"
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        raise InputError(
            f"{folder}: another process is at work here; wait for it, or choose another --out"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is still ours
        lock.release()


def write_all(file: io.RawIOBase, data: memoryview) -> None:
    """Write all of `data` to an unbuffered file, which may take less of it at a time."""
    while len(data):
        data = data[file.write(data) :]


def file_sha256(path: str | Path) -> str:
    """Hex sha256 of a file's content, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
