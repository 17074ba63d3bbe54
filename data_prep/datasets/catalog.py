"""Code shared by all dataset loaders: options, results, and checks on lists and tags."""

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
    """Source and licence terms of a dataset."""

    title: str
    licence: str  # covers both the lists and the audio
    citation: str = ""  # publication to cite
    homepage: str = ""
    # List names in `splits/published_files.csv`, which records their URLs and content ids.
    lists: tuple[str, ...] = ()
    metadata: str = ""  # what to pass as --metadata


@dataclass(frozen=True)
class Request:
    """Options passed to a dataset loader, which uses only those it needs."""

    root: Path  # audio folder
    metadata: Path | None = None  # the dataset's own lists, or a mirror of the published lists
    seed: int = 0
    pattern: str | None = None  # path pattern for a music folder; None reads the files' tags
    workers: int = 1  # number of worker processes
    max_artists: int | None = None  # None means all artists


@dataclass(frozen=True)
class Catalog:
    """The tracks of a dataset that are available.

    Attributes
    ----------
    table
        One row per track: `track_id`, `path` relative to the audio folder, `artist` ('' if
        unknown), labels, and `subset` if the dataset has its own split.
    notes
        One-line notes for the user.
    missing
        Number of listed tracks whose audio file is missing.
    """

    table: pd.DataFrame
    notes: list[str]
    missing: int = 0


def fetch_lists(info: DatasetInfo, request: Request) -> dict[str, Path]:
    """Verify the dataset's published lists and return them as {name: path}."""
    return {name: published_splits.published_split(name, request.metadata) for name in info.lists}


def select_available(table: pd.DataFrame, root: str | Path, notes: Iterable[str] = ()) -> Catalog:
    """Return the tracks whose audio files exist, with a note about any that are missing.

    Raises
    ------
    InputError
        If `root` is not a folder or contains none of the audio files.
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
    """Keep the tracks selected by a mask, and return a note describing any that are dropped.

    Parameters
    ----------
    table
        One row per track.
    keep
        (tracks,) bool mask of the tracks to keep.
    source, problem
        Parts of the note `SOURCE: 3 of 10 tracks are PROBLEM, such as 'ID': left out`.
    remedy
        Advice that ends the error message.
    name
        Column that identifies the first dropped track in the note.

    Raises
    ------
    InputError
        If no tracks remain.
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

    Each folder is listed only once, because checking a million files one by one takes minutes
    on a hard disk or a network file system.
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
    """Convert errors raised while reading the list `path` into a one-line `InputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check --metadata") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a list; check --metadata") from error
    except (ValueError, csv.Error) as error:  # pandas and decoding errors are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a complete UTF-8 table ({reason}); download it again"
        ) from error


def require_columns(table: pd.DataFrame, names: Iterable[str], path: Path, remedy: str) -> None:
    """Raise `InputError` if the table read from `path` lacks any of the named columns."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; {remedy}")


def read_lines(path: str | Path) -> list[str]:
    """Return the non-empty lines of a UTF-8 text file, stripped of surrounding white space."""
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; download it again") from error


def unique_names(ids: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return {id: label}, with distinct labels for ids that share a name.

    The label is the first name listed for the id, with white space normalised, followed by the
    id in parentheses if other ids share that name. An id without a name is its own label.
    """
    label: dict[str, str] = {}
    for key, name in zip(ids, names, strict=True):
        label.setdefault(key, " ".join(name.split()) or key)
    # One pass may not be enough, because an artist's actual name may be `A (7)`.
    while (count := Counter(label.values())) and max(count.values()) > 1:
        label = {key: f"{n} ({key})" if count[n] > 1 else n for key, n in label.items()}
    return label


def join_tags(values: np.ndarray, tags: Sequence[str], source: str | Path) -> list[str]:
    """Return each track's tags joined by `|`, in the order of `tags`.

    Parameters
    ----------
    values
        (tracks, tags) array: 1 where a track has a tag, 0 elsewhere.
    tags
        (tags,) tag names.
    source
        File that the values come from, named in error messages.

    Raises
    ------
    InputError
        If `values` does not have one column per tag or contains anything but 0 and 1.
    """
    if values.shape[1] != len(tags) or not np.isin(values, (0, 1)).all():
        raise InputError(f"{source}: not 0 and 1 for {len(tags)} tags; download the lists again")
    return ["|".join(itertools.compress(tags, row)) for row in values]
