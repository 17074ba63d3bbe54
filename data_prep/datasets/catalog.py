"""What every catalog is asked and answers, and what several of them do with their lists."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import pickled_lists


@dataclass(frozen=True)
class Request:
    """What script 1 was asked for; each catalog takes what it needs of it.

    Attributes
    ----------
    root
        Folder of the audio.
    metadata
        Folder of the dataset's own lists, where the user downloads those; for
        the small published lists, a local mirror of them.
    pattern
        Of a folder's paths; None reads the files' tags.
    artists
        How many, None for all (--artists).
    """

    root: Path
    metadata: Path | None = None
    seed: int = 0
    pattern: str | None = None
    workers: int = 1
    artists: int | None = None


@dataclass(frozen=True)
class Catalog:
    """The tracks of a source.

    Attributes
    ----------
    table
        One row a track: `track_id`, `path` below the audio folder, `artist`
        ('' where unknown), labels, and `subset` where the dataset has its own.
    notes
        What a person should know, one line each.
    """

    table: pd.DataFrame
    notes: list[str]


def only_present(table: pd.DataFrame, root: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """The tracks whose file is there, and a note on those left out, if any.

    Raises
    ------
    InputError
        `root` is no folder or holds none of the files, or a path leaves it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    leaving = split_csv.find_outside_paths(table["path"])
    if leaving.any():
        path = table["path"].iloc[int(np.argmax(leaving))]
        raise InputError(
            f"{path!r}: a listed path that cannot lie below {root}; get the lists again"
        )
    return keep_listed(
        table,
        find_present(root, table["path"]),
        root,
        "not there",
        remedy="give the folder that this path starts from",
        name="path",
    )


def keep_listed(
    table: pd.DataFrame,
    kept: Iterable[bool],
    source: str | Path,
    lack: str,
    *,
    remedy: str,
    name: str = "track_id",
) -> tuple[pd.DataFrame, list[str]]:
    """The tracks that are kept, and a note that says what the others are, if any.

    Parameters
    ----------
    kept
        (tracks,) bool.
    source, lack
        Of the message: `source: 3 of 10 tracks are LACK`.
    name
        The column that the first track left out is named by.

    Raises
    ------
    InputError
        None is kept; it ends in `remedy`.
    """
    kept = np.asarray(kept, dtype=bool)
    if kept.all():
        return table, []
    first = table[name].iloc[int(np.argmin(kept))]
    said = f"{source}: {(~kept).sum()} of {len(table)} tracks are {lack}, such as {first!r}"
    if not kept.any():
        raise InputError(f"{said}; {remedy}")
    return table[kept].reset_index(drop=True), [f"{said}: left out"]


def find_present(root: str | Path, paths: Iterable[str]) -> np.ndarray:
    """(paths,) bool, which of the files are there; paths are relative to `root`, with `/`.

    Each folder is listed once, since a look at each of a million files takes
    minutes on a disk that turns or is far away.

    Raises
    ------
    OSError
        A folder that is there cannot be listed.
    """
    names_in: dict[str, set[str]] = {}
    found = []
    for path in paths:
        parent, _, name = path.rpartition("/")
        if parent not in names_in:
            names_in[parent] = _files(os.path.join(root, parent))
        found.append(name in names_in[parent])
    return np.array(found, dtype=bool)


def _files(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def read_lines(path: str | Path) -> list[str]:
    """Lines of a UTF-8 text file without the space around them; empty ones are passed over."""
    try:
        with open(path, encoding="utf-8") as handle:
            return [line.strip() for line in handle if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; get it again") from error


def pickled_texts(path: str | Path) -> list[str]:
    """A pickled list of texts, each once, or `InputError`."""
    texts = pickled_lists.load_pickled_list(path)
    if not isinstance(texts, list) or not texts:
        raise InputError(f"{path}: not a list of tracks; get it again")
    seen = set()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{path}: row {row + 1} is {text!r:.80}, not text; get it again")
        if text in seen:
            raise InputError(f"{path}: row {row + 1}: {text!r} stands twice; get it again")
        seen.add(text)
    return texts


def tag_names(path: str | Path) -> list[str]:
    """Tags of a list with one on each line, or `InputError` for one that a split cannot hold."""
    names = read_lines(path)
    for number, name in enumerate(names):
        if "|" in name:
            raise InputError(f"{path}: the tag {name!r} holds |, the mark between tags; rename it")
        if name in names[:number]:
            raise InputError(f"{path}: the tag {name!r} stands twice; get it again")
    return names


def tag_texts(
    values: np.ndarray, tags: Sequence[str], tracks: Sequence[str], source: str | Path
) -> list[str]:
    """The tags of each track with `|` between them, in the order of `tags`.

    Parameters
    ----------
    values
        (tracks, tags) numbers, 1 where a track has a tag and 0 elsewhere.
    source
        The file that `values` are from, for messages.

    Raises
    ------
    InputError
        Another shape, or other values.
    """
    if values.shape != (len(tracks), len(tags)):
        raise InputError(
            f"{source}: its shape is {values.shape}, but {len(tracks)} tracks and {len(tags)} "
            "tags are listed; get the lists again"
        )
    if values.dtype.kind not in "biuf":
        raise InputError(f"{source}: holds {values.dtype}, not numbers; get it again")
    wrong = ~((values == 0) | (values == 1)).all(axis=1)
    if wrong.any():
        track = tracks[int(np.argmax(wrong))]
        raise InputError(f"{source}: {track!r} has values other than 0 and 1; get it again")
    return ["|".join(tags[tag] for tag in np.flatnonzero(row)) for row in values]
