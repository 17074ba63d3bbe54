"""MagnaTagATune with its 50 commonest tags: 15,244/1,529/4,332 clips in the published split.

The lists are Python 2 pickles of `0/artist-album-01-title-0-29.npy`, the arrays
beside them are 0 and 1, (clips, 50), and the audio is the same path with .mp3.
"""

import re
from pathlib import Path

import pandas as pd

from common import arrays
from common.errors import InputError
from data_prep import published_splits, split_csv
from data_prep.datasets.catalog import (
    Catalog,
    Request,
    only_present,
    pickled_texts,
    tag_names,
    tag_texts,
)

_NAME = re.compile(r"([^/]+/([^/-]+)-([^/-]+)-[^/]+)\.npy")


def read_mtat(request: Request) -> Catalog:
    """The split's clips that are below `root`, the folder that holds `0` to `f`.

    `artist` and `album` are the first two parts of the file's name, as
    Magnatune wrote them: american_bach_soloists.

    Raises
    ------
    InputError
        None of the clips is there, or a list or array is not what it should be.
    """
    mirror = request.metadata
    return mtat_catalog(
        {
            subset: (
                published_splits.published_split(f"MTAT_split/{subset}_list_pub.cP", mirror),
                published_splits.published_split(f"MTAT_split/y_{subset}_pub.npy", mirror),
            )
            for subset in split_csv.SUBSETS
        },
        published_splits.published_split("MTAT_split/top50_tags.txt", mirror),
        request,
    )


def mtat_catalog(subsets: dict[str, tuple[Path, Path]], tags: Path, request: Request) -> Catalog:
    """`read` from {subset: (list, array)} and the list of tags.

    Columns are those of a split, `album` and `tags`.
    """
    names = tag_names(tags)
    table = pd.concat(
        [_clips(*files, names).assign(subset=subset) for subset, files in subsets.items()],
        ignore_index=True,
    )
    twice = table["track_id"].duplicated()
    if twice.any():
        track = table["track_id"][twice].iloc[0]
        subset = table["subset"][twice].iloc[0]
        raise InputError(f"{subsets[subset][0]}: {track!r} stands twice; get the lists again")
    return Catalog(*only_present(table, request.root))


def _clips(listed: Path, values: Path, tags: list[str]) -> pd.DataFrame:
    rows = []
    for name in pickled_texts(listed):
        match = _NAME.fullmatch(name)
        if not match:
            raise InputError(
                f"{listed}: {name!r} is not 0/artist-album-01-title-0-29.npy; get it again"
            )
        track, artist, album = match.groups()
        rows.append((track, f"{track}.mp3", artist, album))
    table = pd.DataFrame(rows, columns=["track_id", "path", "artist", "album"])
    hot = arrays.load_npy(values, ndim=2)
    return table.assign(tags=tag_texts(hot, tags, table["track_id"], values))
