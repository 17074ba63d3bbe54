"""MTG-Jamendo: the lists in its repository's `data` folder, with their split-0.

Audio paths look like `14/214.mp3`, or `14/214.low.mp3` in the low-quality archives.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(
    title="MTG-Jamendo",
    licence="metadata CC BY-NC-SA 4.0; each track under its own Creative Commons licence",
    citation='D. Bogdanov, M. Won, P. Tovstogan, A. Porter and X. Serra, "The MTG-Jamendo Dataset '
    'for Automatic Music Tagging", Machine Learning for Music Discovery Workshop, ICML 2019',
    homepage="https://github.com/MTG/mtg-jamendo-dataset",
    metadata="the folder `data` of the dataset's repository, or one of its lists",
)

_DEFAULT_LIST = "autotagging.tsv"  # all tags used by at least 50 artists

_COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
_META_COLUMNS = [*_COLUMNS[:3], "TRACK_NAME", "ARTIST_NAME", "ALBUM_NAME", "RELEASEDATE", "URL"]
_FIELD_FORMATS = ("track_[0-9]+", "artist_[0-9]+", "album_[0-9]+", r"[0-9]+/[0-9]+\.mp3")
_TAG = "(genre|instrument|mood/theme)---[^|]+"

_SUBSETS = {"train": "train", "validation": "valid", "test": "test"}
_REMEDY = "download it again"


def read_jamendo(request: Request) -> Catalog:
    """Return the tracks in one list whose audio exists, in list order.

    `request.metadata` is a list, the folder that contains `autotagging.tsv`, or the parent of
    that folder. `artist` and `album` are ids, or names if raw.meta.tsv is in the list's folder.
    `genres` contains the genre tags, `genre` the first of them, and `tags` all tags with their
    categories. If the list's split-0 files exist, `subset` and the tags are taken from them;
    these files omit tags that do not occur in every subset.
    """
    path = _list_path(request.metadata)
    table, notes = _apply_split(_read_tracks(path), path)
    artists, albums = _read_names(path.with_name("raw.meta.tsv"))
    genres = table["tags"].map(
        lambda tags: [tag[len("genre---") :] for tag in tags.split("|") if tag.startswith("genre")]
    )
    table = table.assign(
        artist=table["artist"].map(lambda key: artists.get(key, key)),
        album=table["album"].map(lambda key: albums.get(key, key)),
        genre=genres.map(lambda names: names[0] if names else ""),
        genres=genres.map("|".join),
    )
    columns = ["track_id", "path", "artist", "album", "genre", "genres", "tags", "subset"]
    table = table[[name for name in columns if name in table.columns]]
    notes += _use_low_quality(table, request.root)
    return catalog.select_available(table, request.root, notes)


def _list_path(metadata: Path | None) -> Path:
    if metadata is None:
        raise InputError("--metadata: missing; give MTG-Jamendo's folder `data`, or a list in it")
    path = Path(metadata)
    if not path.is_dir():
        return path
    below = path / "data" / _DEFAULT_LIST
    return below if below.exists() else path / _DEFAULT_LIST


def _read_rows(path: Path, header: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (position for error messages, fields) per row; quotes in titles are taken literally."""
    with catalog.list_errors(path), open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(rows, None) != header:
            raise InputError(
                f"{path}: its first line is not {' '.join(header)}; give a list of MTG-Jamendo"
            )
        for row in rows:
            if row:
                yield f"{path}: line {rows.line_num}", row


def _read_tracks(path: Path) -> pd.DataFrame:
    """Return the columns track_id, artist, album (both as ids), path and tags."""
    tracks = {}
    for position, row in _read_rows(path, _COLUMNS):
        if len(row) < len(_COLUMNS) - 1:
            raise InputError(f"{position}: has {len(row)} fields, not 5 and tags; {_REMEDY}")
        tags = [tag for tag in row[5:] if tag]
        patterns = zip([*_FIELD_FORMATS, *[_TAG] * len(tags)], [*row[:4], *tags], strict=True)
        for pattern, field in patterns:
            if not re.fullmatch(pattern, field):
                raise InputError(f"{position}: {field!r} does not match {pattern}; {_REMEDY}")
        if row[0] in tracks:
            raise InputError(f"{position}: {row[0]} is a duplicate; {_REMEDY}")
        tracks[row[0]] = (*row[:4], "|".join(dict.fromkeys(tags)))
    if not tracks:
        raise InputError(f"{path}: lists no track; {_REMEDY}")
    return pd.DataFrame(tracks.values(), columns=["track_id", "artist", "album", "path", "tags"])


def _apply_split(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the tracks, with subsets and tags from split-0 if it exists, and any notes."""
    files = {
        subset: path.parent / "splits" / "split-0" / f"{path.stem}-{name}.tsv"
        for name, subset in _SUBSETS.items()
    }
    missing = [str(file) for file in files.values() if not file.exists()]
    if len(missing) == len(files):
        return table, [f"{path}: has no subsets, because {missing[0]} does not exist"]
    if missing:
        raise InputError(f"{missing[0]}: no such file, but others of split-0; {_REMEDY}")
    subsets = [_read_tracks(file).assign(subset=subset) for subset, file in files.items()]
    split = pd.concat(subsets, ignore_index=True)
    tracks, remedy = split["track_id"], "download both again"
    checks = [
        ("track_id", tracks.duplicated(), f"is also in another subset; {remedy}"),
        ("track_id", ~tracks.isin(table["track_id"]), f"is not in {path.name}; {remedy}"),
    ]
    split_csv.refuse_rows(split, checks, lambda row: str(files[split["subset"][row]]))
    in_split = table["track_id"].isin(tracks)
    kept, notes = catalog.drop_tracks(table, in_split, path, "in no subset of split-0")
    return split.set_index("track_id").loc[kept["track_id"]].reset_index(), notes


def _read_names(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return {artist id: name} and {album id: name} from raw.meta.tsv; empty if it is missing."""
    if not path.exists():
        return {}, {}
    names = []
    for position, row in _read_rows(path, _META_COLUMNS):
        if len(row) < len(_META_COLUMNS):
            raise InputError(f"{position}: has {len(row)} fields, not 8; {_REMEDY}")
        # Two titles end in a tab, so the fields after the title are counted from the row's end.
        names.append((row[1], row[-4], row[2], row[-3]))
    artist_ids, artists, album_ids, albums = zip(*names, strict=True) if names else ((),) * 4
    return catalog.unique_names(artist_ids, artists), catalog.unique_names(album_ids, albums)


def _use_low_quality(table: pd.DataFrame, root: Path) -> list[str]:
    """Use the low-quality path for tracks that exist only in low quality, and return a note."""
    low = table["path"].str.removesuffix(".mp3") + ".low.mp3"
    only_low = ~catalog.find_files(root, table["path"]) & catalog.find_files(root, low)
    table.loc[only_low, "path"] = low[only_low]
    note = f"{only_low.sum()} of {len(table)} tracks are available in low quality only (.low.mp3)"
    return [note] if only_low.any() else []


DATASETS = {"jamendo": (read_jamendo, INFO)}
