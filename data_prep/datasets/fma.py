"""The Free Music Archive dataset (FMA) in four sizes: small, medium, large and full.

Its lists are `tracks.csv` and `genres.csv` from fma_metadata.zip. The audio comes from
fma_SIZE.zip, with paths such as `000/000002.mp3`.
"""

import csv
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(
    title="FMA, the Free Music Archive's dataset",
    licence="metadata CC BY 4.0; each track under the licence that its artist chose",
    citation='M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, "FMA: A Dataset for Music '
    'Analysis", ISMIR 2017',
    homepage="https://github.com/mdeff/fma",
    metadata="the folder of fma_metadata.zip's tracks.csv and genres.csv",
)

# Each size contains the previous one. `full` has the same tracks as `large`, in full length.
SIZES = ("small", "medium", "large", "full")
_PUBLISHED_TRACKS = {"small": 8_000, "medium": 25_000, "large": 106_574, "full": 106_574}

# Column names in the first two header lines of tracks.csv, mapped to our names. Of the 52
# columns, only these are read.
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
_GENRE_IDS = r"\[([0-9]+(, ?[0-9]+)*)?\]"
_REMEDY = "download fma_metadata.zip again"

_SUBSETS = {"training": "train", "validation": "valid", "test": "test"}

# Clips that are empty or shorter than 30 s because the recorded track length was wrong, as
# reported in the FMA project's wiki and issue 8. The list is complete for `medium`; `large` has
# more such clips.
_SHORT = {
    *("001486", "005574", "065753", "080391", "098558", "098559", "098560", "098565", "098566"),
    *("098567", "098568", "098569", "098571", "099134", "105247", "108924", "108925", "126981"),
    *("127336", "133297", "143992"),
}


def read_fma(request: Request, size: str) -> Catalog:
    """Return the tracks in `size` (one of `SIZES`) whose audio exists, sorted by id.

    `genre` is the top genre ('' for tracks in `large` and `full` with none or several), `genres`
    lists the titles of all the track's genres and their parents, and `subset` follows the
    official split. Artists who share a name are distinguished by their ids.
    """
    folder = _metadata_folder(request.metadata)
    table = _read_tracks(folder / "tracks.csv")
    titles = _read_genre_titles(folder / "genres.csv")
    # Assign labels before selecting a size, so that each artist has the same label in all sizes.
    names = catalog.unique_names(table["artist.id"], table["artist"])
    selected = table["set.subset"].isin(SIZES[: SIZES.index(size) + 1])
    if not selected.any():
        raise InputError(f"{folder / 'tracks.csv'}: has no track of fma_{size}; {_REMEDY}")
    table = table[selected].sort_values("track_id")
    published = _PUBLISHED_TRACKS[size]
    note = f"tracks.csv lists {len(table)} tracks of fma_{size}, the published one {published}"
    notes = [note] if len(table) != published else []
    table = pd.DataFrame(
        {
            "track_id": table["track_id"],
            "path": table["track_id"].str[:3] + "/" + table["track_id"] + ".mp3",
            "artist": table["artist.id"].map(names),
            "album": table["album"].map(_normalise_space),
            "genre": table["genre"].map(_normalise_space),
            "genres": _join_genres(table, titles, folder / "tracks.csv"),
            "subset": table["set.split"].map(_SUBSETS),
        }
    ).reset_index(drop=True)
    found = catalog.select_available(table, request.root, notes)
    short = int(found.table["track_id"].isin(_SHORT).sum())
    note = (
        f"{short} clips of fma_{size} are known to be empty or shorter than 30 s; step 2 lists "
        "those that it cannot use"
    )
    return replace(found, notes=[*found.notes, note]) if short and size != "full" else found


def _metadata_folder(metadata: Path | None) -> Path:
    if metadata is None:
        raise InputError("--metadata: missing; give the folder of fma_metadata.zip's files")
    subfolder = Path(metadata) / "fma_metadata"
    return subfolder if subfolder.is_dir() else Path(metadata)


