"""A writer of Python 2 pickles, the format of the published lists.

In Python 2, `str` is bytes, which Python 3 pickles differently.
"""

import struct
from pathlib import Path

import numpy as np


def dump(value, path: Path, protocol: int = 0) -> Path:
    """Pickle lists, dictionaries, arrays, strings and integers, using protocol 0 or 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = b"\x80\x02" if protocol == 2 else b""
    path.write_bytes(header + _pickled(value, protocol) + b".")
    return path


def _pickled(value, protocol: int) -> bytes:
    def pickled(each) -> bytes:
        return _pickled(each, protocol)

    match value:
        case str():
            return _bytes(value.encode("utf-8"), protocol)
        case bytes():
            return _bytes(value, protocol)
        case None:
            return b"N"
        case int() if protocol == 0:
            return b"I%d\n" % value
        case int():
            return b"J" + struct.pack("<i", value)
        case tuple():
            return b"(" + b"".join(map(pickled, value)) + b"t"
        case list():
            return b"(l" + b"".join(pickled(each) + b"a" for each in value)
        case dict():
            pairs = (pickled(key) + pickled(each) + b"s" for key, each in value.items())
            return b"(d" + b"".join(pairs)
        case np.ndarray():
            return _array(value, pickled)
    raise TypeError(type(value))


def _bytes(value: bytes, protocol: int) -> bytes:
    if protocol == 0:
        return b"S" + repr(value)[1:].encode("ascii") + b"\n"
    return b"T" + struct.pack("<i", len(value)) + value


def _array(value: np.ndarray, pickled) -> bytes:
    empty = b"cnumpy.core.multiarray\n_reconstruct\n("
    empty += b"cnumpy\nndarray\n" + pickled((0,)) + pickled("b") + b"tR"
    order, kind = ("|" if value.itemsize == 1 else "<"), value.dtype.str[1:]
    dtype = b"cnumpy\ndtype\n" + pickled((kind, 0, 1)) + b"R"
    dtype += pickled((3, order, None, None, None, -1, -1, 0)) + b"b"
    state = b"(" + pickled(1) + pickled(value.shape) + dtype + pickled(0)
    return empty + state + pickled(value.tobytes()) + b"tb"
