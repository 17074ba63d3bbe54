"""The built-in corpus as sources of script 1; nothing is rendered here."""

import pandas as pd
import pytest

from data_prep import synthetic_corpus
from data_prep.datasets import DATASETS, Request


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Read a source; the paths that it would have rendered are checked to be its rows'."""

    def read_source(name):
        written = []
        monkeypatch.setattr(
            synthetic_corpus,
            "write_corpus",
            lambda root, table, *rest: written.extend(table["path"]),
        )
        table = DATASETS[name].read(Request(tmp_path)).table
        assert written == list(table["path"])
        return table

    return read_source


def test_parts_have_their_artists_and_songs(read):
    source, target, unseen = (read(name) for name in ("demo", "demo_target", "demo_unseen"))
    for table, artists, songs in ((source, 60, 20), (target, 40, 8), (unseen, 40, 20)):
        counts = table["artist"].value_counts()
        assert len(counts) == artists and set(counts) == {songs}
    assert "subset" not in source  # the artist rule deals it
    assert set(unseen["subset"]) == {"test"}
    assert not set(source["artist"]) & set(unseen["artist"])
    assert set(target["path"]) < set(unseen["path"])
    by_subset = target.groupby("subset")["artist"].nunique()
    assert by_subset.to_dict() == {"train": 24, "valid": 8, "test": 8}
    assert target.groupby("artist")["subset"].nunique().eq(1).all()


def test_genres_are_learnt_and_judged_on_songs_that_are_there_already(read):
    source, target, genres = (read(name) for name in ("demo", "demo_target", "demo_genres"))
    counts = genres.groupby("subset")["artist"].value_counts()
    assert set(counts["train"]) == {4} and len(counts["train"]) == 60
    assert set(counts["test"]) == {4} and len(counts["test"]) == 40
    assert set(genres["subset"]) == {"train", "test"}
    # The very songs, with the same labels: each artist's first four.
    songs = pd.concat([source, target]).groupby("artist").head(4).drop(columns="subset")
    columns = songs.columns.tolist()
    assert {"genre", "subgenres"} < set(columns)
    assert set(genres[columns].itertuples(index=False, name=None)) == set(
        songs.itertuples(index=False, name=None)
    )
