"""The split files that the papers' authors published, by name."""

import csv
from pathlib import Path

from common.download import fetch_published_file
from common.errors import InputError

REGISTRY = Path(__file__).parent.parent / "splits" / "published_files.csv"


def published_split(name: str, mirror: str | Path | None = None) -> Path:
    """The verified local copy of a published split file, `GTZAN_split/test_filtered.txt` say.

    It is taken from the mirror folder (this argument, or the environment
    variable MUSIC_MIRROR), where it lies under this name or the last part of
    it; without a mirror it is downloaded once.

    Raises
    ------
    InputError
        Unknown name, not in the mirror, no network, or another content than published.
    """
    with REGISTRY.open(encoding="utf-8", newline="") as registry:
        rows = {row.pop("name"): row for row in csv.DictReader(registry)}
    if name not in rows:
        raise InputError(f"{name}: not a published split file; there are {', '.join(rows)}")
    return fetch_published_file(name, **rows[name], mirror=mirror, option="--metadata")
