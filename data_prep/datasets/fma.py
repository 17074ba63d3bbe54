"""FMA, the Free Music Archive's dataset (Defferrard et al. 2017): small, medium, large and full.

Its lists are `tracks.csv` and `genres.csv` of fma_metadata.zip; the audio is
that of fma_SIZE.zip, `000/000002.mp3`.
"""

import csv
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep.datasets.catalog import Catalog, Request, only_present
from data_prep.datasets.lists import list_errors, unique_names

# Each holds those before it; full has the tracks of large, at their whole length.
SIZES = ("small", "medium", "large", "full")

_PUBLISHED = {"small": 8_000, "medium": 25_000, "large": 106_574, "full": 106_574}

# The two header lines of tracks.csv: our names of the columns that are read, of 52.
_COLUMNS = {
    ("album", "title"): "album",
    ("artist", "id"): "artist.id",
    ("artist", "name"): "artist",
    ("set", "split"): "set.split",
    ("set", "subset"): "set.subset",
    ("track", "genre_top"): "genre",
    ("track", "genres_all"): "track.genres_all",
}
_HEADER_LINES = 3

_SUBSETS = {"training": "train", "validation": "valid", "test": "test"}

# Clips that are empty or shorter than 30 s, cut by a wrong length of their songs: the project's
# wiki and its issue 8, which is complete for medium. Large has more, of which there is no list.
_SHORT = {
    *("001486", "005574", "065753", "080391", "098558", "098559", "098560", "098565", "098566"),
    *("098567", "098568", "098569", "098571", "099134", "105247", "108924", "108925", "126981"),
    *("127336", "133297", "143992"),
}


def read_fma(request: Request, size: str) -> Catalog:
    """The tracks of `size` (one of `SIZES`) whose file is there, in the order of their ids.

    `genre` is the one top genre ('' where a track has none or several, in large
    and full), `genres` the titles of all its genres and of those above them,
    `subset` the dataset's own. Two artists of one name are told apart by their ids.

    Raises
    ------
    InputError
        A list is absent or not what it should be, or no audio is there.
    """
    folder = _metadata_folder(request.metadata)
    table = _tracks(folder / "tracks.csv")
    titles = _genre_titles(folder / "genres.csv")
    # Before the choice of a size, so that an artist has the same label in all sizes.
    names = unique_names(table["artist.id"], table["artist"])
    chosen = table["set.subset"].isin(SIZES[: SIZES.index(size) + 1])
    if not chosen.any():
        raise InputError(f"{folder / 'tracks.csv'}: has no track of fma_{size}; get it again")
    table = table[chosen].sort_values("track_id")
    notes = _count_note(len(table), size)
    table = pd.DataFrame(
        {
            "track_id": table["track_id"],
            "path": table["track_id"].str[:3] + "/" + table["track_id"] + ".mp3",
            "artist": table["artist.id"].map(names),
            "album": table["album"].map(_one_line),
            "genre": table["genre"].map(_one_line),
            "genres": _genre_texts(table, titles, folder / "tracks.csv"),
            "subset": table["set.split"].map(_SUBSETS),
        }
    ).reset_index(drop=True)
    table, absent = only_present(table, request.root)
    return Catalog(table, notes + absent + _short_note(table, size))


def _metadata_folder(given: Path | None) -> Path:
    if given is None:
        raise InputError("--metadata: FMA needs it; give the folder of fma_metadata.zip's files")
    below = Path(given) / "fma_metadata"
    return below if below.is_dir() else Path(given)


def _tracks(path: Path) -> pd.DataFrame:
    """The columns that are needed, as str; `track_id` has six digits."""
    position = _positions(path)
    with list_errors(path):
        # Not header=[0, 1]: then all 260 MB would be read before columns are dropped.
        table = pd.read_csv(
            path,
            header=None,
            skiprows=_HEADER_LINES,
            usecols=list(position.values()),
            dtype=str,
            na_filter=False,
            encoding="utf-8",
        )
    table = table.rename(columns={place: name for name, place in position.items()})
    _check(table, path)
    table["track_id"] = table["track_id"].str.zfill(6)
    return table


def _positions(path: Path) -> dict[str, int]:
    """{our name: column}, from the three header lines."""
    with list_errors(path), open(path, encoding="utf-8", newline="") as handle:
        head = list(islice(csv.reader(handle), _HEADER_LINES))
    if len(head) < _HEADER_LINES or head[2][:1] != ["track_id"]:
        raise InputError(
            f"{path}: does not begin with FMA's three header lines; get fma_metadata.zip again"
        )
    columns = list(zip(head[0], head[1], strict=False))
    absent = [".".join(name) for name in _COLUMNS if name not in columns]
    if absent:
        raise InputError(
            f"{path}: lacks the column {', '.join(absent)}; get fma_metadata.zip again"
        )
    return {"track_id": 0} | {ours: columns.index(name) for name, ours in _COLUMNS.items()}


def _check(table: pd.DataFrame, path: Path) -> None:
    number = table["track_id"].str.fullmatch(r"[0-9]{1,6}")
    for name, wrong, why in (
        ("track_id", ~number, "is no number of up to six digits"),
        ("track_id", table["track_id"].str.zfill(6).duplicated(), "stands twice"),
        ("artist.id", ~table["artist.id"].str.fullmatch(r"[0-9]+"), "is no number"),
        ("set.split", ~table["set.split"].isin(_SUBSETS), f"is none of {', '.join(_SUBSETS)}"),
        ("set.subset", ~table["set.subset"].isin(SIZES), f"is none of {', '.join(SIZES)}"),
        (
            "track.genres_all",
            ~table["track.genres_all"].str.fullmatch(r"\[([0-9]+(, ?[0-9]+)*)?\]"),
            "is no list of genre ids",
        ),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{_row(path, row)}: {name} {table[name][row]!r} {why}; get it again")


def _genre_titles(path: Path) -> dict[str, str]:
    """{genre id: title}."""
    with list_errors(path):
        table = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8")
    absent = [name for name in ("genre_id", "title") if name not in table.columns]
    if absent:
        raise InputError(
            f"{path}: lacks the column {', '.join(absent)}; get fma_metadata.zip again"
        )
    twice = table["genre_id"].duplicated()
    if twice.any():
        first = table["genre_id"][twice].iloc[0]
        raise InputError(f"{path}: genre_id {first!r} stands twice; get it again")
    return dict(zip(table["genre_id"], table["title"].map(_one_line), strict=True))


def _genre_texts(table: pd.DataFrame, titles: dict[str, str], path: Path) -> list[str]:
    texts = []
    for row, listed in table["track.genres_all"].items():
        ids = listed.strip("[]").replace(",", " ").split()
        unknown = [each for each in ids if each not in titles]
        if unknown:
            raise InputError(
                f"{_row(path, row)}: genre {unknown[0]} is not in genres.csv; get both lists again"
            )
        texts.append("|".join(titles[each] for each in ids))
    return texts


def _row(path: Path, index: int) -> str:
    """Place of a row in messages; a row with line breaks in it counts as one."""
    return f"{path}: row {index + _HEADER_LINES + 1}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _count_note(count: int, size: str) -> list[str]:
    published = _PUBLISHED[size]
    if count == published:
        return []
    return [f"tracks.csv lists {count} tracks of fma_{size}, the published one {published}"]


def _short_note(table: pd.DataFrame, size: str) -> list[str]:
    count = int(table["track_id"].isin(_SHORT).sum())
    if size == "full" or not count:
        return []
    return [
        f"{count} clips of fma_{size} are known to be empty or shorter than 30 s; step 2 names "
        "those that it cannot use"
    ]
