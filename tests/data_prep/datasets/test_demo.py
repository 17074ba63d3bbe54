"""Tests of the synthetic corpus datasets; no audio is rendered."""

import pandas as pd
import pytest

from data_prep import synthetic_corpus
from data_prep.datasets import Request, load_dataset


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Return a function that reads a dataset and checks that its tracks would be rendered."""

    def read_table(name):
        written = []

        def write_corpus(root, table, *options):
            written.extend(table["path"])

        monkeypatch.setattr(synthetic_corpus, "write_corpus", write_corpus)
        table = load_dataset(name)[0](Request(tmp_path)).table
        assert written == list(table["path"])
        return table

    return read_table


def test_demo_datasets_have_expected_artists_and_tracks(read):
    source, target, unseen = (read(name) for name in ("demo", "demo_target", "demo_unseen"))
    for table, artists, tracks in ((source, 60, 20), (target, 40, 8), (unseen, 40, 20)):
        counts = table["artist"].value_counts()
        assert len(counts) == artists and set(counts) == {tracks}
    assert "subset" not in source
    assert set(unseen["subset"]) == {"test"}
    assert not set(source["artist"]) & set(unseen["artist"])
    assert set(target["path"]) < set(unseen["path"])
    by_subset = target.groupby("subset")["artist"].nunique()
    assert by_subset.to_dict() == {"train": 24, "valid": 8, "test": 8}
    assert target.groupby("artist")["subset"].nunique().eq(1).all()


def test_demo_genres_contains_the_first_tracks_by_each_artist(read):
    source, target, genres = (read(name) for name in ("demo", "demo_target", "demo_genres"))
    counts = genres.groupby("subset")["artist"].value_counts()
    assert set(counts["train"]) == {4} and len(counts["train"]) == 60
    assert set(counts["test"]) == {4} and len(counts["test"]) == 40
    assert set(genres["subset"]) == {"train", "test"}
    first = pd.concat([source, target]).groupby("artist").head(4).drop(columns="subset")
    columns = first.columns.tolist()
    assert genres[columns].sort_values("path").values.tolist() == (
        first.sort_values("path").values.tolist()
    )
