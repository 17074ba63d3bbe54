"""The split CSV: one row per track with its artist and subset.

The columns are `track_id, path, subset, artist`, followed by any number of labels (such as
`genre`, `album`, or `tags` separated by `|`). `path` is relative to the audio folder, and
`subset` is train, valid or test. The file is encoded in UTF-8.
"""

import csv
import logging
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from common import provenance
from common.errors import InputError
from common.files import atomic_write

logger = logging.getLogger(__name__)

COLUMNS = ("track_id", "path", "subset", "artist")
SUBSETS = ("train", "valid", "test")

# Matches paths that are empty, are absolute, contain "..", a Windows drive or a NUL character.
_OUTSIDE = re.compile(r"\A\Z|\A[/\\]|(\A|[/\\])\.\.([/\\]|\Z)|\A.:|\0", re.DOTALL)


def read_split(path: str | Path) -> pd.DataFrame:
    """Read and check a split CSV.

    Returns
    -------
    DataFrame
        One row per track; all values are str, and missing values are ''.

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
    except ValueError as error:  # pandas' parser errors and decoding errors are ValueErrors
        raise InputError(f"{path}: not a UTF-8 CSV file ({error}); make it again") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas used the first column as an index
        raise InputError(f"{path}: its rows have more fields than its header; make it again")
    check_split(table, path)
    return table


def write_split(table: pd.DataFrame, path: str | Path, record: dict) -> None:
    """Check a table and write it as a split CSV, along with a sidecar provenance record."""
    path = Path(path)
    check_split(table, path)
    # The record is written first, so that if the process is killed between the two writes, no
    # CSV file without a record is left behind.
    with atomic_write(provenance.sidecar_path(path)) as partial:
        partial.write_text(provenance.to_json(record), encoding="utf-8")
    table = table[[*COLUMNS, *table.columns.drop(list(COLUMNS))]]
    # pandas' reader treats a lone carriage return as the end of a row, but its writer does not
    # quote it.
    returns = table.apply(lambda values: values.str.contains("\r", regex=False)).any(axis=None)
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", quoting=quoting)


def check_split(
    table: pd.DataFrame,
    source: str | Path,
    columns: Sequence[str] = COLUMNS,
    position: Callable[[int], str] | None = None,
) -> None:
    """Raise `InputError` for the first invalid row of a split; see `refuse_rows` for `position`.

    A row is invalid if it has an empty or duplicate `track_id`, an unknown subset, a path
    outside the audio folder, or a file that also belongs to another subset. A catalog's table
    without a split does not need the column `subset`.
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
        subset, files = table["subset"], normalise_paths(paths).to_numpy()
        in_two = subset.ne(subset.groupby(files).transform("first"))
        checks += [
            ("subset", ~subset.isin(SUBSETS), f"is not one of {', '.join(SUBSETS)}; correct it"),
            ("path", in_two, "is in two subsets; keep one row"),
        ]
    refuse_rows(table, checks, position or (lambda row: f"{source}: row {row + 2}"))


def refuse_rows(
    table: pd.DataFrame,
    checks: Iterable[tuple[str, pd.Series, str]],
    position: Callable[[int], str],
) -> None:
    """Raise `InputError` for the first row that fails the first failing check.

    A check consists of a column, a (tracks,) bool mask of the invalid rows, and the problem.
    `position` describes a row, given its zero-based number, for the message.
    """
    for name, wrong, problem in checks:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{position(row)}: {name} {table[name].iloc[row]!r} {problem}")


def label_column(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """Return a label column as an object array, or raise `InputError` if it does not exist."""
    if name not in table.columns:
        raise InputError(f"{source}: has no column {name!r}; it has {', '.join(table.columns)}")
    return table[name].to_numpy(dtype=object)


def subset_mask(table: pd.DataFrame, name: str, source: str | Path) -> np.ndarray:
    """Return a (tracks,) bool mask of the tracks in a subset, or raise `InputError` if empty."""
    mask = table["subset"].eq(name).to_numpy()
    if not mask.any():
        raise InputError(f"{source}: no track is in the subset {name}; make a split with some")
    return mask


def artist_classes(split: pd.DataFrame, source: str | Path) -> tuple[list[str], np.ndarray]:
    """Return a split's artists in order of appearance, and each track's (tracks,) int32 class.

    Every track must have an artist, and every artist a track in the training subset.
    """
    artists = label_column(split, "artist", source)
    classes, names = pd.factorize(artists)
    if "" in names:
        track = split["track_id"][int(np.flatnonzero(artists == "")[0])]
        raise InputError(f"{source}: {track!r} has no artist; add the artist or remove the track")
    if len(names) < 2:
        raise InputError(f"{source}: all tracks are by one artist; add tracks of other artists")
    untrained = set(names) - set(artists[split["subset"].eq("train")])
    if untrained:
        raise InputError(
            f"{source}: artist {min(untrained)!r} has no training track ({len(untrained)} such "
            "artists); make a split in which each artist has some, or remove these artists"
        )
    return list(names), classes.astype(np.int32)


def tag_matrix(split: pd.DataFrame, label: str, source: str | Path) -> tuple[list[str], np.ndarray]:
    """Encode a column of tags, separated by `|`, as a multi-hot matrix.

    Return the tags in alphabetical order and a (tracks, tags) float32 matrix of zeros and ones.
    """
    column = pd.Series(label_column(split, label, source))
    matrix = column.str.get_dummies("|")
    if matrix.shape[1] < 2:
        raise InputError(
            f"{source}: its column {label!r} contains {matrix.shape[1]} tags; at least two are "
            "needed"
        )
    return list(matrix.columns), matrix.to_numpy(np.float32)


def keep_first_artists(table: pd.DataFrame, count: int | None, source: str | Path) -> pd.DataFrame:
    """Return the tracks by the first `count` artists, ordered by when each artist first appears.

    The papers' smaller training sets consist of the first artists in the larger ones. If `count`
    is None, all artists are kept.
    """
    names = table["artist"].unique()
    if count is None:
        return table
    if count > len(names):
        raise InputError(f"{source}: has {len(names)} artists, not {count}; ask for fewer")
    return table[table["artist"].isin(names[:count])].reset_index(drop=True)


def is_outside(path: str) -> bool:
    """Return whether a relative path, as written, is empty or escapes its base folder."""
    return _OUTSIDE.search(path) is not None


def read_usable_tracks(
    split: str | Path, failed: dict[str, str], source: str | Path, max_artists: int | None = None
) -> pd.DataFrame:
    """Read a split, omitting tracks that failed when `source` was made; log how many.

    If `max_artists` is given, only that many artists are kept, in split order.
    """
    tracks = keep_first_artists(read_split(split), max_artists, split)
    dropped = tracks["track_id"].isin(failed)
    if dropped.any():
        logger.info(f"{source}: {dropped.sum()} tracks skipped, which failed when it was made")
    return tracks[~dropped].reset_index(drop=True)


def normalise_paths(paths: pd.Series) -> pd.Series:
    """Remove `./` and repeated `/`, so that different spellings of a path compare equal."""
    odd = paths.str.contains("./", regex=False) | paths.str.contains("//", regex=False)
    return paths.mask(odd, paths[odd].map(posixpath.normpath)) if odd.any() else paths
