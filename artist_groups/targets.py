"""Targets of the tasks of agf2018: genre classes and artist groups."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from artist_groups.topics import ArtistGroups
from common.errors import InputError
from data_prep import split_csv


class Targets(NamedTuple):
    """What the tracks that have one are trained towards: a distribution over outputs.

    tracks : (n,) int64, rows of the training tracks
    shares : (n, outputs) float32, each row of sum 1
    """

    tracks: np.ndarray
    shares: np.ndarray


def group_targets(
    train: pd.DataFrame, groups: Mapping[str, ArtistGroups], source
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
    genre = split_csv.label_column(train, "genre", source)
    known = genre != ""
    genres = sorted(set(genre[known]))
    if len(genres) < 2:
        raise InputError(
            f"{source}: its training tracks have {len(genres)} genres; needs two or more"
        )
    hot = np.eye(len(genres), dtype=np.float32)[pd.Index(genres).get_indexer(genre[known])]
    targets, artists = {"g": Targets(np.flatnonzero(known), hot)}, train["artist"].to_numpy(object)
    for word, of_word in groups.items():
        known = of_word.contains(artists)
        targets[word] = Targets(np.flatnonzero(known), of_word.proportions_of(artists[known]))
    for task, found in targets.items():
        if lacking := len(train) - len(found.tracks):
            what = "genre" if task == "g" else "artist groups"
            print(f"{source}: {lacking} training tracks without {what}: not in the task {task}")
    return genres, targets
