"""Retrieval: each track is a query for the tracks of its genre (ismir2018, section 5, Table 1)."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from evaluation.feature_checks import check_labelled_features
from evaluation.similarity import ranked_blocks


def average_precision(relevant: ArrayLike) -> float | np.ndarray:
    """Compute the average precision (AP) of one ranking or of several.

    AP is the sum of precision@k over the ranks k of relevant items, divided by the number of
    relevant items.

    Parameters
    ----------
    relevant : (n,) or (q, n) bool
        Whether the item at each rank is relevant, best rank first.

    Returns
    -------
    float, or (q,) float64
        In (0, 1]; NaN where no item is relevant.

    Examples
    --------
    >>> float(average_precision([True, False, True]))
    0.8333333333333333
    """
    relevant = np.asarray(relevant, dtype=bool)
    rows = np.atleast_2d(relevant)
    count = np.count_nonzero(rows, axis=1)
    # Only the relevant items, which are few: their row and their rank in it, from 0.
    row, rank = np.divmod(np.flatnonzero(rows), max(1, rows.shape[1]))
    hits = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(count) - count, count)
    total = np.bincount(row, hits / (rank + 1), minlength=len(rows))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean.reshape(relevant.shape[:-1])[()]


def average_precisions(features: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Compute the AP of each track as a query for the tracks with its label.

    All other tracks are ranked by `evaluation.similarity.ranked_blocks`: exactly, ties in row
    order, and in bounded memory for any n.

    Parameters
    ----------
    features : (n, d) float
        One finite vector per track.
    labels : (n,)
        The label of each track, such as its genre; any hashable type.

    Returns
    -------
    (n,) float64
        In (0, 1]; NaN for a track whose label no other track has.
    """
    features, labels = check_labelled_features(features, labels, "retrieval")
    codes, _ = pd.factorize(labels)
    codes = codes.astype(np.min_scalar_type(codes.max()))  # small integers are looked up faster

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

    A track whose label no other track has is not a query, because no item is relevant; it
    remains an item in the rankings of the others.

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
    """Return the mean of `scores` (n,) over the tracks of each label, sorted by label.

    Scores may be APs, or `predicted == truth` for the accuracy of each genre (ismir2018,
    Figure 5). NaN is left out.
    """
    return pd.Series(np.asarray(scores, dtype=np.float64)).groupby(np.asarray(labels)).mean()
