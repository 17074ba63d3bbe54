"""NumPy's .npy files, read as numbers only."""

import tokenize
from pathlib import Path

import numpy as np

from common.errors import InputError

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
