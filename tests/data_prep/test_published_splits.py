"""Tests of the registry of published split files."""

import re

import pytest

from common import download
from common.download import git_blob_id
from common.errors import InputError
from data_prep import published_splits

COLUMNS = ["name", "repository", "commit", "path", "git_blob"]


def test_registry_is_complete():
    registry = published_splits.read_registry()
    assert len(registry) == len({row["git_blob"] for row in registry.values()}) == 17
    for name, row in registry.items():
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row["repository"]) and row["path"].endswith(name)
        assert re.fullmatch(r"[0-9a-f]{40} [0-9a-f]{40}", f"{row['commit']} {row['git_blob']}")


def test_real_files_match_the_registry(music_data):
    mirror = music_data / "data" / "splits"
    names = [name for name in published_splits.read_registry() if (mirror / name).is_file()]
    assert len(names) >= 10
    for name in names:
        assert published_splits.published_split(name, mirror) == mirror / name


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Register one file, `A_split/list.txt`, and create a mirror that contains it."""
    (tmp_path / "list.txt").write_bytes(b"a\n")
    row = [
        "A_split/list.txt",
        "someone/some",
        "0" * 40,
        "list.txt",
        git_blob_id(tmp_path / "list.txt"),
    ]
    path = tmp_path / "registry.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(row) + "\n", encoding="utf-8")
    monkeypatch.setattr(published_splits, "REGISTRY", path)
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)


def test_mirror_may_omit_the_folder_name(registry, tmp_path):
    assert published_splits.published_split("A_split/list.txt", tmp_path) == tmp_path / "list.txt"
    (tmp_path / "A_split").mkdir()
    (tmp_path / "list.txt").rename(tmp_path / "A_split" / "list.txt")
    assert (
        published_splits.published_split("A_split/list.txt", tmp_path)
        == tmp_path / "A_split" / "list.txt"
    )


def test_rejects_unpublished_content(registry, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"b\n")
    with pytest.raises(InputError, match=r"list\.txt: not the file that was published"):
        published_splits.published_split("A_split/list.txt", tmp_path)


def test_rejects_unknown_name(registry, tmp_path):
    with pytest.raises(InputError, match=r"list\.txt: not a published .* choose from A_split/list"):
        published_splits.published_split("list.txt", tmp_path)
