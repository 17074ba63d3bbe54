"""MagnaTagATune with its 50 most frequent tags: 15,244/1,529/4,332 clips in the published split.

The lists are Python 2 pickles of names such as `0/artist-album-01-title-0-29.npy`, the arrays
beside them are 0 and 1 with shape (clips, 50), and the audio has the same paths with .mp3.
"""

import re
from pathlib import Path

import pandas as pd

from common import arrays
from common.errors import InputError
from data_prep import published_splits, split_csv
from data_prep.datasets.catalog import (
    Catalog,
    DatasetInfo,
    Request,
    join_tags,
    read_tag_names,
    select_available,
)
from data_prep.datasets.pickled_lists import load_pickled_texts

_TAGS = "MTAT_split/top50_tags.txt"
_LISTS = {
    subset: (f"MTAT_split/{subset}_list_pub.cP", f"MTAT_split/y_{subset}_pub.npy")
    for subset in split_csv.SUBSETS
}

INFO = DatasetInfo(
    title="MagnaTagATune",
    licence="lists MIT; audio CC BY-NC-SA",
    citation='E. Law, K. West, M. Mandel, M. Bay and J. S. Downie, "Evaluation of Algorithms Using '
    'Games: The Case of Music Tagging", ISMIR 2009',
    homepage="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    lists=(_TAGS, *(name for names in _LISTS.values() for name in names)),
    metadata="a folder with the published lists (default: download them)",
)

_NAME = re.compile(r"([^/]+/([^/-]+)-([^/-]+)-[^/]+)\.npy")


def read_mtat(request: Request) -> Catalog:
    """Return the clips of the split that exist below `request.root`, the folder of `0` to `f`.

    `artist` and `album` are the first two parts of the file's name, as Magnatune wrote them,
    for example american_bach_soloists.

    Raises
    ------
    InputError
        None of the clips exists, or a list or array is not the published one.
    """
    paths = {name: published_splits.published_split(name, request.metadata) for name in INFO.lists}
    subsets = {subset: (paths[listed], paths[y]) for subset, (listed, y) in _LISTS.items()}
    return mtat_catalog(subsets, paths[_TAGS], request)


def mtat_catalog(subsets: dict[str, tuple[Path, Path]], tags: Path, request: Request) -> Catalog:
    """Return the catalog of {subset: (list, array)} and the list of tags."""
    names = read_tag_names(tags)
    table = pd.concat(
        [_read_clips(*files, names).assign(subset=subset) for subset, files in subsets.items()],
        ignore_index=True,
    )
    duplicated = table[table["track_id"].duplicated()]
    if len(duplicated):
        track, subset = duplicated[["track_id", "subset"]].iloc[0]
        raise InputError(
            f"{subsets[subset][0]}: {track!r} is a duplicate; download the lists again"
        )
    return select_available(table, request.root)


def _read_clips(path: Path, values: Path, tags: list[str]) -> pd.DataFrame:
    rows = []
    for name in load_pickled_texts(path):
        match = _NAME.fullmatch(name)
        if not match:
            raise InputError(
                f"{path}: {name!r} is not 0/artist-album-01-title-0-29.npy; download it again"
            )
        track, artist, album = match.groups()
        rows.append((track, f"{track}.mp3", artist, album))
    table = pd.DataFrame(rows, columns=["track_id", "path", "artist", "album"])
    matrix = arrays.load_npy(values, ndim=2)
    return table.assign(tags=join_tags(matrix, tags, table["track_id"], values))
