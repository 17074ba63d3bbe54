"""The weights that the papers' authors released, as a list and as verified local files.

This module does not import Keras, so that the papers' plans can list the models quickly.
"""

import csv
from pathlib import Path

from common.download import fetch_published_file

REGISTRY = Path(__file__).with_name("released_weights.csv")


def released_models() -> dict[str, dict]:
    """Return {name: row of the registry}, sorted by the number of artists."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        rows: list[dict] = list(csv.DictReader(file))
    for row in rows:
        row["artists"] = int(row["artists"])
    return {row["name"]: row for row in sorted(rows, key=lambda row: row["artists"])}


def released_names(model: str, artists: int | None = None) -> list[str]:
    """Return the names of the released weights of a model, optionally for a number of artists."""
    return [
        name
        for name, row in released_models().items()
        if row["model"] == model and artists in (None, row["artists"])
    ]


def fetch_released(name: str, mirror: str | Path | None = None) -> Path:
    """Return the verified local file of released weights; see `common.download`."""
    row = released_models()[name]
    source = {key: row[key] for key in ("repository", "commit", "path", "git_blob")}
    return fetch_published_file(f"{name}.h5", **source, mirror=mirror)
