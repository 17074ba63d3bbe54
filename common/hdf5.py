"""Reading HDF5 from anywhere without following where it points."""

import json
from pathlib import Path

import h5py
import numpy as np

from common.errors import InputError


def open_file(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading, or raise `InputError` saying what is wrong."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        return h5py.File(path, "r")
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error
    except OSError as error:
        raise InputError(
            f"{path}: not an HDF5 file, or a damaged one; make it or download it again"
        ) from error


def dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset whose values lie in this very file.

    External links, external raw storage and virtual datasets are refused: a
    foreign file could use them to read others on this machine.
    """
    here = f"{group.file.filename}: {name}"
    try:
        node = group
        for part in name.strip("/").split("/"):
            if not isinstance(node, h5py.Group):
                raise KeyError(name)
            if not isinstance(node.get(part, getlink=True), h5py.HardLink):
                raise InputError(f"{here} is a link; only values in the file itself are read")
            node = node[part]
    except (KeyError, RuntimeError, OSError) as error:
        raise InputError(f"{here} is missing or damaged; make or download it again") from error
    if not isinstance(node, h5py.Dataset):
        raise InputError(f"{here} is not a dataset; make or download it again")
    if node.external is not None or node.is_virtual:
        raise InputError(f"{here} lies in another file; only values in the file itself are read")
    return node


def values(group: h5py.Group, name: str, largest: int = 2**31) -> np.ndarray:
    """A whole dataset as an array; `largest` bounds its bytes, declared sizes being cheap lies."""
    found = dataset(group, name)
    if found.nbytes > largest:
        raise InputError(
            f"{group.file.filename}: {name} declares {found.nbytes} bytes, more than it can hold"
        )
    try:
        return found[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{group.file.filename}: {name} is damaged; make or download it again"
        ) from error


def strings(group: h5py.Group, name: str) -> np.ndarray:
    """A one-dimensional dataset of UTF-8 strings as an object array of str."""
    found = dataset(group, name)
    if h5py.check_string_dtype(found.dtype) is None or found.ndim != 1:
        raise InputError(f"{group.file.filename}: {name} does not hold text; make it again")
    try:
        return found.asstr()[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{group.file.filename}: {name} is damaged; make it again") from error


def json_attribute(file: h5py.File, name: str) -> dict:
    """A JSON object kept in a root attribute."""
    try:
        found = json.loads(file.attrs[name])
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{file.filename}: its attribute {name!r} is missing or damaged; it was not made by "
            "this package, or only in part"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{file.filename}: its attribute {name!r} is not a JSON object")
    return found
