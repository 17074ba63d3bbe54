"""Retrieval: every song is a query for the songs of its genre (ismir2018, section 5, Table 1)."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from evaluation.feature_checks import check_labelled_features
from evaluation.similarity import ranked_blocks


def average_precision(relevant: ArrayLike) -> float | np.ndarray:
    """Average precision (AP) of a ranking, or of each of several.

    AP = sum over the relevant ranks k of precision@k, divided by the number of
    relevant items.

    Parameters
    ----------
    relevant : (n,) or (q, n) bool
        Whether the item at each rank is relevant, best rank first.

    Returns
    -------
    float, or (q,) float64
        In (0, 1]; NaN where nothing is relevant.
    """
    relevant = np.asarray(relevant, dtype=bool)
    rows = np.atleast_2d(relevant)
    count = np.count_nonzero(rows, axis=1)
    # Of the relevant items only, which are few: their row, and their place among all in it.
    row, place = np.divmod(np.flatnonzero(rows), max(1, rows.shape[1]))
    nth = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(count) - count, count)
    total = np.bincount(row, nth / (place + 1), minlength=len(rows))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean.reshape(relevant.shape[:-1])[()]


def average_precisions(features: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """AP of each song as a query: all others ranked by cosine, relevant with the same label.

    The ranking is `evaluation.similarity.ranked_blocks`: exact, ties in the order
    of the rows, memory bounded whatever n.

    Parameters
    ----------
    features : (n, d) float
        One finite vector a song.
    labels : (n,)
        Its label, such as the genre; any hashable type.

    Returns
    -------
    (n,) float64
        In (0, 1]; NaN for a song whose label no other song has.

    Raises
    ------
    InputError
        NaN or infinity in the features, a song without label, or not one label
        a song.
    """
    features, labels = check_labelled_features(features, labels, "retrieval")
    codes, _ = pd.factorize(labels)
    codes = codes.astype(np.min_scalar_type(codes.max()))  # small ones are looked up faster

    def precision(query: int, order: np.ndarray) -> float:
        return average_precision(codes[order] == codes[query])

    scores = np.empty(len(features))
    with cli.progress_bar(total=len(features), desc="queries", unit="song") as bar:
        for rows, found in ranked_blocks(features, measure=precision):
            scores[rows] = found
            bar.update(len(found))
    return scores


def mean_average_precision(features: ArrayLike, labels: ArrayLike) -> float:
    """Mean average precision (MAP): mean of `average_precisions` over the queries.

    A song whose label no other song has is no query, as nothing is relevant to
    it; it stays among the songs that the others rank.

    Raises
    ------
    InputError
        As `average_precisions`; or no two songs share a label.
    """
    scores = average_precisions(features, labels)
    if np.isnan(scores).all():
        raise InputError(
            "retrieval: no two songs share a label, so nothing is relevant to any query; "
            "choose another column with --label"
        )
    return float(np.nanmean(scores))


def mean_by_label(scores: ArrayLike, labels: ArrayLike) -> pd.Series:
    """Mean of `scores` (n,) over the songs of each label, NaN left out; sorted by label.

    Scores are APs, or `predicted == truth` for the accuracy of each genre
    (ismir2018, Figure 5).
    """
    scores = pd.Series(np.asarray(scores, dtype=np.float64))
    return scores.groupby(np.asarray(labels)).mean()
