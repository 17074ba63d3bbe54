"""`evaluate.py groups` as a researcher runs it."""

import numpy as np
import pandas as pd
import pytest

from artist_groups import topics
from artist_groups.topics import ArtistGroups
from artist_groups.vocabulary import Codebook
from report import group_tables
from tests.conftest import error_in_process, run_in_process
from tests.evaluation import feature_files

ARTISTS = np.array(list("abcd"), object)


@pytest.fixture
def files(tmp_path):
    """Three groups by the words m and s, and the split that they are of."""
    random = np.random.default_rng(0)
    by_word = {
        word: ArtistGroups(
            ARTISTS, random.dirichlet(np.ones(3), 4), random.dirichlet(np.ones(size), 3)
        )
        for word, size in (("m", 5), ("s", 2))
    }
    codebook = Codebook(np.zeros((5, 25), np.float32), np.ones(25, np.float32))
    mean, std = np.zeros(128), np.ones(128)
    made = topics.GroupsFile(mean, std, by_word, ["ska", "oi"], {}, {"m": codebook})
    topics.save_groups(tmp_path / "groups.h5", made)
    _, split = feature_files.write_files(tmp_path, "songs", *feature_files.make_artists("abcd"))
    return tmp_path / "groups.h5", split, by_word


def test_each_word_has_a_table_and_a_map(files, tmp_path):
    *given, by_word = files
    out = tmp_path / "out"
    ran = run_in_process("evaluate.py", "groups", *given, "--out", out)
    assert {path.name for path in out.iterdir()} == {
        f"groups_{word}.{kind}" for word in "ms" for kind in ("md", "csv", "tex", "png", "svg")
    }
    assert [line for line in ran.lines if line.startswith("**")] == [
        f"**artist groups by the word {word}**" for word in "ms"
    ]
    split = pd.read_csv(given[1], dtype=str, keep_default_na=False)
    for word, found in by_word.items():
        table = pd.read_csv(out / f"groups_{word}.csv")
        expected = group_tables.describe_groups(found.proportions, ARTISTS, split)
        columns = ["genres", "artists"]
        assert table[columns].to_numpy().tolist() == expected[columns].to_numpy().tolist()
        assert ("subgenres" in table) == (word == "s")
        assert (out / f"groups_{word}.md").read_text() in ran.out
    assert "ska" in pd.read_csv(out / "groups_s.csv")["subgenres"].iloc[0]


def test_another_split_or_no_file_of_groups_is_refused(files, tmp_path):
    path, *_ = files
    other = feature_files.write_files(tmp_path, "other", *feature_files.make_artists("abcx"))
    message = error_in_process("evaluate.py", "groups", path, other[1], "--out", tmp_path / "out")
    assert f"{other[1]}: has no track by 'd', of whom {path} has groups" in message
    message = error_in_process("evaluate.py", "groups", *other, "--out", tmp_path / "out")
    assert f"{other[0]}: " in message and not (tmp_path / "out").exists()
