"""Custom track lists in CSV or TSV format, for example of private datasets such as NAVER's.

A list needs a `path` column and at least one label column, such as `artist`; `track_id` and
`subset` are optional.
"""

import os
from pathlib import Path

import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(
    "Any list of tracks as CSV or TSV", "that of your music", metadata="the CSV or TSV file"
)

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
    split_csv.check_split(table, path, ("track_id", "path", "artist"))
    repeated = ("path", table["path"].duplicated(), "is a duplicate; keep one row of it")
    split_csv.refuse_rows(table, [repeated], lambda row: f"{path}: row {row + 2}")
    return catalog.select_available(table, request.root)


def _read_table(path: Path) -> pd.DataFrame:
    """Return all columns as str, with track_id, path and artist first and subset last."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with catalog.list_errors(path):
        # Decode as utf-8-sig, because Excel writes a byte order mark before the first column name.
        table = pd.read_csv(path, sep=separator, dtype=str, na_filter=False, encoding="utf-8-sig")
    if not isinstance(table.index, pd.RangeIndex):  # pandas used the first column as the index
        raise InputError(f"{path}: its rows have more fields than its header; name all columns")
    table.columns = table.columns.str.strip()
    # An unnamed column is an index that pandas has written.
    table = table.loc[:, ~table.columns.str.fullmatch(r"(Unnamed: [0-9]+)?")]
    labels = [name for name in table.columns if name not in ("track_id", "path", "subset")]
    if "path" not in table.columns or not labels:
        missing = "path" if "path" not in table.columns else "artist, or any other label"
        raise InputError(f"{path}: has no column {missing}; it has {', '.join(table.columns)}")
    columns = {
        "track_id": table.get("track_id", table["path"].map(lambda p: os.path.splitext(p)[0])),
        "path": table["path"],
        "artist": "",
        **{name: table[name].str.strip() for name in labels},
    }
    if "subset" in table.columns:
        columns["subset"] = table["subset"].str.strip().str.lower().replace(_SUBSET_NAMES)
    return pd.DataFrame(columns)


DATASETS = {"csv": (read_csv_list, INFO)}
