"""Songs of each genre dealt at random to training and test, whoever made them (agf2018: 85/15)."""

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import artist_split, split_csv

TEST_FRACTION = 0.15


def split_by_genre(
    table: pd.DataFrame,
    *,
    by: str = "genre",
    test_share: float = TEST_FRACTION,
    seed: int = 0,
    exclude: frozenset[str] = frozenset(),
) -> tuple[pd.DataFrame, list[str]]:
    """Give the songs of each genre, in the same share, to test; the others are for training.

    The share is rounded in each genre, such that one with two songs or more has some
    for both; the only song of a genre is for training. What is dealt depends on the
    tracks and the seed alone, not on the order of the rows.

    Parameters
    ----------
    table
        `track_id`, `path`, `artist` and the column `by`; a `subset` is overwritten.
    by
        The column whose values are the genres; tracks without one are left out, and
        of several tracks with one path all but the first by `track_id`.
    test_share
        From 0 up to 1; 0 leaves no song for test.
    exclude
        Artists whose tracks are left out, compared by `artist_rule.name_key`.

    Returns
    -------
    The tracks that are used, in the order of `table`, with `subset`; and lines for
    people on what is left out.

    Raises
    ------
    InputError
        There is no column `by`, or no track is left.
    """
    if by not in table.columns:
        raise InputError(f"--by {by}: no such label; there are {', '.join(table.columns)}")
    table, notes = artist_split.drop_artists(table.reset_index(drop=True), exclude)
    genre, repeated = table[by].fillna("").str.strip().to_numpy(object), _repeated(table)
    left_out = {f"tracks with no {by}": genre == "", "tracks whose file another has": repeated}
    used = ~np.any(list(left_out.values()), axis=0)
    notes += [f"left out: {some.sum()} {what}" for what, some in left_out.items() if some.any()]
    if not used.any():
        raise InputError(f"--by {by}: no track has one; name another label")
    table, genre = table[used].reset_index(drop=True), genre[used]

    by_id = np.argsort(table["track_id"].to_numpy(object), kind="stable")
    turn = np.empty(len(table), np.int64)  # drawn over ids, so that the rows' order does not matter
    turn[by_id] = np.random.default_rng(seed).permutation(len(table))
    tests, alone = np.zeros(len(table), bool), 0
    for name in np.unique(genre):
        rows = np.flatnonzero(genre == name)
        count = len(rows)
        alone += count == 1
        share = min(max(round(test_share * count), bool(test_share)), count - 1)
        tests[rows[np.argsort(turn[rows])[:share]]] = True
    if alone:
        notes.append(f"{alone} {by}s have one track, which is for training")
    return table.assign(subset=np.where(tests, "test", "train")), notes


def _repeated(table: pd.DataFrame) -> np.ndarray:
    """(tracks,) bool: the file of the track is that of a track whose id comes before."""
    paths = split_csv.normalise_paths(table.sort_values("track_id", kind="stable")["path"])
    return paths.duplicated().reindex(table.index).to_numpy()
