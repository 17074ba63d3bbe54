"""Checks that measures and models make on features, before any number comes out."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError


def check_labelled_features(
    features: ArrayLike, labels: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """`features` as (n, d) float64 and `labels` as (n,), or an error that calls them `name`.

    Raises
    ------
    InputError
        As `checked_features`; or not one label a row; or a row without a label.
    """
    features, labels = check_features(features, name), np.asarray(labels)
    if labels.shape != (len(features),):
        raise InputError(
            f"{name}: {len(features)} rows of features but labels of shape {labels.shape}; "
            "give one label a row"
        )
    missing = np.flatnonzero(pd.isna(labels))
    if missing.size:
        raise InputError(
            f"{name}: {missing.size} of {len(labels)} songs have no label, the first is row "
            f"{missing[0]}; fill that column of the split or leave those songs out"
        )
    return features, labels


def check_features(features: ArrayLike, name: str) -> np.ndarray:
    """`features` as (n, d) float64, all finite and n > 0, or an error that calls them `name`.

    Raises
    ------
    InputError
        Not two-dimensional; no rows; or NaN or infinity in any row.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2:
        raise InputError(
            f"{name}: features of shape {features.shape}; give one row a song, shape (n, d)"
        )
    if not features.size:
        raise InputError(
            f"{name}: no features, shape {features.shape}; check the subset column of the split "
            "and that its track_id are those of the features"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name}: {bad.size} of {len(features)} rows of features have NaN or infinity, "
            f"the first is row {bad[0]}; extract them again"
        )
    return features


def require_two_labels(labels: ArrayLike, name: str) -> None:
    """Raise `InputError` if all of some songs, called `name`, have the same label."""
    classes = pd.unique(np.asarray(labels))
    if len(classes) == 1:
        raise InputError(
            f"{name}: every song has the label {classes[0]}, and there is nothing to tell apart; "
            "choose another column with --label"
        )


def check_subsets(
    train: tuple[ArrayLike, ArrayLike],
    valid: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    name: str,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Features and whole-number labels of the three subsets, for a classifier called `name`.

    Labels are numbered as the train subset has them; a label that it lacks is -1 in
    test, and leaves its song out of valid.

    Returns
    -------
    Three (n, d) float64, and three (n,) int.

    Raises
    ------
    InputError
        As `checked`; a single class in training; no validation song with one of training.
    """
    pairs = [
        check_labelled_features(*part, f"{name}, {subset} subset")
        for part, subset in ((train, "train"), (valid, "valid"), (test, "test"))
    ]
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = pairs
    require_two_labels(train_y, f"{name}, train subset")
    train_y, classes = pd.factorize(train_y)
    valid_y, test_y = (pd.Index(classes).get_indexer(y) for y in (valid_y, test_y))
    known = valid_y >= 0
    if not known.any():
        raise InputError(
            f"{name}, valid subset: no song has a label of the train subset; "
            "check the subset column of the split"
        )
    return [train_x, valid_x[known], test_x], [train_y, valid_y[known], test_y]
