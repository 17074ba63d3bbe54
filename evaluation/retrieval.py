"""Retrieval of tracks that share the query track's genre (ismir2018, section 5, Table 1)."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from evaluation.feature_checks import check_labelled_features
from evaluation.similarity import ranked_blocks


def average_precision(relevant: ArrayLike) -> float | np.ndarray:
    """Compute the average precision (AP) of one or more rankings.

    AP is the mean of precision@k over the ranks k of the relevant items.

    Parameters
    ----------
    relevant : (n,) or (q, n) bool
        Whether the item at each rank is relevant, starting with the best rank.

    Returns
    -------
    float, or (q,) float64
        AP in (0, 1]; NaN if no item is relevant.

    Examples
    --------
    >>> float(average_precision([True, False, True]))
    0.8333333333333333
    """
    relevant = np.asarray(relevant, dtype=bool)
    rows = np.atleast_2d(relevant)
    count = np.count_nonzero(rows, axis=1)
    # Few items are relevant, so only their rows and ranks (from 0) are processed.
    row, rank = np.divmod(np.flatnonzero(rows), max(1, rows.shape[1]))
    hits = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(count) - count, count)
    total = np.bincount(row, hits / (rank + 1), minlength=len(rows))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean.reshape(relevant.shape[:-1])[()]


def average_precisions(features: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Compute the AP of each track as a query for the other tracks with its label.

    `evaluation.similarity.ranked_blocks` ranks all other tracks. The ranking is exact, ties are in
    row order, and memory use is bounded for any n.

    Parameters
    ----------
    features : (n, d) float
        One finite vector per track.
    labels : (n,)
        One label per track, such as its genre, of any hashable type.

    Returns
    -------
    (n,) float64
        AP in (0, 1]; NaN if no other track has the query's label.
    """
    features, labels = check_labelled_features(features, labels, "retrieval")
    codes, _ = pd.factorize(labels)
    codes = codes.astype(np.min_scalar_type(codes.max()))  # indexing small integers is faster

    def query_precision(query: int, ranking: np.ndarray) -> float:
        return float(average_precision(codes[ranking] == codes[query]))

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
    scores = average_precisions(features, labels)
    if np.isnan(scores).all():
        raise InputError(
            "retrieval: no two tracks share a label, so no query has a relevant item; "
            "choose another column with --label"
        )
    return float(np.nanmean(scores))


def mean_by_label(scores: ArrayLike, labels: ArrayLike) -> pd.Series:
    """Return the mean of `scores` (n,) per label, sorted by label.

    Scores may be APs, or `predicted == truth` to obtain the accuracy per genre (ismir2018,
    Figure 5). NaN scores are ignored.
    """
    return pd.Series(np.asarray(scores, dtype=np.float64)).groupby(np.asarray(labels)).mean()
