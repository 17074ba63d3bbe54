"""The tracks most similar to one track."""

import difflib
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from common.feature_file import Features, read_features
from evaluation.feature_checks import check_features
from evaluation.retrieval import nearest_neighbours


def similar(features: Features | str | Path, track: str | Path, k: int = 10) -> pd.DataFrame:
    """Return the tracks whose features have the largest cosine with those of one track.

    Parameters
    ----------
    features
        What `embed_files` has returned, or a feature file.
    track
        Id of the track to compare the others with, or a part of the id that no other id contains.
    k
        Number of tracks to return; there are fewer if the features are of k tracks or less.

    Returns
    -------
    pd.DataFrame
        Columns `track_id` and `cosine`, nearest first. Ties are in the order of the features.

    Raises
    ------
    InputError
        If the track is unknown or ambiguous, or if the features or k are invalid.

    Examples
    --------
    >>> similar("features/my_music.h5", "yesterday", k=3)  # doctest: +SKIP
    """
    contents = features
    if isinstance(contents, str | Path):
        contents = read_features(Path(contents))
    if not isinstance(contents, Features):
        raise InputError(
            f"features: has the type {type(features).__name__}; give a feature file, or what "
            "embed_files has returned"
        )
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k: {k!r} is not a whole number above zero")
    if not len(contents.track_id):
        raise InputError("features: contain no track; extract those of at least two")
    ids, values = contents.track_id, check_features(contents.features, "features")
    row = find_track(ids, track)
    # The track itself, which is left out below, is not the first if there are copies of it.
    order, cosines = nearest_neighbours(values[[row]], values, k=min(k + 1, len(ids)))
    nearest = np.flatnonzero(order[0] != row)[:k]
    return pd.DataFrame({"track_id": ids[order[0, nearest]], "cosine": cosines[0, nearest]})


def find_track(ids: np.ndarray, track: str | Path) -> int:
    """Return the position of the only id that is `track` or else contains it, in any case.

    If files were given more than once, it is the first of the same ids.
    """
    wanted, folded = _fold(str(track)), [_fold(one) for one in ids]
    for matches in (
        [row for row, one in enumerate(ids) if one == str(track)],
        [row for row, text in enumerate(folded) if text == wanted],
        [row for row, text in enumerate(folded) if wanted in text],
    ):
        if len({ids[row] for row in matches}) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(repr(ids[row]) for row in matches[:5])
            more = ", …" * (len(matches) > 5)
            raise InputError(
                f"{track}: is part of {len(matches)} track ids: {listed}{more}; "
                "use a longer part of one"
            )
    close = difflib.get_close_matches(str(track), list(ids), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"the first is {ids[0]!r}"
    raise InputError(f"{track}: none of the {len(ids)} track ids contains this; {hint}")


def _fold(text: str) -> str:
    """Return a text without differences of case or of Unicode composition."""
    return unicodedata.normalize("NFC", text).casefold()
