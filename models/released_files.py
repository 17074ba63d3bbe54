"""The weights that the papers' authors released: which there are, and the verified file of each."""

import csv
from pathlib import Path

from common.download import fetch_published_file

REGISTRY = Path(__file__).with_name("released_weights.csv")


def released_models() -> dict[str, dict]:
    """{name: model, artists, and where its file is had}, fewer artists first."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        rows = [{**row, "artists": int(row["artists"])} for row in csv.DictReader(file)]
    return {row["name"]: row for row in sorted(rows, key=lambda row: row["artists"])}


def names_of(model: str, artists: int | None = None) -> list[str]:
    """The released weights of a model, and of so many artists if they are given."""
    return [
        name
        for name, row in released_models().items()
        if row["model"] == model and artists in (None, row["artists"])
    ]


def fetch_released(name: str, mirror: str | Path | None = None) -> Path:
    """The verified local file of released weights; see `common.download.fetch_published_file`."""
    row = released_models()[name]
    place = {key: row[key] for key in ("repository", "commit", "path", "git_blob")}
    return fetch_published_file(f"{name}.h5", **place, mirror=mirror)
