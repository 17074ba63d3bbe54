"""Datasets from the built-in synthetic corpus. Tracks that do not exist yet are rendered."""

import numpy as np
import pandas as pd

from data_prep import synthetic_corpus
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(title="the built-in synthetic corpus", licence="MIT, that of this package")

_TARGET_ARTISTS = 40
_TARGET_TRACKS = 8  # per artist, for evaluation
_TARGET_SUBSETS = (3, 1, 1)  # train, valid and test artists per genre
_UNSEEN_TRACKS = 20  # per artist, as in arxiv2017: 15 for enrolment and 5 for testing
_GENRE_TRACKS = 4  # per artist; kept small because many networks are trained on them


def read_demo(request: Request) -> Catalog:
    """Return 60 artists with 20 tracks each, for training."""
    return _render(request, synthetic_corpus.corpus_table(request.seed, target_artists=0))


def read_demo_target(request: Request) -> Catalog:
    """Return 40 artists that are not in `demo`, with 8 tracks each, in artist-disjoint subsets."""
    table = _target_table(request, _TARGET_TRACKS)
    number = table.groupby("genre")["artist"].transform(lambda names: pd.factorize(names)[0])
    subset = np.repeat(["train", "valid", "test"], _TARGET_SUBSETS)[number]
    return _render(request, table.assign(subset=subset))


def read_demo_unseen(request: Request) -> Catalog:
    """Return the artists in `demo_target` with 20 test tracks each, for artist recognition."""
    return _render(request, _target_table(request, _UNSEEN_TRACKS).assign(subset="test"))


def read_demo_genres(request: Request) -> Catalog:
    """Return the first 4 tracks by each of 60 training artists and 40 test artists.

    These tracks also belong to `demo` and `demo_target`, and are not rendered twice.
    """
    tracks = {"source_tracks": _GENRE_TRACKS, "target_tracks": _GENRE_TRACKS}
    table = synthetic_corpus.corpus_table(request.seed, target_artists=_TARGET_ARTISTS, **tracks)
    subset = table["part"].map({"source": "train", "target": "test"})
    return _render(request, table.assign(subset=subset))


def _target_table(request: Request, tracks: int) -> pd.DataFrame:
    return synthetic_corpus.corpus_table(
        request.seed, source_artists=0, target_artists=_TARGET_ARTISTS, target_tracks=tracks
    )


def _render(request: Request, table: pd.DataFrame) -> Catalog:
    table = table.drop(columns="part")
    synthetic_corpus.write_corpus(request.root, table, request.seed, request.workers)
    return Catalog(table, [])


DATASETS = {
    "demo": (read_demo, INFO),
    "demo_target": (read_demo_target, INFO),
    "demo_unseen": (read_demo_unseen, INFO),
    "demo_genres": (read_demo_genres, INFO),
}
