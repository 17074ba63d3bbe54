"""Label columns of a split as the arrays that networks are trained on."""

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv


def artist_classes(split: pd.DataFrame, source) -> tuple[list[str], np.ndarray]:
    """Artists as classes.

    Returns
    -------
    The artists' names in the order of their first track, and (tracks,) int32
    class numbers.

    Raises
    ------
    InputError
        A track without artist, fewer than two artists, or one whose tracks are
        all outside the training subset. `source` names the split.
    """
    artists = split_csv.label_column(split, "artist", source)
    numbers, names = pd.factorize(artists)
    if "" in names:
        track = split["track_id"][int(np.flatnonzero(artists == "")[0])]
        raise InputError(f"{source}: {track!r} has no artist; name it, or take the track out")
    if len(names) < 2:
        raise InputError(
            f"{source}: all tracks are by one artist; nothing to tell apart, add others'"
        )
    untrained = set(names) - set(artists[split["subset"].eq("train")])
    if untrained:
        raise InputError(
            f"{source}: artist {min(untrained)!r} has no training track ({len(untrained)} such "
            "artists); make the split with some, or take the artist out"
        )
    return list(names), numbers.astype(np.int32)


def tag_matrix(split: pd.DataFrame, label: str, source) -> tuple[list[str], np.ndarray]:
    """Tags as a multi-hot matrix.

    Returns
    -------
    The tags in alphabetical order, and (tracks, tags) float32 of 0 and 1.

    Raises
    ------
    InputError
        No column `label`, or fewer than two tags in it. `source` names the split.
    """
    column = pd.Series(split_csv.label_column(split, label, source))
    hot = column.str.get_dummies("|")
    if hot.shape[1] < 2:
        raise InputError(
            f"{source}: its column {label!r} holds {hot.shape[1]} tags; needs two or more"
        )
    return list(hot.columns), hot.to_numpy(np.float32)
