"""A fair sample out of a stream of unknown length."""

import numpy as np


class Reservoir:
    """`size` rows out of a stream, any of them equally likely: those with the least lots.

    At most some twice `size` rows are held.
    """

    def __init__(self, size: int, seed: int):
        self._size, self._random = size, np.random.default_rng(seed)
        self._rows: list[np.ndarray] = []
        self._lots: list[np.ndarray] = []
        self._held, self._limit = 0, np.inf

    def offer(self, rows: np.ndarray) -> None:
        """Take rows (n, d) of the stream, or not."""
        lots = self._random.random(len(rows))
        low = lots < self._limit
        self._rows.append(rows[low])
        self._lots.append(lots[low])
        self._held += int(low.sum())
        if self._held > 2 * self._size:
            self.drawn()

    def drawn(self) -> np.ndarray:
        """(size, d), or all there were if fewer; in the stream's order. Something was offered."""
        rows, lots = np.concatenate(self._rows), np.concatenate(self._lots)
        if len(lots) > self._size:
            kept = np.sort(np.argpartition(lots, self._size)[: self._size])
            rows, lots = rows[kept], lots[kept]
            self._limit = lots.max()
        self._rows, self._lots, self._held = [rows], [lots], len(lots)
        return rows
