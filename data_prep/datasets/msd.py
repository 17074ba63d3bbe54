"""The Million Song Dataset with 7digital's 30 s previews: the artist sets and the tag set.

The previews lie below `root` as the published dictionary has them,
`8/9/8947470.clip.mp3`. Which songs an artist set has is a published list of
`7digital_id/artist_index/song_index`; the tag set has lists of the MSD's ids.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import published_splits, split_csv
from data_prep.artist_split import SUBSET_SIZES, TRACKS_PER_ARTIST
from data_prep.datasets import pickled_lists
from data_prep.datasets.catalog import (
    Catalog,
    Request,
    keep_listed,
    only_present,
    pickled_texts,
    tag_names,
    tag_texts,
)

# ismir2018 section 4.1: songs of an artist where there are this many of them.
LARGE_SET, LARGE_SET_SIZES = 10_000, (17, 1, 2)

# ismir2018 section 4.1: songs that the tag model is trained on, and validated on.
TAGGED = (75_000, 15_000)

ARTIST_LIST = "msd-artist-list.pkl"
PATHS = "MSD_split/7D_id_to_path.pkl"
IDS = "MSD_split/MSD_id_to_7D_id.pkl"
TAGS = "MSD_split/50tagList.txt"
TAG_VECTORS = "MSD_split/msd_id_to_tag_vector.cP"
TRAIN = "MSD_split/filtered_list_train.cP"
TEST = "MSD_split/filtered_list_test.cP"

_ROW = re.compile(r"([^/]+)/([0-9]+)/([0-9]+)")


def read_msd(request: Request) -> Catalog:
    """The songs of the first `artists` artists (all 17,591 by default), in the list's order.

    Of an artist's 20 songs, 15/3/2 are for train, valid and test, or 17/1/2
    where the set has 10,000 artists or more. An artist has no name but the
    list's number, `artist_00001`. `track_id` is 7digital's.

    Raises
    ------
    InputError
        Too few artists in the list, no preview there, or a list that is not
        what it should be.
    """
    names = (ARTIST_LIST, PATHS)
    return artist_catalog(
        {n: published_splits.published_split(n, request.metadata) for n in names}, request
    )


def read_msd_tags(request: Request) -> Catalog:
    """Songs with Last.fm's 50 commonest tags; their artists are not known.

    90,000 songs are drawn by `seed` from the published training list, 75,000
    for train and 15,000 for valid; the published test list is test. Where
    fewer than 90,000 are there, they are shared out in the same ratio.
    `track_id` is the MSD's.

    Raises
    ------
    InputError
        No preview is there, or a list is not what it should be.
    """
    names = (TAGS, TRAIN, TEST, TAG_VECTORS, IDS, PATHS)
    return tag_catalog(
        {n: published_splits.published_split(n, request.metadata) for n in names}, request
    )


def artist_catalog(files: dict[str, Path], request: Request) -> Catalog:
    """`read` from {published name: file}; the columns are those of a split."""
    listed = files[ARTIST_LIST]
    table = _artist_rows(listed)
    known = len(table) // TRACKS_PER_ARTIST
    artists = known if request.artists is None else request.artists
    if artists > known:
        raise InputError(f"{listed}: has {known} artists, not {artists}; ask for fewer")
    table = table[: artists * TRACKS_PER_ARTIST].reset_index(drop=True)
    shares = SUBSET_SIZES if artists < LARGE_SET else LARGE_SET_SIZES
    table["subset"] = np.repeat(split_csv.SUBSETS, shares)[table["song"] - 1]
    table["artist"] = [f"artist_{number:05d}" for number in table["artist"]]
    table, pathless = _with_paths(table, table["track_id"], files[PATHS])
    # A file that two artists have would be in two subsets.
    table, twice = keep_listed(
        table, ~table["path"].duplicated(), listed, "the audio of another", remedy="get it again"
    )
    table, absent = only_present(table, request.root)
    return Catalog(table[["track_id", "path", "artist", "subset"]], pathless + twice + absent)


def _artist_rows(listed: Path) -> pd.DataFrame:
    """Rows of the list as track_id, artist and song; each 20 of them are one artist's."""
    rows = pickled_texts(listed)
    fields = []
    for number, row in enumerate(rows):
        match = _ROW.fullmatch(row)
        if not match:
            raise InputError(
                f"{listed}: row {number + 1}: {row!r} is not id/artist/song; get it again"
            )
        fields.append((match[1], int(match[2]), int(match[3])))
    if len(rows) % TRACKS_PER_ARTIST:
        raise InputError(
            f"{listed}: its {len(rows)} rows are not {TRACKS_PER_ARTIST} an artist; get it again"
        )
    table = pd.DataFrame(fields, columns=["track_id", "artist", "song"])
    artists = table["artist"].to_numpy().reshape(-1, TRACKS_PER_ARTIST)
    songs = np.sort(table["song"].to_numpy().reshape(-1, TRACKS_PER_ARTIST))
    wrong = (artists != artists[:, :1]).any(axis=1) | (
        songs != np.arange(TRACKS_PER_ARTIST) + 1
    ).any(axis=1)
    wrong |= pd.Series(artists[:, 0]).duplicated().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong)) * TRACKS_PER_ARTIST
        raise InputError(
            f"{listed}: row {row + 1}: {rows[row]!r} does not begin songs 1 to {TRACKS_PER_ARTIST} of a new "
            "artist; get it again"
        )
    return table


