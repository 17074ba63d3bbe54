"""HDF5 files, read without following links to other files and written atomically.

Files may come from untrusted sources, and an HDF5 file can refer to any other file on the machine.
These functions read only data stored in the file itself and never allocate more memory than its
data can fill. If they cannot, they raise an `InputError`.
"""

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from common.errors import InputError
from common.files import atomic_write, write_all

_DEFLATE_RATIO = 1100  # one byte of deflate data expands to at most 1,032 bytes
T = TypeVar("T")
# What h5py raises on damaged files.
_DAMAGE = (KeyError, OSError, RuntimeError, TypeError, ValueError)


@contextlib.contextmanager
def create_file(path: str | Path, **settings) -> Iterator[h5py.File]:
    """Yield an open HDF5 file that, once filled, appears at `path` complete or not at all."""
    with atomic_write(path) as partial, open(partial, "w+b", buffering=0) as target:
        sink = _Sink(target)
        try:
            with h5py.File(sink, "w", **settings) as file:
                yield file
        finally:
            if sink.error is not None:
                raise sink.error


class _Sink:
    """File object that holds back its first write error until HDF5 has closed it.

    HDF5 also writes when objects are closed. On an error at that point, it prints tracebacks,
    leaves the file open and may crash the interpreter.
    """

    def __init__(self, file: io.FileIO):
        self._file = file
        self.error: OSError | None = None
        for name in ("read", "readinto", "seek", "tell", "flush"):
            setattr(self, name, getattr(file, name))

    def write(self, data: memoryview) -> int:
        self._attempt(write_all, self._file, data)
        return len(data)

    def truncate(self, size: int) -> int:
        self._attempt(self._file.truncate, size)
        return size

    def _attempt(self, function: Callable, *arguments) -> None:
        if self.error is None:
            try:
                function(*arguments)
            except OSError as error:
                self.error = error


def open_file(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading."""
    path = Path(path)
    if not path.is_file():
        problem = "not a file" if path.exists() else "no such file"
        raise InputError(f"{path}: {problem}; check the path")
    try:
        # Completed files never change, and network drives often do not support locking.
        return h5py.File(path, "r", locking=False)
    except PermissionError as error:
        raise InputError(f"{path}: permission denied; change its permissions") from error
    except OSError as error:
        problem = "not an HDF5 file, or damaged; make it or download it again"
        if path.suffix == ".csv":
            problem = "is a list, but an .h5 file is expected here; check the order of the files"
        raise InputError(f"{path}: {problem}") from error


def open_format(path: str | Path, name: str, otherwise: str) -> h5py.File:
    """Open an HDF5 file whose root attribute `format` is `name`, or raise the error `otherwise`."""
    file = open_file(path)
    if _format(file) != name:
        file.close()
        raise InputError(f"{path}: {otherwise}")
    return file


def read_format(path: str | Path) -> str | None:
    """Return a file's root attribute `format`, or None if it has none or is not an HDF5 file."""
    with contextlib.suppress(OSError), h5py.File(path, "r", locking=False) as file:
        return _format(file)
    return None


def _format(file: h5py.File) -> str | None:
    with contextlib.suppress(InputError):
        return read_attribute(file, "format", str)
    return None


def get_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset whose values are stored in this file."""
    node = _node(group, name)
    if not isinstance(node, h5py.Dataset):
        raise _error(group, name, "is not a dataset")
    if node.external is not None or node.is_virtual:
        raise _error(group, name, "is stored in another file")
    return node


def get_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return a group stored in this file ('' for the parent itself)."""
    node = _node(parent, name) if name else parent
    if not isinstance(node, h5py.Group):
        raise _error(parent, name, "is not a group")
    return node


def _node(parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return the object at a path, none of whose components may be a soft or external link."""
    node = parent
    for part in name.strip("/").split("/"):
        try:
            # `part in node` and `node.get` would open the file that an external link points to.
            kind = node.id.links.get_info(part.encode()).type
            node = node[part] if kind == h5py.h5l.TYPE_HARD else None
        except (*_DAMAGE, AttributeError) as error:  # AttributeError: datasets have no links
            raise _error(parent, name, "is missing or damaged") from error
        if node is None:
            raise _error(parent, name, "is a link, which is not followed")
    return node


def read_array(group: h5py.Group, name: str, largest: int = 2**31) -> np.ndarray:
    """Return a numeric dataset of at most `largest` bytes."""
    dataset = get_dataset(group, name)
    if dataset.dtype.kind not in "iuf":
        raise _error(group, name, "does not contain numbers")
    return _values(group, name, dataset, largest)


def read_strings(group: h5py.Group, name: str) -> np.ndarray:
    """Return a one-dimensional string dataset as an object array."""
    dataset = get_dataset(group, name)
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.ndim != 1:
        raise _error(group, name, "does not contain text")
    return _values(group, name, dataset, 2**31)


def _values(group: h5py.Group, name: str, dataset: h5py.Dataset, largest: int) -> np.ndarray:
    if dataset.nbytes > min(largest, _DEFLATE_RATIO * Path(dataset.file.filename).stat().st_size):
        raise _error(group, name, f"declares {dataset.nbytes} bytes, more than it can contain")
    try:
        return dataset[()] if dataset.dtype.kind in "iuf" else dataset.asstr()[()]
    except _DAMAGE as error:
        raise _error(group, name, "is damaged") from error


def write_strings(group: h5py.Group, name: str, values: Iterable[str]) -> None:
    """Write strings as a dataset that `read_strings` can read."""
    group.create_dataset(name, data=list(values), dtype=h5py.string_dtype())


def read_attribute(file: h5py.File, name: str, kind: type[T]) -> T:
    """Return a root attribute that is a single str or float."""
    value = None
    with contextlib.suppress(*_DAMAGE):
        value = file.attrs[name]
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, kind):
        raise _error(file, f"attribute {name!r}", "is missing or damaged")
    return value


def read_json_attribute(file: h5py.File, name: str) -> dict:
    """Return a root attribute that is a JSON object."""
    value = None
    with contextlib.suppress(RecursionError, ValueError):
        value = json.loads(read_attribute(file, name, str))
    if not isinstance(value, dict):
        raise _error(file, f"attribute {name!r}", "is not a JSON object")
    return value


def _error(group: h5py.Group, name: str, problem: str) -> InputError:
    return InputError(f"{group.file.filename}: {name} {problem}; make it or download it again")
