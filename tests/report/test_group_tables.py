"""Tests of artist group descriptions against explicit sums, and of `evaluate.py groups`."""

import numpy as np
import pandas as pd
import pytest

from artist_groups import topics
from artist_groups.topics import ArtistGroups
from artist_groups.vocabulary import Codebook
from common.errors import InputError
from report.group_tables import describe_groups, genre_fractions
from tests.conftest import error_in_process, run_in_process
from tests.evaluation import feature_files

ARTISTS = np.array(["Ärzte", "b", "c", "d"], object)
PROPORTIONS = np.array([[0.9, 0.1, 0], [0.5, 0.5, 0], [0, 1, 0], [0.25, 0.25, 0.5]])
TOPICS = np.array([[0.1, 0.7, 0.2], [0.996, 0.004, 0], [0.25, 0.25, 0.5]])
GROUPS = ArtistGroups(ARTISTS, PROPORTIONS, TOPICS)


def split():
    """Return a split in which Ärzte is rock, b half rock and half folk, c folk, d without genre."""
    rows = [
        *[("Ärzte", "rock", "train")] * 3,
        *[("b", "rock", "train"), ("b", "folk", "train"), ("b", "", "train")],
        *[("c", "folk", "train")] * 5,
        ("d", "", "train"),
        *[("d", "jazz", "test"), ("c", "jazz", "valid"), ("x", "polka", "train")],
    ]
    table = pd.DataFrame(rows, columns=["artist", "genre", "subset"])
    return table.assign(track_id=table.index.astype(str), path=table.index.astype(str))


FRACTIONS = genre_fractions(GROUPS, split())


def test_genre_fractions_are_weighted_by_artist_proportions():
    assert FRACTIONS.columns.tolist() == ["folk", "rock"]
    assert FRACTIONS.index.tolist() == [0, 1, 2]
    first, second = np.array([0.25, 0.9 + 0.25]), np.array([1 + 0.25, 0.1 + 0.25])
    expected = [first / first.sum(), second / second.sum(), [0, 0]]
    np.testing.assert_allclose(FRACTIONS, expected)


def test_describe_groups_names_the_largest_fractions():
    table = describe_groups(GROUPS, FRACTIONS, ["ska", "oi", "dub"])
    np.testing.assert_allclose(table["weight"], PROPORTIONS.mean(axis=0))
    assert table.drop(columns="weight").to_dict("list") == {
        "group": [0, 1, 2],
        "genres": ["rock 0.82; folk 0.18", "folk 0.78; rock 0.22", ""],
        "artists": ["Ärzte 0.90; b 0.50; d 0.25", "c 1.00; b 0.50; d 0.25", "d 0.50"],
        "subgenres": ["oi 0.70; dub 0.20; ska 0.10", "ska 1.00", "dub 0.50; ska 0.25; oi 0.25"],
    }


def test_genre_fractions_rejects_a_split_without_genres():
    with pytest.raises(InputError, match="no column 'genre'"):
        genre_fractions(GROUPS, split().drop(columns="genre"))
    with pytest.raises(InputError, match="no artist has a training track with a genre"):
        genre_fractions(GROUPS, split().assign(subset="test"))


# ---------------------------------------------------------------- evaluate.py groups


@pytest.fixture
def files(tmp_path):
    """Return (group file, split file, groups by vocabulary), three groups each for `m` and `s`."""
    artists, random = np.array(list("abcd"), object), np.random.default_rng(0)
    by_word = {}
    for word, size in (("m", 5), ("s", 2)):
        proportions, topic = random.dirichlet(np.ones(3), 4), random.dirichlet(np.ones(size), 3)
        by_word[word] = ArtistGroups(artists, proportions, topic)
    codebook = Codebook(np.zeros((5, 25), np.float32), np.ones(25, np.float32))
    mean, std = np.zeros(128), np.ones(128)
    stored = topics.GroupsFile(mean, std, by_word, ["ska", "oi"], {}, {"m": codebook})
    topics.save_groups(tmp_path / "groups.h5", stored)
    _, split = feature_files.write_files(tmp_path, "tracks", *feature_files.make_artists("abcd"))
    return tmp_path / "groups.h5", split, by_word


def test_groups_command_writes_a_table_and_a_figure_per_vocabulary(files, tmp_path):
    (path, split_path, by_word), out = files, tmp_path / "out"
    ran = run_in_process("evaluate.py", "groups", path, split_path, "--out", out)
    assert {path.name for path in out.iterdir()} == {
        f"groups_{word}.{kind}" for word in "ms" for kind in ("md", "csv", "tex", "png", "svg")
    }
    table = pd.read_csv(split_path, dtype=str, keep_default_na=False)
    columns = ["genres", "artists"]
    for word, groups in by_word.items():
        written = pd.read_csv(out / f"groups_{word}.csv")
        expected = describe_groups(groups, genre_fractions(groups, table), None)
        assert written[columns].to_numpy().tolist() == expected[columns].to_numpy().tolist()
        assert ("subgenres" in written) == (word == "s")
        assert (out / f"groups_{word}.md").read_text() in ran.out
    assert "ska" in pd.read_csv(out / "groups_s.csv")["subgenres"].iloc[0]


def test_groups_command_rejects_a_mismatched_split_and_a_feature_file(files, tmp_path):
    out = ("--out", tmp_path / "out")
    other = feature_files.write_files(tmp_path, "other", *feature_files.make_artists("abcx"))
    message = error_in_process("evaluate.py", "groups", files[0], other[1], *out)
    assert f"{other[1]}: has no track by 'd', an artist with groups in {files[0]}" in message
    message = error_in_process("evaluate.py", "groups", *other, *out)
    assert f"{other[0]}: " in message and not out[1].exists()
