"""The rule that deals each artist's songs to train, valid and test; what is checked before it.

ismir2018, section 4.1: artists with at least 20 tracks, exactly 20 songs of
each, spread over its albums, 15/3/2 of them for train, valid and test. The set
of fewer artists is the beginning of the set of more.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv

TRACKS_PER_ARTIST, SUBSET_SIZES = 20, (15, 3, 2)  # 17/1/2 for 10,000 artists


@dataclass(frozen=True)
class ArtistSplitReport:
    """What `deal` found, what of it is used, and what is left out.

    Attributes
    ----------
    by, songs
        As they were asked for.
    groups
        Artists (values of `by`) in all.
    qualify, used
        Those with at least `songs` tracks, and those of them that were asked for.
    few
        Those with fewer than `songs` tracks.
    excluded
        Artists of target sets. Where `by` is the artist, groups = qualify + few + excluded.
    unnamed
        Tracks with no artist (no value of `by`).
    repeated
        Tracks whose file belongs to another track already.
    """

    by: str
    songs: int
    groups: int
    qualify: int
    used: int
    few: int
    excluded: int
    unnamed: int
    repeated: int

    def lines(self) -> list[str]:
        """One line of what is used and, where something is left out, one of that."""
        left_out = [
            f"{count} {what}"
            for count, what in (
                (self.few, f"with fewer than {self.songs} tracks"),
                (self.excluded, "artists of target sets"),
                (self.unnamed, f"tracks with no {self.by}"),
                (self.repeated, "tracks whose file another track has"),
            )
            if count
        ]
        used = f"{self.by}: {self.groups} in all, {self.qualify} qualify, {self.used} used"
        return [used, "left out: " + ", ".join(left_out)] if left_out else [used]


@dataclass(frozen=True)
class ArtistSplit:
    """A dealt table, with its column `subset`, and the count of what was left out."""

    table: pd.DataFrame
    report: ArtistSplitReport


def split_by_artist(
    table: pd.DataFrame,
    *,
    by: str = "artist",
    groups: int | None = None,
    songs: int = TRACKS_PER_ARTIST,
    shares: tuple[int, int, int] = SUBSET_SIZES,
    seed: int = 0,
    exclude: frozenset[str] = frozenset(),
) -> ArtistSplit:
    """Give each artist (or genre) the same number of songs in train, valid and test.

    Artists with at least `songs` tracks qualify, in a random order. Of each,
    `songs` are drawn: one of every album, in a random order of the albums, then
    a second of every album that has one, and so on. What is drawn depends on
    the tracks and the seed alone: the order of the rows does not matter, fewer
    groups are the first rows of more groups, and excluding some artists leaves
    the songs of the others as they are.

    Parameters
    ----------
    table
        `track_id`, `artist`, the column `by`, and `album` and `path` where
        known. Of several tracks with one path, the first by `track_id` is used.
        Tracks without an album count as one album.
    by
        The column whose values are the groups.
    groups
        How many; None takes all that qualify.
    shares
        Songs of a group for train, valid and test; they sum to `songs`.
    exclude
        Artists whose tracks are left out, compared by `name_key`.

    Returns
    -------
    The rows that are used, by group in the drawn order and then by `track_id`.

    Raises
    ------
    InputError
        Too few groups qualify, the shares do not sum to `songs`, there is no
        column `by`, or a track_id stands twice.
    """
    _require(table, by, songs, shares)
    table = table.iloc[np.argsort(table["track_id"].to_numpy(dtype=object), kind="stable")]
    group, names = _numbered(table[by])
    barred, excluded = _artists_in(exclude, table)
    named, repeated = group >= 0, _repeated(table)
    rows = np.flatnonzero(named & ~repeated & ~barred)
    count = np.bincount(group[rows], minlength=len(names))

    # Luck is drawn for all, so that neither `groups` nor `exclude` changes anybody's songs.
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    luck = [rng.permutation(len(table)) for _ in range(3)]

    order = order[count[order] >= songs]
    report = ArtistSplitReport(
        by=by,
        songs=songs,
        groups=len(names),
        qualify=len(order),
        used=len(order[:groups]),
        few=len(names) - len(order) - (excluded if by == "artist" else 0),
        excluded=excluded,
        unnamed=int((~named).sum()),
        repeated=int(repeated.sum()),
    )
    _require_enough(report, groups or 1)
    place = np.full(len(names), len(names))
    place[order[:groups]] = np.arange(report.used)
    rows = rows[place[group[rows]] < report.used]
    album = _numbered(table["album"])[0] if "album" in table.columns else np.zeros_like(group)
    rows = rows[_spread(place[group[rows]], album[rows], songs, luck[0][rows], luck[1][rows])]
    rows = rows[np.lexsort((luck[2][rows], place[group[rows]]))]
    subset = np.tile(np.repeat(split_csv.SUBSETS, shares), report.used)
    by_track = np.lexsort((rows, place[group[rows]]))
    dealt = table.iloc[rows[by_track]].reset_index(drop=True)
    return ArtistSplit(dealt.assign(subset=subset[by_track]), report)


def check_artists(table: pd.DataFrame, source: str | Path) -> list[str]:
    """Check the table of any catalog before it is dealt or written.

    Returns
    -------
    Lines for people about what is odd but allowed: how many tracks lack a
    label, and artists whose names are almost the same.

    Raises
    ------
    InputError
        What `split_csv.check` refuses: an id that is empty or stands twice, a
        path that leaves the folder, a file in two subsets, … `subset` may be absent.
    """
    needed = [name for name in split_csv.COLUMNS if name != "subset" or name in table.columns]
    split_csv.check_split(table, source, needed)
    notes = []
    for name in table.columns.drop([column for column in needed if column != "artist"]):
        blank = int(_blank(table[name]).sum())
        if blank and not (name == "artist" and blank == len(table)):  # GTZAN has none at all
            notes.append(f"{source}: {blank} of {len(table)} tracks have no {name}")
    same = similar_names(table["artist"].dropna().unique())
    if same:
        notes.append(
            f"{source}: {len(same)} artists are spelled in several ways, which are kept apart: "
            f"{same[0][0]!r} and {same[0][1]!r}" + (" …" if len(same) > 1 else "")
        )
    return notes


def read_artists(split_path: str | Path) -> frozenset[str]:
    """The artists that a split CSV names, in any of its subsets.

    Raises
    ------
    InputError
        It cannot be read, or names no artist.
    """
    names = frozenset(
        name for name in split_csv.read_split(split_path)["artist"].unique() if artist_key(name)
    )
    if not names:
        raise InputError(
            f"{split_path}: names no artist that could be excluded; give a split with artists"
        )
    return names


def drop_artists(table: pd.DataFrame, exclude: frozenset[str]) -> tuple[pd.DataFrame, list[str]]:
    """A table with its own subsets without the artists in `exclude`, and a note on how many.

    Raises
    ------
    InputError
        No track is left.
    """
    barred, artists = _artists_in(exclude, table)
    if not barred.any():
        return table, []
    if barred.all():
        raise InputError("--exclude-artists-of: leaves no track; name another split")
    note = f"left out: {barred.sum()} tracks of {artists} artists of target sets"
    return table[~barred].reset_index(drop=True), [note]


def similar_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The names that differ in case, accents or white space only, each time as a sorted tuple."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        spellings.setdefault(artist_key(name), []).append(name)
    spellings.pop("", None)
    return [tuple(same) for same in spellings.values() if len(same) > 1]


def artist_key(name: str) -> str:
    """A name without case, accents and superfluous white space; '' where nothing is left."""
    if not name.isascii():
        apart = unicodedata.normalize("NFKD", name.casefold())
        name = "".join(mark for mark in apart if not unicodedata.combining(mark))
    return " ".join(name.casefold().split())


def _require(table: pd.DataFrame, by: str, songs: int, shares: tuple[int, int, int]) -> None:
    if sum(shares) != songs:
        train, valid, test = shares
        raise InputError(
            f"--train {train} --valid {valid} --test {test}: sum to {sum(shares)}, not to "
            f"--songs {songs}; change one of them"
        )
    if by not in table.columns:
        raise InputError(f"--by {by}: no such label; there are {', '.join(table.columns)}")
    twice = table["track_id"].duplicated().to_numpy()
    if twice.any():
        track = table["track_id"].iloc[int(np.argmax(twice))]
        raise InputError(f"track_id {track!r} stands twice in the catalog; keep one row of it")


def _require_enough(report: ArtistSplitReport, asked: int) -> None:
    if report.qualify < asked:
        without = f" without {report.excluded} excluded artists" if report.excluded else ""
        raise InputError(
            f"{report.qualify} of {report.groups} values of {report.by!r} have {report.songs} "
            f"tracks or more{without}, {asked} are asked for; lower --songs or --artists"
        )


def _blank(values: pd.Series) -> np.ndarray:
    """(rows,) bool: absent, empty or nothing but white space."""
    return values.astype("str").fillna("").str.strip().eq("").to_numpy()


def _numbered(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Each row's place among the sorted names, -1 where it has none; and these names."""
    return pd.factorize(values.mask(_blank(values)).to_numpy(dtype=object), sort=True)


