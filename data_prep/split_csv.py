"""The split CSV: one row per track with its artist and subset.

The columns are `track_id, path, subset, artist`, and then any labels (`genre`, `album`, or
`tags` with `|` between them). `path` is relative to the audio folder; `subset` is train,
valid or test. The file is UTF-8.
"""

import csv
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from common import provenance
from common.errors import InputError
from common.files import atomic_write

COLUMNS = ("track_id", "path", "subset", "artist")
SUBSETS = ("train", "valid", "test")

# Empty, absolute, with a component "..", with a Windows drive, or with a NUL character.
_OUTSIDE = re.compile(r"\A\Z|\A[/\\]|(\A|[/\\])\.\.([/\\]|\Z)|\A.:|\0", re.DOTALL)


def read_split(path: str | Path) -> pd.DataFrame:
    """Read and check a split CSV.

    Returns
    -------
    DataFrame
        One row per track; all values are str, and missing values are ''.

    Raises
    ------
    InputError
        The file does not exist or is not UTF-8 CSV, or `check_split` refuses the table.

    Examples
    --------
    >>> split = read_split("splits/demo.csv")
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such split; make it with data_prep/1_make_splits.py"
        ) from error
    except ValueError as error:  # the errors of pandas' parser and of decoding are ValueErrors
        raise InputError(f"{path}: not a UTF-8 CSV file ({error}); make it again") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column for an index
        raise InputError(f"{path}: its rows have more fields than its header; make it again")
    check_split(table, path)
    return table


def write_split(table: pd.DataFrame, path: str | Path, record: dict) -> None:
    """Check a table and write it as a split CSV, with its provenance record in a second file."""
    path = Path(path)
    check_split(table, path)
    labels = [name for name in table.columns if name not in COLUMNS]
    # The record is written first: if the process is killed between the two writes, there is no
    # CSV file that could be mistaken for a complete one.
    with atomic_write(provenance.sidecar_path(path)) as partial:
        partial.write_text(provenance.to_json(record), encoding="utf-8")
    table = table[[*COLUMNS, *labels]]
    # A lone carriage return ends a row for pandas' reader, but its writer does not quote it.
    returns = table.apply(lambda values: values.str.contains("\r", regex=False)).any(axis=None)
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", quoting=quoting)


def check_split(table: pd.DataFrame, source: str | Path, columns: Sequence[str] = COLUMNS) -> None:
    """Raise `InputError` for the first row that a split must not contain.

    That is a row with an empty or duplicate `track_id`, an unknown subset, a path outside the
    audio folder, or a file that is also in another subset.

    Parameters
    ----------
    table
        One row per track.
    source
        Name of the file or catalog for messages.
    columns
        Required columns; the table of a catalog that has no split needs no `subset`.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{source}: has no column {', '.join(missing)}; make it again")
    if not len(table):
        raise InputError(f"{source}: lists no track; make it again")
    ids, paths = table["track_id"].fillna(""), table["path"].fillna("")
    checks = [
        ("track_id", ids.eq(""), "is empty; give each track an id"),
        ("track_id", ids.str.contains("\0", regex=False), "contains a NUL character; rename it"),
        ("track_id", ids.duplicated(), "is a duplicate; keep one row of it"),
        ("path", paths.map(is_outside), "is not below the audio folder; correct it"),
    ]
    if "subset" in table.columns:
        unknown = ~table["subset"].isin(SUBSETS)
        checks += [
            ("subset", unknown, f"is none of {', '.join(SUBSETS)}; correct it"),
            ("path", _in_two_subsets(paths, table["subset"]), "is in two subsets; keep one row"),
        ]
    refuse_rows(table, checks, lambda row: f"{source}: row {row + 2}")


def refuse_rows(
    table: pd.DataFrame,
    checks: Iterable[tuple[str, pd.Series, str]],
    position: Callable[[int], str],
) -> None:
    """Raise `InputError` for the first row that fails the first failing check.

    Parameters
    ----------
    table
        One row per track.
    checks
        For each check, the column, a (tracks,) bool mask of the wrong rows, and the problem.
    position
        Describes a row, given its number from 0, for the message.
    """
    for name, wrong, problem in checks:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{position(row)}: {name} {table[name].iloc[row]!r} {problem}")


def label_column(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """Return a label column as an object array, or raise `InputError` if there is none."""
    if name not in table.columns:
        raise InputError(f"{source}: has no column {name!r}; it has {', '.join(table.columns)}")
    return table[name].to_numpy(dtype=object)


def subset_mask(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """Return a (tracks,) bool mask of the tracks of a subset, or raise `InputError` if empty."""
    mask = table["subset"].eq(name).to_numpy()
    if not mask.any():
        raise InputError(f"{source}: no track is in the subset {name}; make a split with some")
    return mask


def keep_first_artists(table: pd.DataFrame, count: int | None, source: str | Path) -> pd.DataFrame:
    """Return the tracks of the first `count` artists, in the order of their first tracks.

    The papers' smaller training sets are the first artists of the larger ones. None keeps all.
    """
    names = table["artist"].unique()
    if count is None:
        return table
    if count > len(names):
        raise InputError(f"{source}: has {len(names)} artists, not {count}; ask for fewer")
    return table[table["artist"].isin(names[:count])].reset_index(drop=True)


def is_outside(path: str) -> bool:
    """Whether a relative path, as written, is empty or leaves the folder it is relative to."""
    return _OUTSIDE.search(path) is not None


def normalise_paths(paths: pd.Series) -> pd.Series:
    """Remove `./` and repeated `/`, so that paths of the same file are equal."""
    odd = paths.str.contains("./", regex=False) | paths.str.contains("//", regex=False)
    return paths.mask(odd, paths[odd].map(posixpath.normpath)) if odd.any() else paths


def _in_two_subsets(paths: pd.Series, subset: pd.Series) -> pd.Series:
    """(tracks,) bool: the same file is in another subset in an earlier row."""
    files = normalise_paths(paths)
    first = subset.groupby(files.to_numpy()).transform("first")
    return subset.ne(first)
