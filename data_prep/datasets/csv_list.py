"""Any list of tracks as CSV, or TSV: the way in for a private set such as NAVER's.

A column `path`, and `artist` or any other labels; `track_id` and `subset` if
there are any.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets.catalog import Catalog, Request, only_present
from data_prep.datasets.lists import list_errors

_ALIASES = {
    **{"train": "train", "training": "train"},
    **{"valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"},
    **{"test": "test", "testing": "test"},
}


def read_csv_list(request: Request) -> Catalog:
    """The tracks of the file `metadata` whose audio is there, in the file's order.

    `track_id` is the path without its suffix where the list has none. All other
    columns are labels; names of subsets such as `validation` become the usual ones.

    Raises
    ------
    InputError
        The list is absent, no UTF-8 table, lacks a column, names a track or a
        path twice, an unknown subset, or a path outside `root`; or no audio is there.
    """
    if request.metadata is None:
        raise InputError("--metadata: a list needs it; give the CSV or TSV file")
    path = Path(request.metadata)
    table = _table(path)
    _check(table, path)
    return Catalog(*only_present(table, request.root))


def _table(path: Path) -> pd.DataFrame:
    """All columns as str, those of every catalog first and `subset` last."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with list_errors(path):
        table = pd.read_csv(
            path, sep=separator, dtype=str, na_filter=False, encoding="utf-8-sig"
        )  # utf-8-sig: Excel puts a mark before the first name
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column for one
        raise InputError(f"{path}: its rows have more fields than its header; name all columns")
    table.columns = table.columns.str.strip()
    # A column without a name is an index that pandas wrote down.
    table = table.loc[:, ~table.columns.str.fullmatch(r"(Unnamed: [0-9]+)?")]
    labels = [name for name in table.columns if name not in ("track_id", "path", "subset")]
    if "path" not in table.columns or not labels:
        lacks = "path" if "path" not in table.columns else "artist, or any label"
        raise InputError(
            f"{path}: lacks the column {lacks}; it has {', '.join(table.columns) or 'none'}"
        )
    if not len(table):
        raise InputError(f"{path}: lists no track; add rows")
    made = {
        "track_id": table.get("track_id", table["path"].map(lambda p: os.path.splitext(p)[0])),
        "path": table["path"],
        "artist": "",
        **{name: table[name].str.strip() for name in labels},
    }
    if "subset" in table.columns:
        made["subset"] = table["subset"].str.strip().str.lower().replace(_ALIASES)
    return pd.DataFrame(made)


def _check(table: pd.DataFrame, source: Path) -> None:
    for name, wrong, why in (
        ("path", table["path"].map(split_csv.is_outside), "does not lie below the audio folder"),
        ("track_id", table["track_id"].eq(""), "is empty; give each track one"),
        *_twice(table),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{source}: row {row + 2}: {name} {table[name][row]!r} {why}")
    if "subset" in table.columns:
        wrong = ~table["subset"].isin(split_csv.SUBSETS)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{source}: row {row + 2}: subset {table['subset'][row]!r} is none of "
                f"{', '.join(split_csv.SUBSETS)}; correct it"
            )


def _twice(table: pd.DataFrame) -> list[tuple[str, pd.Series, str]]:
    """What must not stand twice; in two subsets it would be tested on what it was trained on."""
    checks = []
    for name in ("track_id", "path"):
        twice = table[name].duplicated()
        if "subset" in table.columns:
            other = twice & ~table.duplicated([name, "subset"])
            checks.append((name, other, "is in two subsets; keep one row of it"))
        checks.append((name, twice, "stands twice; keep one row of it"))
    return checks
