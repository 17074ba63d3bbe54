"""Arrays in files: published .npy files, and arrays too large for memory."""

import tempfile
import tokenize
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import write_all

# What NumPy raises for an invalid header, or one that declares more than the file contains.
_INVALID = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, RecursionError),
    *(SyntaxError, TypeError, ValueError, tokenize.TokenError),
)


def load_npy(path: str | Path, *, ndim: int | None = None) -> np.ndarray:
    """Load an array of numbers or bools from an .npy file, without unpickling objects.

    Parameters
    ----------
    path
        The file.
    ndim
        Required number of dimensions, if given.

    Raises
    ------
    InputError
        The file is missing, damaged or not an .npy file, contains text or Python
        objects, or has another number of dimensions.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        # Mapped first, so that a size that the file does not have is never allocated.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray):  # an .npz archive
            raise ValueError("not an array")
    except _INVALID as error:
        raise InputError(
            f"{path}: not an .npy file of numbers, or damaged; download it again"
        ) from error
    if mapped.dtype.kind not in "biuf":
        raise InputError(f"{path}: contains no numbers; use the published file")
    if ndim is not None and mapped.ndim != ndim:
        raise InputError(
            f"{path}: the array has {mapped.ndim} dimensions, not {ndim}; use the published file"
        )
    return np.array(mapped)


def concatenate_on_disk(
    arrays: Iterable[np.ndarray], folder: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate arrays in an unnamed temporary file and map it into memory.

    The file is deleted when the array or the process ends.

    Parameters
    ----------
    arrays
        (n, d) float32 each, with the same d; at least one row in total.
    folder
        A folder on a disk with enough free space.

    Returns
    -------
    rows : (total, d) float32, memory-mapped
    start : (arrays + 1,) int64; array i is rows[start[i] : start[i + 1]]
    """
    lengths, width = [], 0
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for array in arrays:
            if len(array):  # memoryview cannot cast an empty array
                write_all(file, np.ascontiguousarray(array, np.float32).data.cast("B"))
            lengths.append(len(array))
            width = array.shape[1]
        start = np.cumsum([0, *lengths])
        return np.memmap(file, np.float32, mode="r", shape=(start[-1], width)), start
