"""Who is near to whom: the cosine ranking under retrieval and k-NN (ismir2018, section 5)."""

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from common.parallel import map_in_threads

# Cosines are compared at 10 decimals: float64 rounding in the matrix product is some 1e-15 and
# differs between BLAS builds and block sizes, so equal cosines would else be ranked by accident.
GRAINS = 1e10

# Cosines of a block; 128 MiB, and each core has one block at a time.
BLOCK_CELLS = 2**24


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows of `features` (n, d) float64 at Euclidean length 1; a zero row stays zero."""
    # The largest entry goes first, so that squaring can neither overflow nor vanish.
    largest = np.abs(features).max(axis=1, keepdims=True)
    features = features / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def ranked_blocks(
    queries: np.ndarray,
    items: np.ndarray | None = None,
    *,
    measure: Callable[[int, np.ndarray], float] | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rank items by their cosine with each query, a block of queries at a time.

    Cosines are float64, rounded to 10 decimals; equal ones rank in the order of
    the rows. A zero vector has cosine 0 with everything. Every core ranks a block,
    and the blocks come in order.

    Parameters
    ----------
    queries : (q, d) float64, finite
    items : (m, d) float64, finite, or None
        None: the queries rank one another, each leaving itself out.
    measure : function of the number of a query and its order (m,)
        What to yield of each query in the place of its order. It is found at once,
        while the order is in the processor's cache.

    Yields
    ------
    rows : slice
        The queries of this block.
    order : (len(block), m) int64; m is q - 1 without `items`
        Row numbers of the items, nearest first; or the measures (len(block),).

    Raises
    ------
    InputError
        Queries and items differ in d.
    """
    alone = items is None
    queries = unit_rows(queries)
    items = queries if alone else unit_rows(items)
    _require_same_width(queries, items)
    step = max(1, BLOCK_CELLS // len(items))
    row_bits = len(items).bit_length()

    def ranked(start: int) -> tuple[slice, np.ndarray]:
        rows, found = slice(start, min(start + step, len(queries))), []
        for query, cosines in enumerate(queries[rows] @ items.T, start):
            keys = _keys(cosines, row_bits)
            if alone:
                keys[query] = np.iinfo(np.int64).max  # ranked last, and cut off
            keys.sort()
            order = keys[: len(items) - alone] & (1 << row_bits) - 1
            found.append(measure(query, order) if measure else order)
        return rows, np.array(found)

    return map_in_threads(ranked, range(0, len(queries), step))


def nearest_neighbours(
    queries: np.ndarray, items: np.ndarray | None = None, *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k items nearest to each query: the first k that `ranked_blocks` would give, and faster.

    scikit-learn finds them, as between rows of length 1 the squared distance is 2 - 2 cosine.
    Where more are equally near than there is room for, it takes any, and so the whole ranking
    decides about such a query.

    Parameters
    ----------
    queries, items
        As `ranked_blocks` takes them.
    k : int
        From 1 to the number of items, less one without `items`.

    Returns
    -------
    order : (q, k) int64
        Row numbers of the items, nearest first.
    cosine : (q, k) float64

    Raises
    ------
    InputError
        Queries and items differ in d.
    """
    alone = items is None
    queries = unit_rows(queries)
    items = queries if alone else unit_rows(items)
    _require_same_width(queries, items)
    more = min(k + 1, len(items) - alone)
    search = NearestNeighbors(n_neighbors=more, algorithm="brute").fit(items)
    distance, order = search.kneighbors(None if alone else queries)
    grains = np.rint(GRAINS * (1 - distance**2 / 2))
    order = np.take_along_axis(order, np.lexsort((order, -grains)), axis=1)[:, :k]
    grains.sort(axis=1)
    doubtful = (grains[:, 0] == grains[:, more - k]) & (more > k)
    # No distance goes with the cosine of 0 that a zero vector has.
    doubtful |= ~queries.any(axis=1) | (~items.any(axis=1)).any()
    rows = np.flatnonzero(doubtful)
    for block, whole in ranked_blocks(queries[rows], items):
        if alone:
            whole = whole[whole != rows[block, None]].reshape(len(whole), -1)
        order[rows[block]] = whole[:, :k]
    return order, np.einsum("qd,qkd->qk", queries, items[order])


def _require_same_width(queries: np.ndarray, items: np.ndarray) -> None:
    if queries.shape[1] != items.shape[1]:
        raise InputError(
            f"features of {queries.shape[1]} and of {items.shape[1]} dimensions cannot be "
            "compared; extract both with the same weights"
        )


def _keys(cosines: np.ndarray, row_bits: int) -> np.ndarray:
    """(m,) int64 that rank as the cosines do, downwards, and equal ones by row number.

    Rounded cosine and row number go into one integer, the number into its lowest bits:
    any sort then is a stable one, and several times as fast as a stable argsort. It holds
    to m = 5e8.
    """
    keys = np.rint(-GRAINS * cosines).astype(np.int64)
    keys <<= row_bits
    keys += np.arange(len(keys))
    return keys
