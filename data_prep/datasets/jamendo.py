"""MTG-Jamendo (Bogdanov et al. 2019): its lists of the folder `data`, and their split-0.

The audio is `14/214.mp3`, or `14/214.low.mp3` in the archives of low quality.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from common.errors import InputError
from data_prep.datasets.catalog import Catalog, Request, find_present, keep_listed, only_present
from data_prep.datasets.lists import list_errors, unique_names

_LIST = "autotagging.tsv"  # where only a folder is given: all tags that 50 artists have

_COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
_META_COLUMNS = [
    *("TRACK_ID", "ARTIST_ID", "ALBUM_ID"),
    *("TRACK_NAME", "ARTIST_NAME", "ALBUM_NAME", "RELEASEDATE", "URL"),
]
_FORMS = (
    re.compile(r"track_[0-9]+"),
    re.compile(r"artist_[0-9]+"),
    re.compile(r"album_[0-9]+"),
    re.compile(r"[0-9]+/[0-9]+\.mp3"),
)
_TAG = re.compile(r"(genre|instrument|mood/theme)---[^|]+")

_SUBSETS = {"train": "train", "validation": "valid", "test": "test"}


def read_jamendo(request: Request) -> Catalog:
    """The tracks of one list whose file is there, in the list's order.

    `metadata` is the list, or the folder of `autotagging.tsv`, or the one above
    that. `artist` and `album` are ids, or names where raw.meta.tsv lies beside
    the list. `genres` are the genre tags, `genre` the first of them, `tags` all
    tags with their category. Where the files of the list's split-0 are there,
    `subset` and the tags are theirs: some tags are not in all subsets and so
    in none of these files.

    Raises
    ------
    InputError
        A list is absent or not what it should be, a track is in two subsets, or
        no audio is there.
    """
    path = _list_path(request.metadata)
    table = _tracks(path)
    table, notes = _official(table, path)
    artists, albums = _names(path.with_name("raw.meta.tsv"))
    tags = table["tags"].str.split("|")
    genres = tags.map(
        lambda names: [n.partition("---")[2] for n in names if n.startswith("genre---")]
    )
    made = pd.DataFrame(
        {
            "track_id": table["track_id"],
            "path": table["path"],
            "artist": table["artist"].map(lambda key: artists.get(key, key)),
            "album": table["album"].map(lambda key: albums.get(key, key)),
            "genre": genres.map(lambda names: names[0] if names else ""),
            "genres": genres.map("|".join),
            "tags": table["tags"],
        }
    )
    if "subset" in table.columns:
        made["subset"] = table["subset"]
    notes += _take_low(made, request.root)
    made, absent = only_present(made, request.root)
    return Catalog(made, notes + absent)


def _list_path(given: Path | None) -> Path:
    if given is None:
        raise InputError(
            "--metadata: MTG-Jamendo needs it; give one of the lists of its folder data"
        )
    given = Path(given)
    if not given.is_dir():
        return given
    return given / "data" / _LIST if (given / "data" / _LIST).exists() else given / _LIST


def _rows(path: Path, header: list[str]) -> Iterator[tuple[str, list[str]]]:
    """(place for messages, fields) of each row; titles hold quotes that enclose nothing."""
    with list_errors(path), open(path, encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(rows, None) != header:
            raise InputError(
                f"{path}: its first line is not {' '.join(header)}; give a list of MTG-Jamendo"
            )
        for row in rows:
            if row:
                yield f"{path}: line {rows.line_num}", row


def _tracks(path: Path) -> pd.DataFrame:
    """Columns track_id, artist, album (ids), path and tags."""
    found = {}
    for place, row in _rows(path, _COLUMNS):
        if len(row) < len(_COLUMNS) - 1:
            raise InputError(f"{place}: has {len(row)} fields, not 5 and tags; get it again")
        for form, field in zip(_FORMS, row, strict=False):
            if not form.fullmatch(field):
                raise InputError(f"{place}: {field!r} is not like {form.pattern}; get it again")
        tags = [tag for tag in row[5:] if tag]
        for tag in tags:
            if not _TAG.fullmatch(tag):
                raise InputError(f"{place}: {tag!r} is no category---tag; get it again")
        if row[0] in found:
            raise InputError(f"{place}: {row[0]} stands twice; get it again")
        found[row[0]] = (*row[:4], "|".join(dict.fromkeys(tags)))
    if not found:
        raise InputError(f"{path}: lists no track; get it again")
    return pd.DataFrame(found.values(), columns=["track_id", "artist", "album", "path", "tags"])


def _official(listed: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """`listed` with the subsets and tags of its split-0, if that is there, and a note."""
    files = {
        subset: path.parent / "splits" / "split-0" / f"{path.stem}-{name}.tsv"
        for name, subset in _SUBSETS.items()
    }
    absent = [str(file) for file in files.values() if not file.exists()]
    if len(absent) == len(files):
        return listed, [f"{path}: has no subsets, since {absent[0]} is not there"]
    if absent:
        raise InputError(f"{absent[0]}: no such file, but others of split-0; get it again")
    parts = {subset: _tracks(file).assign(subset=subset) for subset, file in files.items()}
    split = pd.concat(parts.values(), ignore_index=True)
    twice = split["track_id"].duplicated()
    if twice.any():
        track = split["track_id"][twice].iloc[0]
        both = [str(files[s]) for s in split["subset"][split["track_id"] == track]]
        raise InputError(f"{both[1]}: {track} stands in {both[0]} too; get both again")
    foreign = ~split["track_id"].isin(listed["track_id"])
    if foreign.any():
        row = split[foreign].iloc[0]
        raise InputError(
            f"{files[row['subset']]}: {row['track_id']} is not in {path.name}; get both again"
        )
    kept, notes = keep_listed(
        listed,
        listed["track_id"].isin(split["track_id"]),
        path,
        "in no subset of split-0",
        remedy="get both again",
    )
    return split.set_index("track_id").loc[kept["track_id"]].reset_index(), notes


def _names(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """{artist id: name} and {album id: name} of all songs in raw.meta.tsv; empty without it."""
    if not path.exists():
        return {}, {}
    songs = []
    for place, row in _rows(path, _META_COLUMNS):
        # Two titles end in a tab, so that fields behind the title are counted from the end.
        if len(row) < len(_META_COLUMNS):
            raise InputError(f"{place}: has {len(row)} fields, not 8; get it again")
        songs.append((row[1], row[-4], row[2], row[-3]))
    artist_ids, artists, album_ids, albums = zip(*songs, strict=True) if songs else ((),) * 4
    return unique_names(artist_ids, artists), unique_names(album_ids, albums)


def _take_low(table: pd.DataFrame, root: Path) -> list[str]:
    """Put the low-quality file's path where only that one is there; return a note on how many."""
    low = table["path"].str.removesuffix(".mp3") + ".low.mp3"
    taken = ~find_present(root, table["path"]) & find_present(root, low)
    table.loc[taken, "path"] = low[taken]
    if not taken.any():
        return []
    return [f"{taken.sum()} of {len(table)} tracks are there in low quality only (.low.mp3)"]
