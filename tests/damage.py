"""A helper that damages HDF5 files and checks that they are rejected."""

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from common.errors import InputError


def assert_damage_is_refused(path: Path, name: str, value, load: Callable) -> None:
    """Check that `load` rejects a file with `value`, or with an external link, at `name`."""
    for damage in (value, h5py.ExternalLink("/etc/hostname", "/")):
        with h5py.File(path, "a") as file:
            if name in file:
                del file[name]
            file[name] = damage
        with pytest.raises(InputError, match=str(path)):
            load(path)
