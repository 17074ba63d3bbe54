"""Descriptions of artist groups by their genres, artists and sub-genres (agf2018)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from artist_groups.topics import ArtistGroups, load_groups
from common.errors import InputError
from common.files import add_suffix
from data_prep import split_csv
from report import plots
from report.result_tables import ResultTable, as_markdown, write_table

logger = logging.getLogger(__name__)

SOURCE = "artist groups"  # name used in error messages
TOP = 3  # number of genres, artists and sub-genres that describe a group


def describe_groups(
    groups: ArtistGroups, genres: pd.DataFrame, subgenres: Sequence[str] | None
) -> pd.DataFrame:
    """Describe each group by its most prominent genres, artists and sub-genres.

    `genres` are the groups' `genre_fractions`. `subgenres` names the columns of `groups.topics`,
    for groups from the sub-genre vocabulary (`s`). The columns are the number of the `group` from
    0, its `weight` (mean proportion over all artists), `genres`, `artists` and, if named,
    `subgenres`: texts such as "rock 0.62; folk 0.21", without fractions that round to 0.00.
    """
    columns = {
        "group": genres.index,
        "weight": groups.proportions.mean(axis=0),
        "genres": _name_largest(genres.to_numpy(), genres.columns),
        "artists": _name_largest(groups.proportions.T, groups.artists),
    }
    if subgenres is not None:
        columns["subgenres"] = _name_largest(groups.topics, subgenres)
    return pd.DataFrame(columns)


def genre_fractions(groups: ArtistGroups, split: pd.DataFrame) -> pd.DataFrame:
    """Return the fraction of each genre in each group, (groups, genres) float64.

    Each artist contributes the genre distribution of the artist's training tracks (tracks without
    a genre are ignored), weighted by the artist's proportion in the group. Rows sum to 1, or to 0
    if no artist in the group has a genre.
    """
    genre = split_csv.label_column(split, "genre", SOURCE)
    used = split["subset"].eq("train") & split["artist"].isin(groups.artists) & (genre != "")
    if not used.any():
        raise InputError(f"{SOURCE}: no artist has a training track with a genre in this split")
    of_artists = pd.crosstab(split["artist"][used], genre[used], normalize="index")
    of_artists = of_artists.reindex(groups.artists, fill_value=0)
    table = pd.DataFrame(groups.proportions.T @ of_artists.to_numpy(), columns=of_artists.columns)
    total = table.sum(axis=1)
    return table.div(total.where(total > 0, 1), axis=0).rename_axis(index="group", columns="genre")


def _name_largest(fractions: np.ndarray, names: ArrayLike) -> list[str]:
    """Return the names and values of the largest fractions in each row."""
    names = np.asarray(names)
    order = np.argsort(-fractions, axis=1, kind="stable")[:, :TOP]
    return [
        "; ".join(f"{names[i]} {row[i]:.2f}" for i in largest if row[i] >= 0.005)
        for row, largest in zip(fractions, order, strict=True)
    ]


def write_groups(file: Path, split_file: Path, folder: Path) -> None:
    """Write a table and a figure of the artist groups from each vocabulary, and log the tables.

    `file` was written by data_prep/2b_artist_groups.py, and `split_file` is the split that the
    groups were computed from.
    """
    stored, split = load_groups(file), split_csv.read_split(split_file)
    for word, groups in stored.groups.items():
        missing = set(groups.artists) - set(split["artist"])
        if missing:
            raise InputError(
                f"{split_file}: has no track by {min(missing)!r}, an artist with groups in {file}; "
                "give the split that the groups were made from"
            )
        path, genres = folder / f"groups_{word}", genre_fractions(groups, split)
        table = describe_groups(groups, genres, stored.subgenres if word == "s" else None)
        result = ResultTable(path.name, f"artist groups by vocabulary {word}", table)
        write_table(table, [result], path)
        title = f"genres of artist groups by vocabulary {word}"
        plots.plot_group_genres(genres, title, add_suffix(path, ".png"))
        logger.info(as_markdown(result))
