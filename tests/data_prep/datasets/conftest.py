"""Helpers that write small datasets and register their lists as published."""

import csv
import pickle

import pytest

from common.download import git_blob_id
from data_prep.datasets import catalog


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Return a function that registers a folder's lists, with content ids, as if published."""
    registry = tmp_path / "registry.csv"
    monkeypatch.setattr(catalog, "REGISTRY", registry)

    def register(folder, names):
        rows = [("a/b", "0" * 40, name, git_blob_id(folder / name), name) for name in names]
        with registry.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(["repository", "commit", "path", "git_blob", "name"])
            csv.writer(file).writerows(rows)
        return folder

    return register


def dump(value, path):
    """Pickle a value in Python 2's protocol; the tests of the loaders use Python 2's own files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=2))


def put(root, paths):
    """Write small files at the given paths below `root`."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root