def _read_tracks(path: Path) -> pd.DataFrame:
    """Return the required columns as str, with `track_id` zero-padded to six digits."""
    positions = _column_positions(path)
    with catalog.list_errors(path):
        # With header=[0, 1], pandas would read all 260 MB before dropping columns.
        table = pd.read_csv(
            path,
            header=None,
            skiprows=_HEADER_LINES,
            usecols=list(positions.values()),
            dtype=str,
            na_filter=False,
            encoding="utf-8",
        )
    table = table.rename(columns={position: name for name, position in positions.items()})
    _check(table, path)
    table["track_id"] = table["track_id"].str.zfill(6)
    return table


def _column_positions(path: Path) -> dict[str, int]:
    """Return {our name: column index}, based on the header lines."""
    with catalog.list_errors(path), open(path, encoding="utf-8", newline="") as file:
        header = list(islice(csv.reader(file), _HEADER_LINES))
    if len(header) < _HEADER_LINES or header[2][:1] != ["track_id"]:
        raise InputError(f"{path}: does not begin with FMA's three header lines; {_REMEDY}")
    columns = list(zip(header[0], header[1], strict=False))
    missing = [".".join(name) for name in _COLUMNS if name not in columns]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; {_REMEDY}")
    return {"track_id": 0} | {ours: columns.index(name) for name, ours in _COLUMNS.items()}


def _check(table: pd.DataFrame, path: Path) -> None:
    ids, genres = table["track_id"], table["track.genres_all"]
    checks = [
        ("track_id", ~ids.str.fullmatch("[0-9]{1,6}"), "is not a number of up to six digits"),
        ("track_id", ids.str.zfill(6).duplicated(), "is a duplicate"),
        ("artist.id", ~table["artist.id"].str.fullmatch("[0-9]+"), "is not a number"),
        ("set.split", ~table["set.split"].isin(_SUBSETS), f"is not one of {', '.join(_SUBSETS)}"),
        ("set.subset", ~table["set.subset"].isin(SIZES), f"is not one of {', '.join(SIZES)}"),
        ("track.genres_all", ~genres.str.fullmatch(_GENRE_IDS), "is not a list of genre ids"),
    ]
    checks = [(name, wrong, f"{problem}; {_REMEDY}") for name, wrong, problem in checks]
    split_csv.refuse_rows(table, checks, lambda row: _position(path, row))


def _read_genre_titles(path: Path) -> dict[str, str]:
    """Return the genre titles as {genre id: title}."""
    with catalog.list_errors(path):
        table = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8")
    if not {"genre_id", "title"} <= set(table.columns):
        raise InputError(f"{path}: has no column genre_id or no column title; {_REMEDY}")
    repeated = ("genre_id", table["genre_id"].duplicated(), f"is a duplicate; {_REMEDY}")
    split_csv.refuse_rows(table, [repeated], lambda row: str(path))
    return dict(zip(table["genre_id"], table["title"].map(_normalise_space), strict=True))


def _join_genres(table: pd.DataFrame, titles: dict[str, str], path: Path) -> list[str]:
    """Return each track's genre titles, joined by `|`."""
    texts = []
    for row, listed in table["track.genres_all"].items():
        ids = listed.strip("[]").replace(",", " ").split()
        unknown = [genre for genre in ids if genre not in titles]
        if unknown:
            raise InputError(
                f"{_position(path, row)}: genre {unknown[0]} is not in genres.csv; {_REMEDY}"
            )
        texts.append("|".join(titles[genre] for genre in ids))
    return texts


def _position(path: Path, index: int) -> str:
    """Return a row's position for error messages; a row containing line breaks counts as one."""
    return f"{path}: row {index + _HEADER_LINES + 1}"


def _normalise_space(text: str) -> str:
    return " ".join(text.split())


DATASETS = {f"fma_{size}": (partial(read_fma, size=size), INFO) for size in SIZES}
