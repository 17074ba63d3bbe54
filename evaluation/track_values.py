"""The value of each track in a result file, from which `evaluate.py compare` computes intervals.

The arrays are stored as base64 text, which takes a third of the space of numbers in JSON.
"""

import base64
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from evaluation.results import Result

PER_TRACK = "per track"  # key in the details of a result

# The arrays: the number of each track's artist, and its score, its cluster or, in each draw of
# enrolment tracks, the ranks of its scores for all artists, (draws, artists, tracks).
_DTYPES = {"artist": "<i4", "value": "<f4", "cluster": "<i4", "ranks": "<u2"}


def pack_values(artists: ArrayLike, **values: ArrayLike) -> dict:
    """Return the details of a result that contain the artist (n,) and values of each track.

    Tracks without an artist, '', each count as an artist of their own.
    """
    names = pd.Series(np.asarray(artists))
    unknown = names.eq("")
    codes = names.factorize()[0]
    codes[unknown] = codes.max() + 1 + np.arange(unknown.sum())
    arrays = {"artist": pd.factorize(codes)[0], **values}
    return {
        PER_TRACK: {
            name: base64.b64encode(np.asarray(array).astype(_DTYPES[name]).tobytes()).decode()
            for name, array in arrays.items()
        }
    }


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Return the ranks (a, t) uint16 of all scores (a, t), on which the EER depends alone.

    If there are more than 65,536 distinct scores, neighbouring ones get the same rank.
    """
    distinct, ranks = np.unique(scores, return_inverse=True)
    largest = np.iinfo(np.uint16).max
    if len(distinct) > largest + 1:
        ranks = ranks * largest // (len(distinct) - 1)
    return ranks.reshape(scores.shape).astype(np.uint16)


def unpack_values(result: Result, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of `pack_values`; raise `InputError` if there are none."""
    stored = result.details.get(PER_TRACK)
    if stored is None:
        raise InputError(
            f"{path}: contains no values per track, as {result.protocol} results of earlier "
            "versions or of other protocols; delete it and evaluate again"
        )
    try:
        arrays = {
            name: np.frombuffer(base64.b64decode(text, validate=True), _DTYPES[name])
            for name, text in stored.items()
        }
        artists, tracks = arrays["artist"], len(arrays["artist"])
        (other,) = arrays.keys() - {"artist"}
        if other == "ranks":
            arrays[other] = arrays[other].reshape(-1, artists.max() + 1, tracks)
        if (
            not 0 < arrays[other].shape[-1] == tracks
            or not 0 <= artists.min() <= artists.max() < tracks
            or (other == "cluster" and not 0 <= arrays[other].min() <= arrays[other].max() < tracks)
        ):
            raise ValueError("sizes differ")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its values per track are damaged ({error}); delete it and evaluate again"
        ) from error
    return arrays
