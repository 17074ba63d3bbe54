"""What the loaders of all datasets share: options, result, and checks of lists and tags."""

import contextlib
import csv
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import published_splits


@dataclass(frozen=True)
class DatasetInfo:
    """Origin and terms of a dataset."""

    title: str
    licence: str  # of the lists and of the audio
    citation: str = ""  # publication to cite
    homepage: str = ""
    # Names in `splits/published_files.csv`, which has the addresses and content ids.
    lists: tuple[str, ...] = ()
    metadata: str = ""  # what --metadata is used for


@dataclass(frozen=True)
class Request:
    """Options of a loader; each loader uses those that it needs."""

    root: Path  # folder of the audio
    metadata: Path | None = None  # the dataset's own lists, or a mirror of the published ones
    seed: int = 0
    pattern: str | None = None  # of the paths in a folder of music; None reads the files' tags
    workers: int = 1  # number of processes
    max_artists: int | None = None  # None reads all artists


@dataclass(frozen=True)
class Catalog:
    """The available tracks of a dataset.

    Attributes
    ----------
    table
        One row per track: `track_id`, `path` below the audio folder, `artist` ('' if
        unknown), labels, and `subset` if the dataset has its own split.
    notes
        Notes for the user, one line each.
    missing
        Number of listed tracks whose audio file does not exist.
    """

    table: pd.DataFrame
    notes: list[str]
    missing: int = 0


def fetch_lists(info: DatasetInfo, request: Request) -> dict[str, Path]:
    """Return {name: path} of the dataset's published lists, with verified content."""
    return {name: published_splits.published_split(name, request.metadata) for name in info.lists}


def select_available(table: pd.DataFrame, root: str | Path, notes: Iterable[str] = ()) -> Catalog:
    """Return the tracks whose audio file exists, with a note on the others.

    Raises
    ------
    InputError
        `root` is not a folder, or has none of the files.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    available, missing = drop_tracks(
        table,
        find_files(root, table["path"]),
        root,
        "missing",
        remedy="give the folder that this path starts from",
        name="path",
    )
    return Catalog(available, [*notes, *missing], len(table) - len(available))


def drop_tracks(
    table: pd.DataFrame,
    keep: Iterable[bool],
    source: str | Path,
    problem: str,
    *,
    remedy: str,
    name: str = "track_id",
) -> tuple[pd.DataFrame, list[str]]:
    """Drop tracks, and describe them in a note if there are any.

    Parameters
    ----------
    table
        One row per track.
    keep
        (tracks,) bool mask.
    source, problem
        The note is `SOURCE: 3 of 10 tracks are PROBLEM, such as 'ID': left out`.
    remedy
        End of the error message.
    name
        Column that the first dropped track is identified by.

    Raises
    ------
    InputError
        No track is left.
    """
    keep = np.asarray(keep, dtype=bool)
    if keep.all():
        return table, []
    example = table[name].iloc[int(np.argmin(keep))]
    summary = f"{source}: {(~keep).sum()} of {len(table)} tracks are {problem}, such as {example!r}"
    if not keep.any():
        raise InputError(f"{summary}; {remedy}")
    return table[keep].reset_index(drop=True), [f"{summary}: left out"]


def find_files(root: str | Path, paths: Iterable[str]) -> np.ndarray:
    """Return a (paths,) bool mask of the files that exist; paths are relative to `root`.

    Each folder is listed once, because a million single checks take minutes on a hard disk
    or a network file system.
    """
    names_in: dict[str, set[str]] = {}
    exists = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in names_in:
            names_in[folder] = _list_files(os.path.join(root, folder))
        exists.append(name in names_in[folder])
    return np.array(exists, dtype=bool)


def _list_files(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


@contextlib.contextmanager
def list_errors(path: str | Path) -> Iterator[None]:
    """Turn errors while the list `path` is read into an `InputError` of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check --metadata") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a list; check --metadata") from error
    except (ValueError, csv.Error) as error:  # errors of pandas and of decoding are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a complete UTF-8 table ({reason}); download it again"
        ) from error


def require_columns(table: pd.DataFrame, names: Iterable[str], path: Path, remedy: str) -> None:
    """Raise `InputError` if the table of the list `path` has no column of one of these names."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; {remedy}")


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a UTF-8 text file, stripped and without empty ones."""
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; download it again") from error


def unique_names(ids: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return {id: label}, with distinct labels for ids that have the same name.

    The label is the first name of the id, with single spaces, followed by the id in
    parentheses if other ids have the same name. An id without a name is its own label.
    """
    label: dict[str, str] = {}
    for key, name in zip(ids, names, strict=True):
        label.setdefault(key, " ".join(name.split()) or key)
    # One pass is not always enough: an artist may be called `A (7)`.
    while (count := Counter(label.values())) and max(count.values()) > 1:
        label = {key: f"{n} ({key})" if count[n] > 1 else n for key, n in label.items()}
    return label


def join_tags(values: np.ndarray, tags: Sequence[str], source: str | Path) -> list[str]:
    """Return the tags of each track with `|` between them, in the order of `tags`.

    Parameters
    ----------
    values
        (tracks, tags) numbers: 1 where a track has a tag, 0 elsewhere.
    tags
        (tags,) names.
    source
        File of the values, for messages.

    Raises
    ------
    InputError
        `values` has another number of tags or contains other values.
    """
    if values.shape[1] != len(tags) or not np.isin(values, (0, 1)).all():
        raise InputError(f"{source}: not 0 and 1 for {len(tags)} tags; download the lists again")
    return ["|".join(itertools.compress(tags, row)) for row in values]
