"""The split CSV: one row a track, and which song, artist and subset it is.

Columns `track_id, path, subset, artist`, then any labels (`genre`, `album`,
`tags` with `|` between them). `path` is relative to the audio folder; `subset`
is train, valid or test. UTF-8.
"""

import csv
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from common import provenance
from common.errors import InputError
from common.files import written_whole

COLUMNS = ("track_id", "path", "subset", "artist")
SUBSETS = ("train", "valid", "test")


def read(path: str | Path) -> pd.DataFrame:
    """Read and check a split CSV; every value is a str, an absent one ''.

    Raises
    ------
    InputError
        Not there, not UTF-8 CSV, a column missing, no rows, a track twice, an
        unknown subset, or a path that leaves the audio folder.
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
    _check(table, path)
    return table


def write(table: pd.DataFrame, path: str | Path, record: dict) -> None:
    """Check `table`, write it whole, and put its provenance beside it."""
    path = Path(path)
    _check(table, path)
    rest = [name for name in table.columns if name not in COLUMNS]
    # The record goes first: a kill between the two leaves no CSV, and so nothing to mistake.
    with written_whole(provenance.sidecar(path)) as partial:
        partial.write_text(provenance.to_json(record), encoding="utf-8")
    text = table[[*COLUMNS, *rest]]
    # A lone carriage return ends a row for pandas' reader, but is not quoted by its writer.
    returns = text.apply(lambda values: values.str.contains("\r", regex=False)).any(axis=None)
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with written_whole(path) as partial:
        text.to_csv(partial, index=False, encoding="utf-8", quoting=quoting)


def column(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """A label column as an array, or `InputError` naming those that there are."""
    if name not in table.columns:
        raise InputError(f"{source}: has no column {name!r}; it has {', '.join(table.columns)}")
    return table[name].to_numpy(dtype=object)


def subset(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """(tracks,) bool, the tracks of one subset, or `InputError` if there are none."""
    chosen = table["subset"].eq(name).to_numpy()
    if not chosen.any():
        raise InputError(f"{source}: no track is in the subset {name}; make the split with some")
    return chosen


def first_artists(table: pd.DataFrame, count: int | None, source: str | Path) -> pd.DataFrame:
    """The tracks of the first `count` artists, in the order of their first tracks; None: all.

    The papers' smaller sets are the first artists of their list.
    """
    names = table["artist"].unique()
    if count is None:
        return table
    if count > len(names):
        raise InputError(f"{source}: has {len(names)} artists, not {count}; ask for fewer")
    return table[table["artist"].isin(names[:count])].reset_index(drop=True)


def leaves_folder(path: str) -> bool:
    """Whether a relative path, as written, points outside the folder it is relative to."""
    pure = PurePosixPath(path.replace("\\", "/"))
    windows_drive = len(path) > 1 and path[1] == ":"
    return not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or windows_drive


def _check(table: pd.DataFrame, source: Path) -> None:
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent:
        raise InputError(f"{source}: lacks the column {', '.join(absent)}; make it again")
    if not len(table):
        raise InputError(f"{source}: lists no track; make it again")
    for name, wrong, why in (
        ("track_id", table["track_id"].eq(""), "is empty"),
        ("track_id", table["track_id"].str.contains("\0", regex=False), "holds a NUL character"),
        ("track_id", table["track_id"].duplicated(), "stands twice; keep one row of it"),
        ("subset", ~table["subset"].isin(SUBSETS), f"is none of {', '.join(SUBSETS)}"),
        ("path", table["path"].map(leaves_folder), "does not lie below the audio folder"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{source}: row {row + 2}: {name} {table[name][row]!r} {why}")
