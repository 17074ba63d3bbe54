"""Cosine ranking, the base of retrieval and k-NN (ismir2018, section 5)."""

from collections.abc import Callable, Iterator

import numpy as np

from common.parallel import map_in_threads

# Cosines are compared at 10 decimals. The rounding error of a float64 matrix product is about
# 1e-15 and differs between BLAS builds and block sizes, so equal cosines would not be ties.
STEPS_PER_UNIT = 1e10

# Number of cosines in a block: 128 MiB per block, one block per core at a time.
BLOCK_CELLS = 2**24


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return `features` (n, d) float64 with rows of Euclidean length 1; zero rows stay zero."""
    # Dividing by the largest entry first prevents overflow and underflow of the squares.
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
    """Rank items by their cosine with each query, one block of queries at a time.

    Cosines are float64 and rounded to 10 decimals; ties rank in row order. A zero vector has
    cosine 0 with every vector. Each core ranks one block at a time; blocks are yielded in order.

    Parameters
    ----------
    queries, items : (q, d) and (m, d) float64, finite
        Without items, the queries are the items, and each is left out of its own ranking.
    k : int, optional
        Length of the rankings; by default, all items are ranked.
    metric : callable, optional
        Function of the row number of a query and its ranking. If given, its values are yielded
        in place of the rankings. It is called while the ranking is in the CPU's cache.

    Yields
    ------
    rows : slice
        The queries of the block.
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
    """Return the k nearest items to each query, ranked as in `ranked_blocks`.

    Parameters
    ----------
    queries, items
        As in `ranked_blocks`.
    k : int
        From 1 to the number of items, minus one without `items`.

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
    """(m,) int64 that sort by falling cosine, ties by row number, for m up to 5e8.

    The rounded cosine and the row number share one integer, the row number in the low bits, so
    any sort is stable. This is several times as fast as a stable argsort.
    """
    keys = np.rint(-STEPS_PER_UNIT * cosines).astype(np.int64)
    keys <<= row_bits
    keys += np.arange(len(keys))
    return keys
