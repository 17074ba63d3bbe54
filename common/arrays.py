"""Arrays in files: NumPy's .npy, read as numbers only, and what is too large for memory."""

import tempfile
import tokenize
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import write_all

_MAGIC = b"\x93NUMPY"
# What NumPy raises over a header that is no header, or claims what the file does not hold.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def load_npy(path: str | Path, *, ndim: int | None = None) -> np.ndarray:
    """The array of numbers (or bools) in an .npy file, of `ndim` dimensions if that is given.

    Raises
    ------
    InputError
        No such file, not an .npy file, a damaged one, one that holds Python
        objects or text, or another number of dimensions.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"{path}: not an .npy file; download it again")
    try:
        # Mapped first: a size that the file does not have is refused before it is allocated.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise InputError(
            f"{path}: a damaged .npy file, or one of Python objects; download it again"
        ) from error
    if mapped.dtype.kind not in "biuf":
        raise InputError(f"{path}: holds no numbers; use the published file")
    if ndim is not None and mapped.ndim != ndim:
        raise InputError(
            f"{path}: its array has {mapped.ndim} dimensions, not {ndim}; use the published file"
        )
    return np.array(mapped)


def concatenate_on_disk(
    arrays: Iterable[np.ndarray], folder: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Put arrays one after the other into a file without a name, which is mapped into memory.

    A pass over them costs no more than reading them, however often it is made; the
    file is gone when the array is, or when the process is.

    Parameters
    ----------
    arrays
        (n, d) float32 each, of one d; at least one row in all.
    folder
        Where the disk has room.

    Returns
    -------
    rows : (total, d) float32, mapped
    start : (arrays + 1,) int64; array i is rows[start[i] : start[i + 1]]
    """
    lengths, width = [], 0
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for array in arrays:
            if len(array):  # Python casts no memory of none
                write_all(file, memoryview(np.ascontiguousarray(array, np.float32)).cast("B"))
            lengths.append(len(array))
            width = array.shape[1]
        start = np.cumsum([0, *lengths])
        return np.memmap(file, np.float32, mode="r", shape=(start[-1], width)), start
