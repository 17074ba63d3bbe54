"""Test the list of agf2018 runs, and the targets for its tasks."""

import logging

import numpy as np
import pandas as pd
import pytest

from artist_groups.task_sets import KINDS, TaskSet, group_targets, list_runs, list_task_sets
from artist_groups.topics import ArtistGroups
from common.errors import InputError


def test_list_runs_matches_the_papers_runs():
    tasks = list_task_sets("gsedm")
    assert len(tasks) == 31 and tasks[:6] == ["g", "s", "e", "d", "m", "gs"]
    runs = list_runs(KINDS, tasks)
    kinds = [run.kind for run in runs]
    # A single-task MTN would be identical to the STN for that task, so there are none.
    assert [kinds.count(kind) for kind in KINDS] == [31, 26, 4]
    assert runs[-1] == TaskSet("wstn", "gsedm") and runs[-1].name == "wstn_5"
    assert TaskSet("mtn", "gd").model == "mtn gd" and TaskSet("wstn", "gs").model == "wstn N=2"
    assert TaskSet("stn", "gd").parts == [TaskSet("stn", "g"), TaskSet("stn", "d")]
    assert list_runs(["wstn"], ["ged", "gsd", "g"]) == [TaskSet("wstn", "ged")]


@pytest.fixture
def train() -> pd.DataFrame:
    """Return thirty tracks by five artists in three genres; one track has no genre."""
    numbers = np.arange(30)
    genre = np.array(["jazz", "polka", "rock"], object)[numbers % 3]
    genre[4] = ""
    return pd.DataFrame({"artist": [f"artist {n % 5}" for n in numbers], "genre": genre})


def test_group_targets_leave_out_tracks_without_a_target(train, caplog):
    caplog.set_level(logging.INFO)
    artists = np.array([f"artist {number}" for number in range(4)], object)
    proportions = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    groups = {"s": ArtistGroups(artists, proportions, np.full((3, 2), 0.5))}
    genres, targets = group_targets(train, groups, "split.csv")
    assert genres == ["jazz", "polka", "rock"] and list(targets) == ["g", "s"]
    assert targets["g"].tracks.tolist() == [*range(4), *range(5, 30)]
    np.testing.assert_array_equal(targets["g"].distributions[4], [0, 0, 1])  # track 5 is rock
    assert targets["s"].tracks.tolist() == [n for n in range(30) if n % 5 != 4]
    # Row 4 of the artist group targets belongs to track 5, which is by artist 0.
    np.testing.assert_allclose(targets["s"].distributions[4], proportions[0], rtol=1e-6)
    assert all(each.distributions.dtype == np.float32 for each in targets.values())
    assert caplog.messages == [
        "split.csv: 1 training tracks without genre: not in the task g",
        "split.csv: 6 training tracks without artist groups: not in the task s",
    ]


def test_group_targets_need_two_genres(train):
    with pytest.raises(InputError, match=r"split\.csv: its training tracks have 1 genres"):
        group_targets(train.assign(genre="jazz"), {}, "split.csv")
    with pytest.raises(InputError, match="no column 'genre'"):
        group_targets(train.drop(columns="genre"), {}, "split.csv")
