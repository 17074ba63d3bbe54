"""Feature and label checks that run before any metric is computed."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError

Subset = tuple[ArrayLike, ArrayLike]  # features (n, d) float, finite, and labels (n,)


def check_features(features: ArrayLike, name: str) -> np.ndarray:
    """Return finite `features` as (n, d) float64; an error message starts with `name`."""
    try:
        features = np.asarray(features)
        if features.dtype.kind == "c":
            raise TypeError
        features = features.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: the features are not numbers; give an array (n, d)") from error
    if features.ndim != 2:
        raise InputError(
            f"{name}: features of shape {features.shape}; give one row per track, shape (n, d)"
        )
    if not features.size:
        raise InputError(
            f"{name}: no features, shape {features.shape}; check the subset column of the split "
            "and that its track_id values are those of the features"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name}: {bad.size} of {len(features)} rows of features contain NaN or infinite "
            f"values, the first is row {bad[0]}; extract them again"
        )
    return features


def check_labelled_features(
    features: ArrayLike, labels: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return features validated by `check_features`, and labels (n,), none of them missing."""
    features, labels = check_features(features, name), np.asarray(labels)
    if labels.shape != (len(features),):
        raise InputError(
            f"{name}: {len(features)} rows of features but labels of shape {labels.shape}; "
            "give one label per row"
        )
    missing = np.flatnonzero(pd.isna(labels))
    if missing.size:
        raise InputError(
            f"{name}: {missing.size} of {len(labels)} tracks have no label, the first is row "
            f"{missing[0]}; fill that column of the split or remove those tracks"
        )
    return features, labels


def require_two_labels(labels: ArrayLike, name: str) -> None:
    """Raise an `InputError` that starts with `name` if all labels are the same."""
    classes = pd.unique(np.asarray(labels))
    if len(classes) == 1:
        raise InputError(
            f"{name}: every track has the label {classes[0]}, and at least two labels are needed; "
            "choose another column with --label"
        )


def check_subsets(
    train: Subset, valid: Subset, test: Subset, name: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Check a classifier's three subsets and return their features and class numbers.

    Classes are numbered in order of first occurrence in the train subset. A test label that does
    not occur in the train subset is numbered -1; validation tracks with such a label are left out.
    """
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = (
        check_labelled_features(*subset, f"{name}, {subset_name} subset")
        for subset, subset_name in ((train, "train"), (valid, "valid"), (test, "test"))
    )
    require_two_labels(train_y, f"{name}, train subset")
    train_y, labels = pd.factorize(train_y)
    valid_y, test_y = (pd.Index(labels).get_indexer(y) for y in (valid_y, test_y))
    known = valid_y >= 0
    if not known.any():
        raise InputError(
            f"{name}, valid subset: no track has a label of the train subset; "
            "check the subset column of the split"
        )
    return [train_x, valid_x[known], test_x], [train_y, valid_y[known], test_y]
