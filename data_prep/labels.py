"""Label columns of a split as the arrays that networks are trained on."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.artist_groups import Groups


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
    artists = split_csv.column(split, "artist", source)
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
    column = pd.Series(split_csv.column(split, label, source))
    hot = column.str.get_dummies("|")
    if hot.shape[1] < 2:
        raise InputError(
            f"{source}: its column {label!r} holds {hot.shape[1]} tags; needs two or more"
        )
    return list(hot.columns), hot.to_numpy(np.float32)


class Targets(NamedTuple):
    """What the tracks that have one are trained towards: a distribution over outputs.

    tracks : (n,) int64, rows of the training tracks
    shares : (n, outputs) float32, each row of sum 1
    """

    tracks: np.ndarray
    shares: np.ndarray


def agf_targets(
    train: pd.DataFrame, groups: Mapping[str, Groups], source
) -> tuple[list[str], dict[str, Targets]]:
    """Of agf2018's tasks: `g`, the one genre of a track, and the groups of its artist by a word.

    Says how many training tracks a task has to do without.

    Returns
    -------
    The genres in alphabetical order, and {task: its targets}.

    Raises
    ------
    InputError
        No column `genre`, or fewer than two genres. `source` names the split.
    """
    genre = split_csv.column(train, "genre", source)
    known = genre != ""
    genres = sorted(set(genre[known]))
    if len(genres) < 2:
        raise InputError(
            f"{source}: its training tracks have {len(genres)} genres; needs two or more"
        )
    hot = np.eye(len(genres), dtype=np.float32)[pd.Index(genres).get_indexer(genre[known])]
    targets, artists = {"g": Targets(np.flatnonzero(known), hot)}, train["artist"].to_numpy(object)
    for word, of_word in groups.items():
        known = of_word.knows(artists)
        targets[word] = Targets(np.flatnonzero(known), of_word.of(artists[known]))
    for task, found in targets.items():
        if lacking := len(train) - len(found.tracks):
            what = "genre" if task == "g" else "artist groups"
            print(f"{source}: {lacking} training tracks without {what}: not in the task {task}")
    return genres, targets
