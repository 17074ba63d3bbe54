"""Tests of the code that all dataset loaders share: published lists, files, names and tags."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep.datasets.catalog import (
    DatasetInfo,
    fetch_lists,
    find_files,
    join_tags,
    read_registry,
    select_available,
    unique_names,
)
from tests.data_prep.datasets.conftest import put


def test_registry_of_published_lists_is_complete():
    registry = read_registry()
    assert len(registry) == len({row["git_blob"] for row in registry.values()}) == 17
    for name, row in registry.items():
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row["repository"]) and row["path"].endswith(name)
        assert re.fullmatch(r"[0-9a-f]{40} [0-9a-f]{40}", f"{row['commit']} {row['git_blob']}")


def test_real_lists_match_the_registry(music_data):
    mirror = music_data / "data" / "splits"
    names = [name for name in read_registry() if (mirror / name).is_file()]
    assert len(names) >= 10
    lists = fetch_lists(DatasetInfo("", "", lists=tuple(names)), mirror)
    assert lists == {name: mirror / name for name in names}


def test_mirror_may_omit_the_folder_name(publish, tmp_path):
    (tmp_path / "A_split").mkdir()
    path = tmp_path / "A_split" / "list.txt"
    path.write_bytes(b"a\n")
    publish(tmp_path, ["A_split/list.txt"])
    info = DatasetInfo("", "", lists=("A_split/list.txt",))
    assert fetch_lists(info, tmp_path) == {"A_split/list.txt": path}
    assert fetch_lists(info, tmp_path / "A_split") == {"A_split/list.txt": path}
    path.write_bytes(b"b\n")
    with pytest.raises(InputError, match=r"list\.txt: not the file that was published"):
        fetch_lists(info, tmp_path)


def test_find_files_follows_links_and_ignores_folders(tmp_path):
    put(tmp_path, ["a/1.mp3", "2.mp3", "a/folder.mp3/3.mp3"])
    (tmp_path / "link.mp3").symlink_to("2.mp3")
    (tmp_path / "broken.mp3").symlink_to("nowhere.mp3")
    present = ["a/1.mp3", "2.mp3", "./2.mp3", "link.mp3", "a//1.mp3"]
    absent = ["a/2.mp3", "a/folder.mp3", "b/1.mp3", "2.mp3/1.mp3", "broken.mp3"]
    assert find_files(tmp_path, present).all() and not find_files(tmp_path, absent).any()
    assert find_files(tmp_path, []).shape == (0,)
    with pytest.raises(InputError, match="none: no such folder; check the path"):
        select_available(pd.DataFrame({"path": present}), tmp_path / "none")


@given(st.lists(st.tuples(st.sampled_from("123 "), st.sampled_from(["a", " a", "b", "a (1)", ""]))))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_unique_names_are_distinct(pairs):
    ids, names = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    labels = unique_names(ids, names)
    assert set(labels) == set(ids) and len(set(labels.values())) == len(labels)


def test_unique_names_appends_ids_to_shared_names():
    names = unique_names("3127", ["c d", "a", "a", "a (1)"])
    assert names == {"3": "c d", "1": "a (1) (1)", "2": "a (2)", "7": "a (1) (7)"}
    assert unique_names(["1", "1", "2"], ["a", "b", ""]) == {"1": "a", "2": "2"}


@pytest.mark.parametrize("values", [[[1, 0]], [[1, 0, 2]], [[1, 0, np.nan]], [["1", "0", "1"]]])
def test_join_tags_rejects_invalid_arrays(values):
    with pytest.raises(InputError, match=r"y\.npy: not 0 and 1 for 3 tags; download"):
        join_tags(np.array(values), ["a", "b", "c"], "y.npy")
