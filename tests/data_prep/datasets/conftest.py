"""A registry of published lists that a test has written."""

import csv

import pytest

from common.download import git_blob_id
from data_prep import published_splits


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Register lists in a folder with their content ids, as if they had been published."""
    registry = tmp_path / "registry.csv"
    monkeypatch.setattr(published_splits, "REGISTRY", registry)

    def register(folder, names):
        rows = [("a/b", "0" * 40, name, git_blob_id(folder / name), name) for name in names]
        with registry.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(["repository", "commit", "path", "git_blob", "name"])
            csv.writer(file).writerows(rows)
        return folder

    return register


def put(root, paths):
    """Write small files with these paths below `root`."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root
