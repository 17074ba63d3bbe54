"""The built-in corpus, whose two parts are rendered where they are not there yet."""

import numpy as np
import pandas as pd

from data_prep import demo_corpus
from data_prep.catalogs.catalog import Catalog, Request

# The target part: artists of each genre for train, valid and test.
_TARGET_ARTISTS, _TARGET_SONGS, _TARGET_SHARES = 40, 8, (3, 1, 1)


def read(request: Request, part: str) -> Catalog:
    """One part of the corpus, its audio below `root`.

    `source` has 60 artists with 20 songs each, for training. `target` has 40
    other artists with 8 songs each, for judging, and comes with its subsets:
    artist-disjoint, 3/1/1 artists of each genre.
    """
    table = demo_corpus.catalog(
        request.seed, target_artists=_TARGET_ARTISTS, target_songs=_TARGET_SONGS
    ).query("part == @part", engine="python")
    table = table.drop(columns="part").reset_index(drop=True)
    demo_corpus.write(request.root, table, request.seed, request.workers)
    if part == "target":
        number = table.groupby("genre")["artist"].transform(lambda names: pd.factorize(names)[0])
        table["subset"] = np.repeat(["train", "valid", "test"], _TARGET_SHARES)[number]
    return Catalog(table, [])