def tag_catalog(files: dict[str, Path], request: Request) -> Catalog:
    """`read_tags` from {published name: file}; columns are those of a split and `tags`."""
    table = _tag_rows(files[TRAIN], files[TEST], request.seed)
    id_of = _dictionary(files[IDS])
    table, unknown = keep_listed(
        table, table["track_id"].isin(id_of.keys()), files[IDS], "not in it", remedy="get it again"
    )
    ids = [str(id_of[track]) for track in table["track_id"]]
    table, pathless = _with_paths(table, ids, files[PATHS])
    # Two songs of the MSD may be one of 7digital's, which must not be in two subsets.
    once = ~table["path"].duplicated(keep="last") | (table["subset"] == "test")
    table, twice = keep_listed(
        table, once, files[TRAIN], "the audio of another", remedy="get it again"
    )
    vectors = _dictionary(files[TAG_VECTORS])
    table, untagged = keep_listed(
        table,
        table["track_id"].isin(vectors.keys()),
        files[TAG_VECTORS],
        "not in it",
        remedy="get it again",
    )
    table, absent = only_present(table, request.root)
    table, few = _drawn(table, request.root)
    table["tags"] = _tags(table["track_id"], vectors, tag_names(files[TAGS]), files[TAG_VECTORS])
    notes = [*unknown, *pathless, *twice, *untagged, *absent, *few]
    return Catalog(table[["track_id", "path", "artist", "tags", "subset"]], notes)


def _tag_rows(train: Path, test: Path, seed: int) -> pd.DataFrame:
    """Both lists, with the `turn` at which a song of the training list is drawn."""
    to_draw, to_test = pickled_texts(train), pickled_texts(test)
    both = set(to_draw).intersection(to_test)
    if both:
        raise InputError(f"{test}: {min(both)!r} is in {train.name} too; get the lists again")
    # The whole list is drawn from, so that a song which is not there changes little.
    turns = np.random.default_rng(seed).permutation(len(to_draw))
    return pd.DataFrame(
        {
            "track_id": to_draw + to_test,
            "artist": "",
            "subset": ["train"] * len(to_draw) + ["test"] * len(to_test),
            "turn": np.concatenate([turns, np.zeros(len(to_test), dtype=int)]),
        }
    )


def _drawn(table: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[str]]:
    """The songs whose turn came and the test list, in the lists' order."""
    to_draw = table["subset"] == "train"
    drawn = table["turn"][to_draw].sort_values().index[: sum(TAGGED)]
    train = len(drawn) * TAGGED[0] // sum(TAGGED)
    table.loc[drawn[train:], "subset"] = "valid"
    notes = []
    if len(drawn) < sum(TAGGED):
        notes = [
            f"{root}: has {len(drawn)} of the {sum(TAGGED)} songs to train with: {train} for "
            f"train, {len(drawn) - train} for valid"
        ]
    return table[~to_draw | table.index.isin(drawn)].reset_index(drop=True), notes


def _with_paths(
    table: pd.DataFrame, ids: Iterable[str], source: Path
) -> tuple[pd.DataFrame, list[str]]:
    """The tracks whose 7digital id has a path, which is added, and a note on the others."""
    path_of = _dictionary(source)
    paths = [path_of.get(each) for each in ids]
    table = table.assign(path=[str(path) for path in paths])
    known = [path is not None for path in paths]
    return keep_listed(table, known, source, "without a path", remedy="get it again")


def _tags(tracks: pd.Series, vectors: dict, tags: list[str], source: Path) -> list[str]:
    rows = [np.ravel(vectors[track]) for track in tracks]
    for track, row in zip(tracks, rows, strict=True):
        if len(row) != len(tags):
            raise InputError(
                f"{source}: {track!r} has {len(row)} values for {len(tags)} tags; get it again"
            )
    return tag_texts(np.stack(rows), tags, tracks, source)


def _dictionary(path: Path) -> dict:
    """A pickled dictionary by text: whether an id was a number there or text, is not known."""
    pickled = pickled_lists.load_pickled_list(path)
    if not isinstance(pickled, dict):
        raise InputError(f"{path}: not a dictionary; get it again")
    return {str(key): value for key, value in pickled.items()}
