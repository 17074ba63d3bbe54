"""Ranking by cosine similarity, used by retrieval and k-NN (ismir2018, section 5)."""

from collections.abc import Callable, Iterator

import numpy as np

from common.parallel import map_in_threads

# Cosines are rounded to 10 decimals before they are compared. The rounding error of a float64
# matrix product is about 1e-15 and varies with the BLAS build and the block size, so without
# rounding, equal cosines would not tie.
STEPS_PER_UNIT = 1e10

# Number of cosines per block. A block takes 128 MiB, and each core processes one at a time.
BLOCK_CELLS = 2**24


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Scale the rows of `features` (n, d) float64 to unit Euclidean length; zero rows stay zero."""
    # Dividing by the largest entry first keeps the squares from overflowing or underflowing.
    largest = np.abs(features).max(axis=1, keepdims=True)
    features = features / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def ranked_blocks(
    queries: np.ndarray,
    items: np.ndarray | None = None,
    *,
    k: int | None = None,
    metric: Callable[[int, np.ndarray], float] | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rank items by their cosine similarity to each query, one block of queries at a time.

    Cosines are float64 and rounded to 10 decimals; ties are ranked in row order. The cosine of a
    zero vector with any vector is 0. Each core ranks one block at a time; blocks are yielded in
    order.

    Parameters
    ----------
    queries, items : (q, d) and (m, d) float64, finite
        If `items` is omitted, the queries are ranked against each other, and each query is left
        out of its own ranking.
    k : int, optional
        Length of the rankings; by default, all items are ranked.
    metric : callable, optional
        Function that takes the row number of a query and its ranking. If provided, its values are
        yielded instead of the rankings. It is called while the ranking is in the CPU cache.

    Yields
    ------
    rows : slice
        Rows of the queries in the block.
    ranking : (len(block), k) int64, or (len(block),) values of `metric`
        Row numbers of the items, nearest first.
    """
    exclude_self = items is None
    queries = unit_rows(queries)
    items = queries if items is None else unit_rows(items)
    step = max(1, BLOCK_CELLS // len(items))
    row_bits = len(items).bit_length()

    def rank_block(start: int) -> tuple[slice, np.ndarray]:
        rows, values = slice(start, min(start + step, len(queries))), []
        for query, cosines in enumerate(queries[rows] @ items.T, start):
            keys = _sort_keys(cosines, row_bits)
            if exclude_self:
                keys[query] = np.iinfo(np.int64).max  # ranked last and cut off
            if k is not None:
                keys = np.partition(keys, k - 1)[:k]
            keys.sort()
            ranking = keys[: len(items) - exclude_self] & (1 << row_bits) - 1
            values.append(metric(query, ranking) if metric else ranking)
        return rows, np.array(values)

    return map_in_threads(rank_block, range(0, len(queries), step))


def nearest_neighbours(
    queries: np.ndarray, items: np.ndarray | None = None, *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k items nearest to each query, ranked as in `ranked_blocks`.

    Parameters
    ----------
    queries, items
        As in `ranked_blocks`.
    k : int
        Number of neighbours, from 1 to the number of items (minus one if `items` is omitted).

    Returns
    -------
    order : (q, k) int64
        Row numbers of the items, nearest first.
    cosine : (q, k) float64
    """
    order = np.concatenate([ranking for _, ranking in ranked_blocks(queries, items, k=k)])
    units = unit_rows(queries if items is None else items)
    return order, np.einsum("qd,qkd->qk", unit_rows(queries), units[order])


def _sort_keys(cosines: np.ndarray, row_bits: int) -> np.ndarray:
    """Return (m,) int64 keys that sort by decreasing cosine, then row number, for m up to 5e8.

    Each key packs the rounded cosine and, in the low bits, the row number, so any sorting
    algorithm breaks ties by row. This is several times faster than a stable argsort.
    """
    keys = np.rint(-STEPS_PER_UNIT * cosines).astype(np.int64)
    keys <<= row_bits
    keys += np.arange(len(keys))
    return keys