def _artists_in(exclude: frozenset[str], table: pd.DataFrame) -> tuple[np.ndarray, int]:
    """(rows,) bool, the tracks of the artists in `exclude`; and how many artists these are."""
    keys = {artist_key(name) for name in exclude} - {""}
    if not keys:
        return np.zeros(len(table), dtype=bool), 0
    artist, names = _numbered(table["artist"])
    # The last is for tracks without an artist, whose number is -1.
    barred = np.array([artist_key(name) in keys for name in names] + [False])
    return barred[artist], int(barred.sum())


def _repeated(table: pd.DataFrame) -> np.ndarray:
    """(rows,) bool: the file of the track is that of a track further up."""
    if "path" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return split_csv.normalise_paths(table["path"]).duplicated().to_numpy()


def _spread(
    artist: np.ndarray, album: np.ndarray, songs: int, in_album: np.ndarray, of_albums: np.ndarray
) -> np.ndarray:
    """Indices of the first `songs` tracks of each artist, when its albums take turns.

    All arrays are (tracks,) int. `in_album` and `of_albums` are random orders:
    of the tracks in their album, and of the albums in each turn.
    """
    rows = np.lexsort((in_album, album, artist))
    turn = _number_in_runs(artist[rows], album[rows])
    rows = rows[np.lexsort((of_albums[rows], turn, artist[rows]))]
    return rows[_number_in_runs(artist[rows]) < songs]


def _number_in_runs(*codes: np.ndarray) -> np.ndarray:
    """0, 1, 2, … from the start of each run of rows in which all codes stay the same."""
    changes = np.any([code[1:] != code[:-1] for code in codes], axis=0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=len(codes[0]))
    return np.arange(len(codes[0])) - np.repeat(starts, lengths)
