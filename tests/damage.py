"""Files that are spoilt in one place, and have to be refused."""

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from common.errors import InputError


def assert_refused(path: Path, name: str, value, load: Callable) -> None:
    """`load` refuses the HDF5 file with another `value` at `name`, and with a link to elsewhere."""
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        file[name] = value
    with pytest.raises(InputError, match=str(path)):
        load(path)
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(InputError, match=str(path)):
        load(path)
