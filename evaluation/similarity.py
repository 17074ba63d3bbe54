"""Who is near to whom: the cosine ranking under retrieval and k-NN (ismir2018, section 5)."""

from collections.abc import Iterator

import numpy as np

from common.errors import InputError

# Cosines are compared at 10 decimals: float64 rounding in the matrix product is some 1e-15 and
# differs between BLAS builds and block sizes, so equal cosines would else be ranked by accident.
GRAINS = 1e10

# Similarities held at a time; 32 MiB an array, whatever the number of songs.
BLOCK_CELLS = 2**22


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows of `features` (n, d) float64 at Euclidean length 1; a zero row stays zero."""
    # The largest entry goes first, so that squaring can neither overflow nor vanish.
    largest = np.abs(features).max(axis=1, keepdims=True)
    features = features / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def ranked_blocks(
    queries: np.ndarray, items: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rank items by their cosine with each query, a block of queries at a time.

    Cosines are float64, rounded to 10 decimals; equal ones rank in the order of
    the rows. A zero vector has cosine 0 with everything.

    Parameters
    ----------
    queries : (q, d) float64, finite
    items : (m, d) float64, finite, or None
        None: the queries rank one another, each leaving itself out.

    Yields
    ------
    rows : slice
        The queries of this block.
    order : (len(block), m) int64; (len(block), q - 1) without `items`
        Row numbers of the items, nearest first.

    Raises
    ------
    InputError
        Queries and items differ in d.
    """
    alone = items is None
    queries = unit_rows(queries)
    items = queries if alone else unit_rows(items)
    if queries.shape[1] != items.shape[1]:
        raise InputError(
            f"features of {queries.shape[1]} and of {items.shape[1]} dimensions cannot be "
            "compared; extract both with the same weights"
        )
    step = max(1, BLOCK_CELLS // len(items))
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        grains = np.rint(queries[rows] @ items.T * GRAINS).astype(np.int64)
        if alone:
            itself = np.arange(rows.start, rows.stop)
            grains[itself - start, itself] = -2 * GRAINS  # below any cosine: ranked last
        order = _descending(grains)
        yield rows, order[:, :-1] if alone else order


def _descending(grains: np.ndarray) -> np.ndarray:
    """Indices that sort each row of int64 `grains` (q, m) downwards, ties by index.

    Value and index go into one integer, which any sort then orders stably; this
    is several times as fast as a stable argsort. It holds to m = 4e8.
    """
    m = grains.shape[1]
    keys = np.arange(m) - grains * m
    keys.sort(axis=1)
    return keys % m
