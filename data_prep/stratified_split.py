"""Splitting each genre's tracks at random into training and test tracks (agf2018: 85/15).

Unlike in `artist_split`, an artist may have tracks in both subsets.
"""

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import artist_split

TEST_FRACTION = 0.15


def split_by_genre(
    table: pd.DataFrame,
    *,
    by: str = "genre",
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
    exclude: frozenset[str] = frozenset(),
) -> tuple[pd.DataFrame, list[str]]:
    """Assign a fixed fraction of each genre's tracks to test, and the rest to train.

    The number of test tracks is rounded per genre, in such a way that every genre with at
    least two tracks has tracks in both subsets; a genre's only track is a training track.
    The result depends only on the tracks and the seed, not on the row order.

    Parameters
    ----------
    table
        One row per track with `track_id`, `path`, `artist` and the column `by`; an existing
        `subset` is replaced.
    by
        Name of the genre column. Tracks without a value are left out. If several tracks have
        the same path, only the first by `track_id` is used.
    test_fraction
        Fraction in [0, 1); 0 assigns no tracks to test.
    seed
        Random seed.
    exclude
        Artists whose tracks are left out; names are compared by `artist_split.artist_key`.

    Returns
    -------
    table : DataFrame
        The tracks that are used, with their `subset`, in the row order of the input.
    notes : list of str
        What is left out and why.

    Raises
    ------
    InputError
        If the column `by` does not exist or no tracks are left.
    """
    artist_split.require_label(table, by)
    table, notes = artist_split.drop_artists(table.reset_index(drop=True), exclude)
    genre = table[by].fillna("").str.strip().to_numpy(object)
    repeated = artist_split.find_repeated_files(table)
    if (genre == "").any():
        notes.append(f"left out: {(genre == '').sum()} tracks with no {by}")
    if repeated.any():
        notes.append(f"left out: {repeated.sum()} tracks that share a file with another track")
    used = (genre != "") & ~repeated
    if not used.any():
        raise InputError(f"--by {by}: no track has a value; choose another label")
    table, genre = table[used].reset_index(drop=True), genre[used]

    # Random positions are assigned in track id order, so that the row order does not matter.
    by_id = np.argsort(table["track_id"].to_numpy(object), kind="stable")
    random_order = np.empty(len(table), np.int64)
    random_order[by_id] = np.random.default_rng(seed).permutation(len(table))
    is_test, single_tracks = np.zeros(len(table), bool), 0
    for name in np.unique(genre):
        rows = np.flatnonzero(genre == name)
        single_tracks += len(rows) == 1
        count = min(max(round(test_fraction * len(rows)), bool(test_fraction)), len(rows) - 1)
        is_test[rows[np.argsort(random_order[rows])[:count]]] = True
    if single_tracks:
        notes.append(f"{single_tracks} {by}s have one track, which is used for training")
    return table.assign(subset=np.where(is_test, "test", "train")), notes
