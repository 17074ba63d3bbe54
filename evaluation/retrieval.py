"""Ranking of tracks by cosine similarity, and the MAP of retrieval (ismir2018, section 5).

A track's average precision (AP) as a query is the mean of precision@k over the ranks k of the
tracks with its label; Table 1 lists the mean over all queries (MAP).
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from common.parallel import map_in_threads
from evaluation.feature_checks import check_labelled_features

# Cosines are rounded to 10 decimals before they are compared. The rounding error of a float64
# matrix product is about 1e-15 and varies with the BLAS build and the block size, so without
# rounding, equal cosines would not tie.
STEPS_PER_UNIT = 1e10

# Number of cosines per block. A block takes 128 MiB, and each core processes one at a time.
BLOCK_CELLS = 2**24

# ---------------------------------------------------------------- ranking


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
    """Rank items (m, d) by cosine similarity to queries (q, d), one block of queries at a time.

    For each block, yields the rows of its queries and one result per query: the row numbers of all
    items (or of the `k` nearest), nearest first, or, if given, `metric(query row, ranking)`.
    Ties are ranked in row order. The cosine of a zero vector with any vector is 0. If `items` is
    omitted, queries are ranked against each other, and each is left out of its own ranking.
    """
    exclude_self = items is None
    queries = unit_rows(queries)
    items = queries if items is None else unit_rows(items)
    step = max(1, BLOCK_CELLS // len(items))
    row_bits = len(items).bit_length()

    def rank_block(start: int) -> tuple[slice, np.ndarray]:
        rows, values = slice(start, min(start + step, len(queries))), []
        for query, cosines in enumerate(queries[rows] @ items.T, start):
            # Each key packs the rounded cosine and, in the low bits, the row number (up to 5e8),
            # so any sorting algorithm breaks ties by row, several times faster than a stable sort.
            keys = np.rint(-STEPS_PER_UNIT * cosines).astype(np.int64)
            keys <<= row_bits
            keys += np.arange(len(keys))
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
    """Return the row numbers (q, k) of the k items nearest to each query, and their cosines (q, k).

    Queries and items are those of `ranked_blocks`.
    """
    order = np.concatenate([ranking for _, ranking in ranked_blocks(queries, items, k=k)])
    units = unit_rows(queries if items is None else items)
    return order, np.einsum("qd,qkd->qk", unit_rows(queries), units[order])


# ---------------------------------------------------------------- mean average precision


def average_precision(relevant: ArrayLike) -> float:
    """Compute the AP of a ranking from the relevance (n,) bool of its items, best rank first.

    NaN if no item is relevant.
    """
    ranks = np.flatnonzero(relevant) + 1
    precisions = np.arange(1, len(ranks) + 1) / ranks
    # Unlike `sum`, `cumsum` adds in rank order, so the last digit does not depend on the hardware.
    return float(np.cumsum(precisions)[-1] / len(ranks)) if len(ranks) else np.nan


def average_precisions(features: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Compute the AP of each track as a query for the other tracks with its label.

    Parameters
    ----------
    features, labels : (n, d) float, finite; (n,) of any hashable type

    Returns
    -------
    (n,) float64
        AP in (0, 1]; NaN if no other track has the query's label.
    """
    features, labels = check_labelled_features(features, labels, "retrieval")
    codes, _ = pd.factorize(labels)
    codes = codes.astype(np.min_scalar_type(codes.max()))  # indexing small integers is faster

    def query_precision(query: int, ranking: np.ndarray) -> float:
        return average_precision(codes[ranking] == codes[query])

    scores = np.empty(len(features))
    with cli.progress_bar(total=len(features), desc="queries", unit="track") as bar:
        for rows, block in ranked_blocks(features, metric=query_precision):
            scores[rows] = block
            bar.update(len(block))
    return scores


def mean_average_precision(features: ArrayLike, labels: ArrayLike) -> float:
    """Compute the mean average precision (MAP), the mean of `average_precisions`.

    A track whose label is unique is not used as a query, because no item would be relevant, but
    it is still ranked for the other queries.

    Examples
    --------
    >>> mean_average_precision([[1, 0], [2, 0], [0, 1], [0, 3]], ["a", "a", "b", "b"])
    1.0
    """
    return mean_of_queries(average_precisions(features, labels))


def mean_of_queries(scores: np.ndarray) -> float:
    """Return the mean of average precisions (n,), without those that are NaN."""
    if np.isnan(scores).all():
        raise InputError(
            "retrieval: no two tracks share a label, so no query has a relevant item; "
            "choose another column with --label"
        )
    return float(np.nanmean(scores))
