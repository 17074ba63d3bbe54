"""The split CSV: one row a track, and which song, artist and subset it is.

Columns `track_id, path, subset, artist`, then any labels (`genre`, `album`,
`tags` with `|` between them). `path` is relative to the audio folder; `subset`
is train, valid or test. UTF-8.
"""

import csv
import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from common import provenance
from common.errors import InputError
from common.files import atomic_write

COLUMNS = ("track_id", "path", "subset", "artist")
SUBSETS = ("train", "valid", "test")

# What a path has that leaves its folder; most have none of it, and need no closer look.
_DOUBTFUL = r"\A\Z|\A/|\.\.|[\\:\0]"


def read_split(path: str | Path) -> pd.DataFrame:
    """Read and check a split CSV; every value is a str, an absent one ''.

    Raises
    ------
    InputError
        Not there, not UTF-8 CSV, a column missing, no rows, a track twice, an
        unknown subset, a path that leaves the audio folder, or a file in two subsets.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such split; make it with data_prep/1_make_splits.py"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error}); make it again") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column for one
        raise InputError(f"{path}: its rows have more fields than its header; make it again")
    check_split(table, path)
    return table


def write_split(table: pd.DataFrame, path: str | Path, record: dict) -> None:
    """Check `table`, write it whole, and put its provenance beside it."""
    path = Path(path)
    check_split(table, path)
    rest = [name for name in table.columns if name not in COLUMNS]
    # The record goes first: a kill between the two leaves no CSV, and so nothing to mistake.
    with atomic_write(provenance.sidecar_path(path)) as partial:
        partial.write_text(provenance.to_json(record), encoding="utf-8")
    text = table[[*COLUMNS, *rest]]
    # A lone carriage return ends a row for pandas' reader, but is not quoted by its writer.
    returns = text.apply(lambda values: values.str.contains("\r", regex=False)).any(axis=None)
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with atomic_write(path) as partial:
        text.to_csv(partial, index=False, encoding="utf-8", quoting=quoting)


def label_column(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """A label column as an array, or `InputError` naming those that there are."""
    if name not in table.columns:
        raise InputError(f"{source}: has no column {name!r}; it has {', '.join(table.columns)}")
    return table[name].to_numpy(dtype=object)


def subset_mask(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """(tracks,) bool, the tracks of one subset, or `InputError` if there are none."""
    chosen = table["subset"].eq(name).to_numpy()
    if not chosen.any():
        raise InputError(f"{source}: no track is in the subset {name}; make the split with some")
    return chosen


def keep_first_artists(table: pd.DataFrame, count: int | None, source: str | Path) -> pd.DataFrame:
    """The tracks of the first `count` artists, in the order of their first tracks; None: all.

    The papers' smaller sets are the first artists of their list.
    """
    names = table["artist"].unique()
    if count is None:
        return table
    if count > len(names):
        raise InputError(f"{source}: has {len(names)} artists, not {count}; ask for fewer")
    return table[table["artist"].isin(names[:count])].reset_index(drop=True)


def is_outside(path: str) -> bool:
    """Whether a relative path, as written, points outside the folder it is relative to."""
    pure = PurePosixPath(path.replace("\\", "/"))
    windows_drive = len(path) > 1 and path[1] == ":"
    return not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or windows_drive


def normalise_paths(paths: pd.Series) -> pd.Series:
    """The paths without `./` and doubled `/`: equal where they name the same file."""
    odd = paths.str.contains("./", regex=False) | paths.str.contains("//", regex=False)
    return paths.mask(odd, paths[odd].map(posixpath.normpath)) if odd.any() else paths


def check_split(table: pd.DataFrame, source: str | Path, columns: Sequence[str] = COLUMNS) -> None:
    """Raise `InputError` naming the first row, if any, that no split may have.

    `columns` must be there; a catalog that is not dealt yet needs no `subset`.
    """
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise InputError(f"{source}: lacks the column {', '.join(absent)}; make it again")
    if not len(table):
        raise InputError(f"{source}: lists no track; make it again")
    ids, paths = table["track_id"].fillna(""), table["path"].fillna("")
    wrongs = [
        ("track_id", ids.eq(""), "is empty; name each track"),
        ("track_id", ids.str.contains("\0", regex=False), "holds a NUL character; rename it"),
        ("track_id", ids.duplicated(), "stands twice; keep one row of it"),
        ("path", find_outside_paths(paths), "does not lie below the audio folder; correct it"),
    ]
    if "subset" in table.columns:
        no_subset = ~table["subset"].isin(SUBSETS)
        wrongs += [
            ("subset", no_subset, f"is none of {', '.join(SUBSETS)}; correct it"),
            ("path", _in_two_subsets(paths, table["subset"]), "is in two subsets; keep one row"),
        ]
    for name, wrong, why in wrongs:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{source}: row {row + 2}: {name} {table[name].iloc[row]!r} {why}")


def find_outside_paths(paths: pd.Series) -> np.ndarray:
    """(tracks,) bool: `leaves_folder` of each path, asked of those only that could."""
    leaves = paths.str.contains(_DOUBTFUL, regex=True).to_numpy(dtype=bool, copy=True)
    leaves[leaves] = [is_outside(path) for path in paths[leaves]]
    return leaves


def _in_two_subsets(paths: pd.Series, subset: pd.Series) -> np.ndarray:
    """(tracks,) bool: the same file stands in another subset further up."""
    files = normalise_paths(paths)
    wrong = files.duplicated(keep=False).to_numpy(copy=True)
    if wrong.any():
        repeated, where = files[wrong], subset[wrong]
        wrong[wrong] = where.ne(where.groupby(repeated.to_numpy()).transform("first")).to_numpy()
    return wrong
