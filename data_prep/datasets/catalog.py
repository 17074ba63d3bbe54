"""Code shared by all dataset loaders: options, results, published lists, and checks on lists."""

import contextlib
import csv
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.download import fetch_published_file
from common.errors import InputError

# The split files that the papers' authors have published, with their URLs and content ids.
REGISTRY = Path(__file__).parents[2] / "splits" / "published_files.csv"

_INVISIBLE = dict.fromkeys(
    [0xFEFF, 0x200B, 0x200E, 0x200F, 0x2060, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)


@dataclass(frozen=True)
class DatasetInfo:
    """Source and licence terms of a dataset."""

    title: str
    licence: str  # covers both the lists and the audio
    citation: str = ""  # publication to cite
    homepage: str = ""
    lists: tuple[str, ...] = ()  # names of its lists in `REGISTRY`
    metadata: str = ""  # what to pass as --metadata


@dataclass(frozen=True)
class Request:
    """Options passed to a dataset loader, which uses only those it needs."""

    root: Path  # audio folder
    metadata: Path | None = None  # the dataset's own lists, or a mirror of the published lists
    seed: int = 0
    labels: str = "any"  # "tags" leaves folder names out (folder only)
    pattern: str | None = None  # path pattern for a music folder; None reads the files' tags
    workers: int = 1  # number of worker processes
    max_artists: int | None = None  # None means all artists


@dataclass(frozen=True)
class Catalog:
    """The tracks of a dataset that are available.

    `table` has one row per track: `track_id`, `path` relative to the audio folder, `artist` ('' if
    unknown), labels, and `subset` if the dataset has its own split.
    """

    table: pd.DataFrame
    notes: list[str]  # one-line notes for the user
    missing: int = 0  # number of listed tracks whose audio file is missing


def read_registry() -> dict[str, dict[str, str]]:
    """Return all published split files as {name: {repository, commit, path, git_blob}}."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        return {row.pop("name"): row for row in csv.DictReader(file)}


def fetch_lists(info: DatasetInfo, metadata: Path | None) -> dict[str, Path]:
    """Return verified local copies of a dataset's published lists as {name: path}.

    `metadata` is a folder with the lists, under their names or the last components of these. It
    defaults to the environment variable MUSIC_MIRROR; if neither is set, they are downloaded once.
    """
    registry = read_registry()
    return {
        name: fetch_published_file(name, **registry[name], mirror=metadata, option="--metadata")
        for name in info.lists
    }


def select_available(table: pd.DataFrame, root: Path, notes: Iterable[str] = ()) -> Catalog:
    """Return the tracks whose audio files exist, with a note about any that are missing."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; check the path")
    exists = find_files(root, table["path"])
    remedy = "give the folder that this path starts from"
    available, missing = drop_tracks(table, exists, root, "missing", remedy=remedy, name="path")
    return Catalog(available, [*notes, *missing], len(table) - len(available))


def drop_tracks(
    table: pd.DataFrame,
    keep: Iterable[bool],
    source: str | Path,
    problem: str,
    *,
    remedy: str = "download it again",
    name: str = "track_id",
) -> tuple[pd.DataFrame, list[str]]:
    """Keep the tracks selected by a (tracks,) mask, and return a note describing the others.

    The note is `SOURCE: 3 of 10 tracks are PROBLEM, such as 'NAME': left out`, where `name` is the
    column that identifies a track. If no track is left, it is an `InputError` with the remedy.
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
            names_in[folder] = set()
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(os.path.join(root, folder)) as entries,
            ):
                names_in[folder] = {entry.name for entry in entries if entry.is_file()}
        exists.append(name in names_in[folder])
    return np.array(exists, dtype=bool)


@contextlib.contextmanager
def list_errors(path: str | Path, remedy: str = "download it again") -> Iterator[None]:
    """Convert errors raised while reading the list `path` into a one-line `InputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check --metadata") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a list; check --metadata") from error
    except (ValueError, csv.Error) as error:  # pandas and decoding errors are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a complete UTF-8 table ({reason}); {remedy}") from error


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a UTF-8 text file, stripped of surrounding white space."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line.strip() for line in lines if line.strip()]


def clean_text(text: str) -> str:
    """Return a label as one printable line in Unicode composed form (NFC).

    Byte order marks, zero-width spaces and marks of the direction of writing are removed.
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
        text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join(text.split())


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
    """Return each track's tags joined by `|`, from a (tracks, tags) array of zeros and ones."""
    if values.shape[1] != len(tags) or not np.isin(values, (0, 1)).all():
        raise InputError(f"{source}: not 0 and 1 for {len(tags)} tags; download the lists again")
    return ["|".join(itertools.compress(tags, row)) for row in values]
