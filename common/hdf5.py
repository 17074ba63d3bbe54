"""Reading HDF5 from anywhere without following where it points, and writing it whole."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from common.errors import InputError
from common.files import atomic_write, write_all

_DEFLATE = 1100  # deflate makes at most 1,032 bytes out of one


@contextlib.contextmanager
def create_file(path: str | Path, **settings) -> Iterator[h5py.File]:
    """Yield an HDF5 file to fill, which stands at `path` whole afterwards, or not at all.

    `settings` are h5py.File's.

    Raises
    ------
    OSError
        It cannot be written, because the disk is full for example; `filename` is set.
    """
    with atomic_write(path) as aside, _Sink(aside) as sink:
        try:
            with h5py.File(sink, "w", **settings) as file:
                yield file
        finally:
            if sink.error is not None:
                raise sink.error


class _Sink:
    """A file that keeps its first failed write to itself until HDF5 is done with it.

    HDF5 writes when objects are closed, where it cannot report a full disk:
    it prints tracebacks, keeps the file open, and may crash the interpreter.
    """

    def __init__(self, path: Path):
        self._file, self.error = path.open("w+b", buffering=0), None
        for name in ("read", "readinto", "seek", "tell", "flush"):
            setattr(self, name, getattr(self._file, name))

    def __enter__(self) -> "_Sink":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

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
    """Open an HDF5 file for reading, or raise `InputError` saying what is wrong."""
    path = Path(path)
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise InputError(f"{path}: {what}; check the path")
    try:
        # Finished files do not change, and network drives often cannot lock.
        return h5py.File(path, "r", locking=False)
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error
    except OSError as error:
        raise InputError(
            f"{path}: not an HDF5 file, or a damaged one; make it or download it again"
        ) from error


def open_format(path: str | Path, name: str, otherwise: str) -> h5py.File:
    """`open_file` of one that is, by its root attribute `format`, of the format `name`.

    `otherwise` is what a file of another format is told to be, and the remedy.
    """
    file = open_file(path)
    if _format(file) != name:
        file.close()
        raise InputError(f"{path}: {otherwise}")
    return file


def read_format(path: str | Path) -> str | None:
    """What a file says in its root attribute `format`; None of one that says nothing."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _format(file)
    except OSError:
        return None


def _format(file: h5py.File) -> str | None:
    try:
        found = file.attrs.get("format")
    except (OSError, RuntimeError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) else None


def get_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset whose values lie in this very file.

    External links, external raw storage and virtual datasets are refused: a
    foreign file could use them to read others on this machine.
    """
    found = _node(group, name)
    here = f"{group.file.filename}: {name}"
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{here} is not a dataset; make or download it again")
    if found.external is not None or found.is_virtual:
        raise InputError(f"{here} lies in another file; only values in the file itself are read")
    return found


def get_group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group that lies in this very file; '' is the parent itself."""
    found = _node(parent, name) if name else parent
    if not isinstance(found, h5py.Group):
        raise InputError(
            f"{parent.file.filename}: {name} is not a group; make or download it again"
        )
    return found


def _node(parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """What stands under a path of names, none of which may be a link to elsewhere."""
    here, node = f"{parent.file.filename}: {name}", parent
    try:
        for part in name.strip("/").split("/"):
            if not isinstance(node, h5py.Group):
                raise KeyError(name)
            # Not `part in node` or `node.get`, which open the file that an external link names.
            if node.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
                raise InputError(f"{here} is a link; only values in the file itself are read")
            node = node[part]
    except (KeyError, RuntimeError, OSError) as error:
        raise InputError(f"{here} is missing or damaged; make or download it again") from error
    return node


def read_array(group: h5py.Group, name: str, largest: int = 2**31) -> np.ndarray:
    """A whole dataset of numbers as an array of at most `largest` bytes."""
    found = get_dataset(group, name)
    if found.dtype.kind not in "iuf":
        raise InputError(f"{group.file.filename}: {name} does not hold numbers; make it again")
    _require_plausible(found, name, largest)
    try:
        return found[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{group.file.filename}: {name} is damaged; make or download it again"
        ) from error


def read_strings(group: h5py.Group, name: str) -> np.ndarray:
    """A one-dimensional dataset of UTF-8 strings as an object array of str."""
    found = get_dataset(group, name)
    if h5py.check_string_dtype(found.dtype) is None or found.ndim != 1:
        raise InputError(f"{group.file.filename}: {name} does not hold text; make it again")
    _require_plausible(found, name, 2**31)
    try:
        return found.asstr()[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{group.file.filename}: {name} is damaged; make it again") from error


def write_strings(group: h5py.Group, name: str, values: Iterable[str]) -> None:
    """Keep strings as a dataset that `strings` reads."""
    group.create_dataset(name, data=list(values), dtype=h5py.string_dtype())


def read_attribute(file: h5py.File, name: str, kind: type) -> str | float:
    """A root attribute that is one str or one float, or `InputError`."""
    try:
        found = file.attrs[name]
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        found = None
    if isinstance(found, np.generic):
        found = found.item()
    if not isinstance(found, kind):
        raise InputError(
            f"{file.filename}: its attribute {name!r} is missing or damaged: it was not made by "
            "this package, or only in part; make it again"
        )
    return found


def read_json_attribute(file: h5py.File, name: str) -> dict:
    """A JSON object kept in a root attribute."""
    try:
        found = json.loads(read_attribute(file, name, str))
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"{file.filename}: its attribute {name!r} is not a JSON object; make it again"
        )
    return found


def _require_plausible(found: h5py.Dataset, name: str, largest: int) -> None:
    """Declared sizes are cheap lies: more than can be stored is never allocated."""
    if found.nbytes > min(largest, _DEFLATE * Path(found.file.filename).stat().st_size):
        raise InputError(
            f"{found.file.filename}: {name} declares {found.nbytes} bytes, more than it can hold"
        )
