"""Conversion of a split's label columns to training targets."""

from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv


def artist_classes(split: pd.DataFrame, source: str | Path) -> tuple[list[str], np.ndarray]:
    """Return a split's artists in order of appearance, and each track's (tracks,) int32 class.

    Every track must have an artist, and every artist a track in the training subset.
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

    Return the tags in alphabetical order and a (tracks, tags) float32 matrix of zeros and ones.
    """
    column = pd.Series(split_csv.label_column(split, label, source))
    matrix = column.str.get_dummies("|")
    if matrix.shape[1] < 2:
        raise InputError(
            f"{source}: its column {label!r} contains {matrix.shape[1]} tags; at least two are "
            "needed"
        )
    return list(matrix.columns), matrix.to_numpy(np.float32)
