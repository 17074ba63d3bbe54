"""Split files published by the papers' authors, each identified by its content id."""

import csv
from pathlib import Path

from common.download import fetch_published_file
from common.errors import InputError

REGISTRY = Path(__file__).parent.parent / "splits" / "published_files.csv"


def read_registry() -> dict[str, dict[str, str]]:
    """Return all published split files as {name: {repository, commit, path, git_blob}}."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        return {row.pop("name"): row for row in csv.DictReader(file)}


def published_split(name: str, mirror: str | Path | None = None) -> Path:
    """Return the path of a verified local copy of a published split file.

    Parameters
    ----------
    name
        Name in the registry, for example `GTZAN_split/test_filtered.txt`.
    mirror
        Folder that contains the file under this name or under its last component. Defaults
        to the environment variable MUSIC_MIRROR; if neither is set, the file is downloaded
        once.

    Raises
    ------
    InputError
        If the name is unknown, the file is not in the mirror or cannot be downloaded, or
        its content differs from the published file.
    """
    registry = read_registry()
    if name not in registry:
        raise InputError(f"{name}: not a published split file; choose from {', '.join(registry)}")
    return fetch_published_file(name, **registry[name], mirror=mirror, option="--metadata")
