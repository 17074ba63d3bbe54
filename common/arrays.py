"""Arrays larger than memory: concatenation on disk and sampling from streams."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.files import write_all


def concatenate_on_disk(
    arrays: Iterable[np.ndarray], folder: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate (n, d) float32 arrays in an unnamed file in `folder`, mapped into memory.

    Returns the (total, d) rows and the (arrays + 1,) row number at which each array starts. There
    must be at least one row. The file disappears when the rows are freed or the process exits.
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


class Reservoir:
    """Uniform sample, without replacement, of the rows of a stream of unknown length.

    Each row gets a random number; the rows with the smallest numbers are kept, and at most about
    2 * `size` of them are held in memory.
    """

    def __init__(self, size: int, seed: int):
        self._size, self._random = size, np.random.default_rng(seed)
        self._rows: list[np.ndarray] = []
        self._keys: list[np.ndarray] = []
        self._held, self._largest = 0, np.inf

    def offer(self, rows: np.ndarray) -> None:
        """Offer the next (n, d) rows of the stream to the sample."""
        keys = self._random.random(len(rows))
        candidates = keys < self._largest
        self._rows.append(rows[candidates])
        self._keys.append(keys[candidates])
        self._held += int(candidates.sum())
        if self._held > 2 * self._size:
            self.drawn()

    def drawn(self) -> np.ndarray:
        """Return the (size, d) sample in stream order, or all rows if there are fewer."""
        rows, keys = np.concatenate(self._rows), np.concatenate(self._keys)
        if len(keys) > self._size:
            chosen = np.sort(np.argpartition(keys, self._size)[: self._size])
            rows, keys = rows[chosen], keys[chosen]
            self._largest = keys.max()
        self._rows, self._keys, self._held = [rows], [keys], len(keys)
        return rows
