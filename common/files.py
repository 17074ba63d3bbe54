"""Atomic writing of output files, folder creation and locking, and checksums."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import filelock

from common.errors import InputError

_SYNC_BYTES = 32 << 20  # between two syncs of a growing file


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path and, on success, rename it to `path`.

    The temporary file, `NAME.partial` in the same folder, is synced to disk before it is renamed,
    so neither a killed process nor a full disk leaves an incomplete file. On error, it is removed
    and `path` is left unchanged; the `filename` attribute of an `OSError` is set.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file in it")
    partial = add_suffix(path, ".partial")
    try:
        yield partial
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # write errors do not name the file
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def add_suffix(path: Path, suffix: str) -> Path:
    """Append a suffix to a path; unlike `with_suffix`, keep any existing suffix."""
    return path.with_name(path.name + suffix)


def make_folder(folder: str | Path) -> None:
    """Create a folder and its parents, or raise `InputError`."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot make this folder ({error.strerror}); choose another place"
        ) from error


@contextlib.contextmanager
def exclusive_folder(folder: str | Path) -> Iterator[None]:
    """Create a folder and lock it against other processes, or raise `InputError`."""
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
        path.unlink(missing_ok=True)  # while still locked, so that no other process can lock it
        lock.release()


def write_all(file: io.RawIOBase, data: memoryview) -> None:
    """Write all of `data` to an unbuffered file, even if each call writes only part of it."""
    while len(data):
        data = data[file.write(data) :]


@contextlib.contextmanager
def steady_writer(file: io.RawIOBase) -> Iterator[Callable[[memoryview], None]]:
    """Yield a function that appends to an unbuffered file, which is synced to disk as it grows.

    Otherwise the system may keep gigabytes in memory, and the last sync then takes minutes on a
    slow disk.
    """
    unsynced, sync = 0, Future[None]()
    sync.set_result(None)

    def write(data: memoryview) -> None:
        nonlocal unsynced, sync
        write_all(file, data)
        unsynced += len(data)
        if unsynced >= _SYNC_BYTES and sync.done():
            sync.result()  # raises the error of a failing disk
            unsynced, sync = 0, pool.submit(os.fsync, file.fileno())

    with ThreadPoolExecutor(1) as pool:
        yield write
        sync.result()


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
