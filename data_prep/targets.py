"""Conversion of a split's label columns to training targets."""

from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv


def artist_classes(split: pd.DataFrame, source: str | Path) -> tuple[list[str], np.ndarray]:
    """Return a split's artists as class indices.

    Parameters
    ----------
    split
        One row per track, with `artist` and `subset`.
    source
        Name of the split, for messages.

    Returns
    -------
    names : list of str
        The artists, in the order in which they first appear.
    classes : ndarray
        (tracks,) int32 index into `names`.

    Raises
    ------
    InputError
        If a track has no artist, there are fewer than two artists, or an artist has no tracks
        in the training subset.
    """
    artists = split_csv.label_column(split, "artist", source)
    classes, names = pd.factorize(artists)
    if "" in names:
        track = split["track_id"][int(np.flatnonzero(artists == "")[0])]
        raise InputError(f"{source}: {track!r} has no artist; add the artist or remove the track")
    if len(names) < 2:
        raise InputError(f"{source}: all tracks are by one artist; add tracks of other artists")
    untrained = set(names) - set(artists[split["subset"].eq("train")])
    if untrained:
        raise InputError(
            f"{source}: artist {min(untrained)!r} has no training track ({len(untrained)} such "
            "artists); make a split in which each artist has some, or remove these artists"
        )
    return list(names), classes.astype(np.int32)


def tag_matrix(split: pd.DataFrame, label: str, source: str | Path) -> tuple[list[str], np.ndarray]:
    """Encode a column of tags, separated by `|`, as a multi-hot matrix.

    Returns
    -------
    tags : list of str
        The tags in alphabetical order.
    matrix : ndarray
        (tracks, tags) float32, with values 0 and 1.

    Raises
    ------
    InputError
        If the column `label` does not exist or contains fewer than two distinct tags. The
        message names the split as `source`.
    """
    column = pd.Series(split_csv.label_column(split, label, source))
    matrix = column.str.get_dummies("|")
    if matrix.shape[1] < 2:
        raise InputError(
            f"{source}: its column {label!r} contains {matrix.shape[1]} tags; at least two are "
            "needed"
        )
    return list(matrix.columns), matrix.to_numpy(np.float32)
