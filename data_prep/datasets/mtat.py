"""MagnaTagATune with its 50 most frequent tags: 15,244/1,529/4,332 clips in the published split.

The lists are Python 2 pickles of names such as `0/artist-album-01-title-0-29.npy`. Each comes
with a (clips, 50) array of zeros and ones. The audio files have the same paths, ending in .mp3.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from data_prep import split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request
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


def read_mtat(request: Request) -> Catalog:
    """Return the split's clips that exist below `request.root`, which contains folders `0` to `f`.

    `artist` and `album` are the first two parts of the file name, in Magnatune's spelling, for
    example american_bach_soloists.
    """
    files = catalog.fetch_lists(INFO, request.metadata)
    tags = catalog.read_lines(files[_TAGS])
    clips = [
        _read_clips(files[listed], files[values], tags).assign(subset=subset)
        for subset, (listed, values) in _LISTS.items()
    ]
    return catalog.select_available(pd.concat(clips, ignore_index=True), request.root)


def _read_clips(path: Path, values: Path, tags: list[str]) -> pd.DataFrame:
    tracks = [name.removesuffix(".npy") for name in load_pickled_texts(path)]
    parts = [track.rpartition("/")[2].split("-") for track in tracks]
    return pd.DataFrame(
        {
            "track_id": tracks,
            "path": [f"{track}.mp3" for track in tracks],
            "artist": [part[0] for part in parts],
            "album": [part[1] for part in parts],
            "tags": catalog.join_tags(np.load(values, allow_pickle=False), tags, values),
        }
    )


DATASETS = {"mtat": (read_mtat, INFO)}
