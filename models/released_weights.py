"""The weights released by the papers' authors: their registry, and verified local copies.

Keras is not imported here, so that listing the released models stays fast.
"""

import csv
from pathlib import Path

from common.download import fetch_published_file

REGISTRY = Path(__file__).with_name("released_weights.csv")


def released_models() -> dict[str, dict]:
    """Return {name: registry row}, sorted by the number of artists."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        rows: list[dict] = list(csv.DictReader(file))
    for row in rows:
        row["artists"] = int(row["artists"])
    return {row["name"]: row for row in sorted(rows, key=lambda row: row["artists"])}


def released_names(model: str, artists: int | None = None) -> list[str]:
    """Return the names of a model's released weights, optionally for one number of artists."""
    return [
        name
        for name, row in released_models().items()
        if row["model"] == model and artists in (None, row["artists"])
    ]


def fetch_released(name: str, mirror: str | Path | None = None) -> Path:
    """Return the path of a verified local weights file; see `common.download`."""
    row = released_models()[name]
    source = {key: row[key] for key in ("repository", "commit", "path", "git_blob")}
    return fetch_published_file(f"{name}.h5", **source, mirror=mirror)
