"""Loaders for published lists that are stored as Python 2 pickles.

Unpickling can run arbitrary code. Two safeguards prevent this: a list is opened only after
`catalog.fetch_lists` has verified its content id, and the unpickler resolves only the global names
needed for byte strings and NumPy arrays, which the tag vector list contains.
"""

import codecs
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.errors import InputError

_ADMITTED = {
    ("_codecs", "encode"): codecs.encode,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
    _ADMITTED[_module, "_reconstruct"] = np.empty(0).__reduce__()[0]
    _ADMITTED[_module, "scalar"] = np.float64(0).__reduce__()[0]


def load_pickled_texts(path: Path) -> list[str]:
    """Return a pickled list of strings, or raise `InputError` for any other content."""
    texts = _load(path)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path}: not a list of texts; download it again")
    return texts


def load_pickled_dict(path: Path) -> dict[str, Any]:
    """Return a pickled dictionary with its keys converted to str, or raise `InputError`."""
    values = _load(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a dictionary; download it again")
    return {str(key): value for key, value in values.items()}


class _ListUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO):
        # Python 2's str is bytes; Latin-1 maps each byte to one character, including array data.
        super().__init__(file, encoding="latin-1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            found = f"{module}.{name}"
            raise InputError(f"refers to {found!r}, which a list of tracks does not need")
        return _ADMITTED[module, name]


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        try:
            return _ListUnpickler(file).load()
        except InputError as error:
            raise InputError(f"{path}: {error}; use the published file") from None
        except Exception as error:  # a damaged pickle can raise almost any exception
            raise InputError(f"{path}: not a pickle, or damaged; download it again") from error
