"""The registry of published split files."""

import csv
import re

import pytest

from common import download
from common.download import git_blob_id
from common.errors import InputError
from data_prep import published_splits

COLUMNS = ["name", "repository", "commit", "path", "git_blob"]


def test_registry_says_of_each_file_where_it_is_and_what():
    with published_splits.REGISTRY.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == COLUMNS
    assert len({name for name, *_ in rows}) == len({row[-1] for row in rows}) == len(rows) == 17
    for name, repository, commit, path, blob in rows:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", repository) and path.endswith(name)
        assert re.fullmatch(r"[0-9a-f]{40} [0-9a-f]{40}", f"{commit} {blob}")


def test_real_files_are_the_registered_ones(music_data):
    mirror = music_data / "data" / "splits"
    with published_splits.REGISTRY.open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    here = [name for name in names if (mirror / name).is_file()]
    assert len(here) >= 10
    for name in here:
        assert published_splits.published_split(name, mirror) == mirror / name


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Of one file, `A_split/list.txt`, which lies in a mirror."""
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


def test_by_name_or_by_its_last_part(registry, tmp_path):
    assert published_splits.published_split("A_split/list.txt", tmp_path) == tmp_path / "list.txt"
    (tmp_path / "A_split").mkdir()
    (tmp_path / "list.txt").rename(tmp_path / "A_split" / "list.txt")
    assert (
        published_splits.published_split("A_split/list.txt", tmp_path)
        == tmp_path / "A_split" / "list.txt"
    )


def test_another_content_is_refused(registry, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"b\n")
    with pytest.raises(InputError, match=r"list\.txt: not the file that was published"):
        published_splits.published_split("A_split/list.txt", tmp_path)


def test_unknown_names(registry, tmp_path):
    with pytest.raises(InputError, match=r"list\.txt: not a published .* there are A_split/list"):
        published_splits.published_split("list.txt", tmp_path)
