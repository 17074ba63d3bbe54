"""The value of each track in a result file, from which `evaluate.py compare` computes intervals.

The arrays are stored as base64 text, which takes a third of the space of numbers in JSON.
"""

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from data_prep.artist_names import artist_key
from evaluation.results import Result

PER_TRACK = "per track"  # key in the details of a result

# The arrays: the number of each track's artist, a hash of each artist's name, and the values.
_DTYPES = {"artist": "<i4", "hash": "<u8", "value": "<f4", "cluster": "<i4", "ranks": "<u2"}


class TrackValues(NamedTuple):
    """The values of tracks, and their artists."""

    artists: np.ndarray  # (n,) int32, number of each track's artist, from 0
    kind: str  # "value", "cluster" or "ranks"
    # (n,) scores or clusters of the tracks or, in each draw of enrolment tracks, the ranks of their
    # scores for all artists, (draws, artists, n)
    values: np.ndarray
    # Hash of each artist's name, as `artist_key` writes it, or 0 if it is unknown. None in results
    # of earlier versions.
    hashes: np.ndarray | None


def pack_values(artists: ArrayLike, **values: ArrayLike) -> dict:
    """Return the details of a result that contain the artist (n,) and values of each track.

    Tracks without an artist, '', each count as an artist of their own.
    """
    names = pd.Series(np.asarray(artists))
    unknown = names.eq("")
    codes = names.factorize()[0]
    codes[unknown] = codes.max() + 1 + np.arange(unknown.sum())
    codes = pd.factorize(codes)[0]
    first = pd.Series(codes).drop_duplicates().index  # of the artists, in the order of their codes
    hashes = np.array([_hash_artist(name) for name in names[first]], np.uint64)
    arrays = {"artist": codes, "hash": hashes, **values}
    return {
        PER_TRACK: {
            name: base64.b64encode(np.asarray(array).astype(_DTYPES[name]).tobytes()).decode()
            for name, array in arrays.items()
        }
    }


def _hash_artist(name: str) -> int:
    """Return a number that identifies an artist in other splits; 0 if the name is unknown."""
    key = artist_key(name).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8]) if key else 0


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Return the ranks (a, t) uint16 of all scores (a, t), on which the EER depends alone.

    If there are more than 65,536 distinct scores, neighbouring ones get the same rank.
    """
    distinct, ranks = np.unique(scores, return_inverse=True)
    largest = np.iinfo(np.uint16).max
    if len(distinct) > largest + 1:
        ranks = ranks * largest // (len(distinct) - 1)
    return ranks.reshape(scores.shape).astype(np.uint16)


def unpack_values(result: Result, path: Path) -> TrackValues:
    """Return what `pack_values` has stored; raise `InputError` if there is nothing."""
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
        artists, hashes = arrays.pop("artist"), arrays.pop("hash", None)
        ((kind, values),) = arrays.items()
        tracks, count = len(artists), artists.max() + 1
        if kind == "ranks":
            values = values.reshape(-1, count, tracks)
        if (
            not 0 < values.shape[-1] == tracks
            or not 0 <= artists.min() < count <= tracks
            or (hashes is not None and len(hashes) != count)
            or (kind == "cluster" and not 0 <= values.min() <= values.max() < tracks)
        ):
            raise ValueError("sizes differ")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its values per track are damaged ({error}); delete it and evaluate again"
        ) from error
    return TrackValues(artists, kind, values, hashes)
