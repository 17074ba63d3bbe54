"""The built-in corpus, whose songs are rendered where they are not there yet."""

import numpy as np
import pandas as pd

from data_prep import synthetic_corpus
from data_prep.datasets.catalog import Catalog, Request

_TARGET_ARTISTS = 40
_JUDGED_SONGS, _JUDGED_SHARES = 8, (3, 1, 1)  # artists of each genre for train, valid and test
_UNSEEN_SONGS = 20  # as arxiv2017: 15 enrol an artist, 5 test
_GENRE_SONGS = 4  # of each artist: few, for many networks are to learn from them


def source(request: Request) -> Catalog:
    """60 artists with 20 songs each, for training; the audio lies below `root`."""
    return _rendered(request, synthetic_corpus.corpus_table(request.seed, target_artists=0))


def target(request: Request) -> Catalog:
    """40 other artists with 8 songs each, for judging, with their own artist-disjoint subsets."""
    catalog = _rendered(request, _target(request, _JUDGED_SONGS))
    genres = catalog.table.groupby("genre")["artist"]
    number = genres.transform(lambda names: pd.factorize(names)[0])
    catalog.table["subset"] = np.repeat(["train", "valid", "test"], _JUDGED_SHARES)[number]
    return catalog


def unseen(request: Request) -> Catalog:
    """The same 40 artists with 20 songs each, to recognise; all are for testing."""
    catalog = _rendered(request, _target(request, _UNSEEN_SONGS))
    catalog.table["subset"] = "test"
    return catalog


def genres(request: Request) -> Catalog:
    """The first 4 songs of each artist: of the 60 for training, of the 40 others for testing.

    They are songs of `source` and `target`: where those are, nothing is rendered.
    """
    table = synthetic_corpus.corpus_table(
        request.seed,
        source_tracks=_GENRE_SONGS,
        target_artists=_TARGET_ARTISTS,
        target_tracks=_GENRE_SONGS,
    )
    subset = table["part"].map({"source": "train", "target": "test"})
    return _rendered(request, table.assign(subset=subset))


def _target(request: Request, songs: int) -> pd.DataFrame:
    return synthetic_corpus.corpus_table(
        request.seed, source_artists=0, target_artists=_TARGET_ARTISTS, target_tracks=songs
    )


def _rendered(request: Request, table: pd.DataFrame) -> Catalog:
    table = table.drop(columns="part")
    synthetic_corpus.write_corpus(request.root, table, request.seed, request.workers)
    return Catalog(table, [])
