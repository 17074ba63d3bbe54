"""The tracks most similar to one track."""

import difflib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from evaluation.feature_checks import check_features
from evaluation.retrieval import nearest_neighbours


def similar(
    features: ArrayLike, track_id: ArrayLike, track: str | Path, k: int = 10
) -> pd.DataFrame:
    """Return the tracks whose features have the largest cosine with those of one track.

    Parameters
    ----------
    features
        (n, d) float, finite, one row per track.
    track_id
        (n,) str, the id of each row. A feature file has `features` and `track_id`.
    track
        Id of the track to compare the others with.
    k
        Number of tracks to return; there are fewer if n is k or less.

    Returns
    -------
    pd.DataFrame
        Columns `track_id` and `cosine`, nearest first. Ties are in row order.

    Raises
    ------
    InputError
        If the track is unknown or its id is not unique, or if the features, ids or k are invalid.

    Examples
    --------
    >>> similar([[1, 0], [0, 1], [3, 4]], ["a", "b", "c"], "a", k=1)
      track_id  cosine
    0        c     0.6
    """
    features = check_features(features, "similar")
    ids = np.array([str(one) for one in np.atleast_1d(np.asarray(track_id, object))], object)
    if len(ids) != len(features):
        raise InputError(f"similar: {len(features)} rows of features, but {len(ids)} track ids")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"similar: k is {k!r}; give a whole number above zero")
    row = _find_row(ids, str(track))
    # The track itself, which is left out below, is not the first if there are copies of it.
    order, cosines = nearest_neighbours(features[[row]], features, k=min(k + 1, len(ids)))
    nearest = np.flatnonzero(order[0] != row)[:k]
    return pd.DataFrame({"track_id": ids[order[0, nearest]], "cosine": cosines[0, nearest]})


def _find_row(ids: np.ndarray, track: str) -> int:
    rows = np.flatnonzero(ids == track)
    if len(rows) == 1:
        return int(rows[0])
    if len(rows):
        raise InputError(f"{track}: {len(rows)} tracks have this id; make the ids unique")
    part = track.casefold()
    close = [one for one in ids if part in one.casefold()]
    close = close[:3] or difflib.get_close_matches(track, ids, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"an id is, for example, {ids[0]}"
    raise InputError(f"{track}: no such track among the {len(ids)} of these features; {hint}")
