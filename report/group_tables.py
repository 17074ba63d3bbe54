"""What artist groups are made of, in words: their genres, artists and sub-genres (agf2018)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from artist_groups import groups_file
from common.errors import InputError
from common.files import add_suffix
from data_prep import split_csv
from report import plots
from report.result_tables import ResultTable, as_markdown, write_table

logger = logging.getLogger(__name__)

SOURCE = "artist groups"  # in messages


def describe_groups(
    shares: ArrayLike,
    artists: ArrayLike,
    split: pd.DataFrame,
    top: int = 3,
    *,
    symbols: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Describe each group by those who have most of it.

    Parameters
    ----------
    shares : (a, groups) float
        Of each artist; every row sums to 1.
    artists : (a,) str
    split : DataFrame
        Its training tracks say what genres the artists are of (`genre`), see `genres_of_groups`.
    top
        How many genres, artists and sub-genres to name, those with most first.
    symbols : (groups, size) float
        Of the word s: how much of a group each sub-genre is.
    names : (size,) str
        These sub-genres.

    Returns
    -------
    DataFrame
        A row a group, in order: `group`, its number from 0; `weight`, the mean share of
        the artists, which sum to 1; `genres`, `artists` and, with `symbols`, `subgenres`:
        texts such as `rock 0.62; folk 0.21`. The number is a genre's or sub-genre's part
        of the group, and an artist's own share. What has none, to two
        digits, is not named.

    Raises
    ------
    InputError
        Shapes that do not fit, or no column `genre`.
    """
    shares, artists = _checked(shares, artists)
    genres = genres_of_groups(shares, artists, split)
    table = pd.DataFrame(
        {
            "group": np.arange(shares.shape[1]),
            "weight": shares.mean(axis=0),
            "genres": _texts(genres.to_numpy(), genres.columns, top),
            "artists": _texts(shares.T, artists, top),
        }
    )
    if symbols is None:
        return table
    symbols = np.asarray(symbols, np.float64)
    if names is None or symbols.shape != (len(table), len(names)):
        raise InputError(
            f"{SOURCE}: symbols of shape {symbols.shape} for {len(table)} groups and "
            f"{len(names or ())} sub-genres; take all from one file"
        )
    return table.assign(subgenres=_texts(symbols, names, top))


def genres_of_groups(shares: ArrayLike, artists: ArrayLike, split: pd.DataFrame) -> pd.DataFrame:
    """The genres of each group's artists: a heat map in numbers.

    An artist is of a genre by the part of the training tracks that are, tracks without
    one aside, and counts in a group by the artist's share of it.

    Returns
    -------
    DataFrame
        (groups, genres) float64, the genres sorted; every row sums to 1, unless no artist
        of the group has a genre.

    Raises
    ------
    InputError
        Shapes that do not fit, no column `genre`, or no artist with a genre.
    """
    shares, artists = _checked(shares, artists)
    genre = split_csv.label_column(split, "genre", SOURCE)
    used = (split["subset"].eq("train") & split["artist"].isin(artists)).to_numpy() & (genre != "")
    if not used.any():
        raise InputError(f"{SOURCE}: no artist has a training track with a genre in this split")
    counts = pd.crosstab(split["artist"][used], genre[used], colnames=["genre"])
    of_artists = counts.div(counts.sum(axis=1), axis=0).reindex(artists, fill_value=0)
    table = pd.DataFrame(shares.T @ of_artists.to_numpy(np.float64), columns=counts.columns)
    table.index.name = "group"
    total = table.sum(axis=1)
    return table.div(total.where(total > 0, 1), axis=0)


def _checked(shares: ArrayLike, artists: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    shares, artists = np.asarray(shares, np.float64), np.asarray(artists, object)
    if shares.ndim != 2 or artists.shape != shares.shape[:1] or not shares.size:
        raise InputError(
            f"{SOURCE}: shares of shape {shares.shape} for {artists.size} artists; "
            "give one row an artist"
        )
    return shares, artists


def _texts(parts: np.ndarray, names: Sequence[str], top: int) -> list[str]:
    """Of each row (n, len(names)), its greatest parts by name; the first of equals first."""
    order = np.argsort(-parts, axis=1, kind="stable")[:, :top]
    return [
        "; ".join(f"{names[i]} {row[i]:.2f}" for i in most if row[i] >= 0.005)
        for row, most in zip(parts, order, strict=True)
    ]


def write_groups(file: Path, split_file: Path, folder: Path) -> None:
    """What artist groups are made of, each word a table and a figure; yields what to say of them.

    Raises
    ------
    InputError
        The split is not the one that they were made of.
    """
    prepared, split = groups_file.load_groups(file), split_csv.read_split(split_file)
    for word, found in prepared.groups.items():
        given = found.proportions, found.artists, split
        strangers = set(found.artists) - set(split["artist"])
        if strangers:
            raise InputError(
                f"{split_file}: has no track by {min(strangers)!r}, of whom {file} has "
                "groups; name the split that they were made of"
            )
        subgenres = {"symbols": found.topics, "names": prepared.subgenres} if word == "s" else {}
        path = folder / f"groups_{word}"
        table = describe_groups(*given, **subgenres)
        sheet = ResultTable(path.name, f"artist groups by the word {word}", table)
        write_table(table, [sheet], path)
        title = f"genres of artist groups by the word {word}"
        plots.plot_group_genres(genres_of_groups(*given), title, add_suffix(path, ".png"))
        logger.info("%s", as_markdown(sheet))
