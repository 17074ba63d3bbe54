"""Uniform random samples of streams."""

import numpy as np


class Reservoir:
    """A uniform sample without replacement of the rows of a stream of unknown length.

    Every row draws a random number, and the rows with the smallest numbers are
    kept. At most about twice `size` rows are held in memory.
    """

    def __init__(self, size: int, seed: int):
        self._size, self._random = size, np.random.default_rng(seed)
        self._rows: list[np.ndarray] = []
        self._keys: list[np.ndarray] = []
        self._held, self._largest = 0, np.inf

    def offer(self, rows: np.ndarray) -> None:
        """Add the next rows (n, d) of the stream."""
        keys = self._random.random(len(rows))
        candidates = keys < self._largest
        self._rows.append(rows[candidates])
        self._keys.append(keys[candidates])
        self._held += int(candidates.sum())
        if self._held > 2 * self._size:
            self.drawn()

    def drawn(self) -> np.ndarray:
        """Return the sample (size, d) in the stream's order, or all rows if there are fewer.

        At least one row must have been offered.
        """
        rows, keys = np.concatenate(self._rows), np.concatenate(self._keys)
        if len(keys) > self._size:
            chosen = np.sort(np.argpartition(keys, self._size)[: self._size])
            rows, keys = rows[chosen], keys[chosen]
            self._largest = keys.max()
        self._rows, self._keys, self._held = [rows], [keys], len(keys)
        return rows
