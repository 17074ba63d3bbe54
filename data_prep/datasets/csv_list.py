"""Custom track lists in CSV or TSV format, for example of private datasets such as NAVER's.

A list needs a `path` column and at least one label column, such as `artist`; `track_id` and
`subset` are optional.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(
    "Any list of tracks as CSV or TSV", "that of your music", metadata="the CSV or TSV file"
)

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_SPACE_AND_QUOTE = re.compile(r'\s+"')
_MAX_FIELD = 2**31 - 1  # characters; csv's own limit is 131,072
_SUBSET_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_csv_list(request: Request) -> Catalog:
    """Return the tracks listed in `request.metadata` whose audio exists, in list order.

    `track_id` defaults to the path without its suffix. All remaining columns are labels.
    Common subset names such as `validation` are recognised.
    """
    if request.metadata is None:
        raise InputError("--metadata: missing; give the CSV or TSV file")
    path = Path(request.metadata)
    table = _read_table(path)

    def position(row: int) -> str:
        return f"{path}: row {table.index[row]}"

    paths, ids = table["path"], table["track_id"]
    shared = ids.duplicated() & ~paths.duplicated() & ids.eq(paths.map(_without_suffix))
    add_ids = "without its suffix is that of another row; add a column track_id"
    checks = [
        ("path", paths.eq(""), "is empty; name the track's file, or remove the row"),
        ("path", shared, add_ids),
    ]
    split_csv.refuse_rows(table, checks, position)
    split_csv.check_split(table, path, ("track_id", "path", "artist"), position)
    repeated = (
        "path",
        split_csv.normalise_paths(paths).duplicated(),
        "is a duplicate; keep one row of it",
    )
    split_csv.refuse_rows(table, [repeated], position)
    return catalog.select_available(table.reset_index(drop=True), request.root)


def _read_table(path: Path) -> pd.DataFrame:
    """Return all columns as str, with track_id, path and artist first and subset last.

    The index contains the rows' numbers in the file, as spreadsheet programs show them.
    """
    # Decode as utf-8-sig, because Excel writes a byte order mark before the first column name.
    with (
        catalog.list_errors(path, "save it as UTF-8 text"),
        open(path, encoding="utf-8-sig", newline="") as file,
    ):
        rows = _read_tsv(file) if path.suffix.lower() == ".tsv" else _read_csv(file, path)
        filled = {number: row for number, row in enumerate(rows, 1) if any(map(str.strip, row))}
    header = filled.pop(min(filled, default=0), [])
    for number, row in filled.items():
        if len(row) > len(header):
            raise InputError(
                f"{path}: row {number} has {len(row)} fields, the header {len(header)}; name all "
                "columns, or put fields with separators in quotation marks"
            )
        row += [""] * (len(header) - len(row))
    table = pd.DataFrame(filled.values(), columns=header, index=list(filled), dtype=object)
    table.columns = table.columns.str.strip()
    # An unnamed column is an index that pandas has written.
    table = table.loc[:, ~table.columns.str.fullmatch(r"(Unnamed: [0-9]+)?")]
    if not table.columns.is_unique:
        repeated = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{path}: has two columns {repeated!r}; rename one")
    labels = [name for name in table.columns if name not in ("track_id", "path", "subset")]
    if "path" not in table.columns or not labels:
        given = ", ".join(table.columns) or "no columns"
        missing = "path" if "path" not in table.columns else "artist, or any other label"
        separator = "tabs" if path.suffix.lower() == ".tsv" else "commas"
        raise InputError(
            f"{path}: has no column {missing}; it has {given}, when split at {separator}"
        )
    columns = {
        "track_id": table.get("track_id", table["path"].map(_without_suffix)),
        "path": table["path"],
        "artist": "",
        **{name: table[name].map(catalog.clean_text) for name in labels},
    }
    if "subset" in table.columns:
        columns["subset"] = table["subset"].str.strip().str.lower().replace(_SUBSET_NAMES)
    return pd.DataFrame(columns)


def _without_suffix(path: str) -> str:
    return os.path.splitext(path)[0]


def _read_csv(file: Iterable[str], path: Path) -> Iterator[list[str]]:
    """Yield the fields of each row, and reject quotation marks that would swallow other fields."""
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(file, strict=True)
    start, columns = 1, 0
    try:
        for row in reader:
            columns = columns or len(row)
            if any(_swallows_rows(field, columns) for field in row):
                raise csv.Error("a field in quotation marks contains whole rows")
            if any(_SPACE_AND_QUOTE.match(field) for field in row):
                raise InputError(
                    f"{path}: line {start}: a space before a quotation mark; remove it"
                )
            yield row
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}: line {start}: {error}; put a field with a quotation mark in "
            "quotation marks, and double those inside"
        ) from error


def _swallows_rows(field: str, columns: int) -> bool:
    """Return whether a field has as many separators per line break as rows would have."""
    breaks = len(_LINE_BREAK.findall(field))
    return breaks > 0 and columns > 1 and field.count(",") >= breaks * (columns - 1)


def _read_tsv(file: Iterable[str]) -> Iterator[list[str]]:
    """Yield the fields of each line; a field that is in quotation marks as a whole loses them.

    Other quotation marks are part of the text, as in the name "Weird Al" Yankovic.
    """
    for line in file:
        fields = line.rstrip("\r\n").split("\t") if line.strip("\r\n") else []
        yield [
            field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field
            for field in fields
        ]


DATASETS = {"csv": (read_csv_list, INFO)}
