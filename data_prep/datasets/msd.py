"""The Million Song Dataset with 7digital's 30 s previews: artist sets and the tag set.

Paths relative to the audio folder come from the published dictionary, for example
`8/9/8947470.clip.mp3`. The artist sets are defined by a published list of
`7digital_id/artist_index/track_index` entries, and the tag set by lists of MSD ids.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request
from data_prep.datasets.pickled_lists import load_pickled_dict, load_pickled_texts
from data_prep.split_methods import SUBSET_SIZES, TRACKS_PER_ARTIST

# ismir2018, section 4.1: sets with at least this many artists use different per-artist subset
# sizes.
LARGE_SET, LARGE_SET_SIZES = 10_000, (17, 1, 2)

# ismir2018, section 4.1: training and validation track counts for the tag model.
TAGGED = (75_000, 15_000)

ARTIST_LIST = "msd-artist-list.pkl"
PATHS = "MSD_split/7D_id_to_path.pkl"
IDS = "MSD_split/MSD_id_to_7D_id.pkl"
TAGS = "MSD_split/50tagList.txt"
TAG_VECTORS = "MSD_split/msd_id_to_tag_vector.cP"
TRAIN = "MSD_split/filtered_list_train.cP"
TEST = "MSD_split/filtered_list_test.cP"

INFO = DatasetInfo(
    title="Million Song Dataset, artist sets",
    licence="lists MIT; tags for research only; the audio previews are no longer available",
    citation='T. Bertin-Mahieux, D. P. W. Ellis, B. Whitman and P. Lamere, "The Million Song '
    'Dataset", ISMIR 2011',
    homepage="http://millionsongdataset.com",
    lists=(ARTIST_LIST, PATHS),
    metadata="a folder with the published lists (default: download them)",
)
TAG_SET_INFO = replace(
    INFO,
    title="Million Song Dataset with Last.fm tags",
    lists=(TAGS, TRAIN, TEST, TAG_VECTORS, IDS, PATHS),
)


def read_msd(request: Request) -> Catalog:
    """Return the tracks by the first `request.max_artists` artists, in list order.

    The default is all 17,591 artists. Each artist's 20 tracks are split 15/3/2 into train, valid
    and test, or 17/1/2 in sets of 10,000 artists or more. The list numbers the artists instead
    of naming them, so they are called `artist_00001` and so on. `track_id` is the 7digital id.
    """
    files = catalog.fetch_lists(INFO, request.metadata)
    path = files[ARTIST_LIST]
    table = _read_artist_list(path)
    available = len(table) // TRACKS_PER_ARTIST
    artists = available if request.max_artists is None else request.max_artists
    if artists > available:
        raise InputError(f"{path}: has {available} artists, not {artists}; ask for fewer")
    table = table[: artists * TRACKS_PER_ARTIST].reset_index(drop=True)
    sizes = SUBSET_SIZES if artists < LARGE_SET else LARGE_SET_SIZES
    table["subset"] = np.repeat(split_csv.SUBSETS, sizes)[table["number"] - 1]
    table["artist"] = [f"artist_{number:05d}" for number in table["artist"]]
    table, without_path = _add_paths(table, table["track_id"], files[PATHS])
    # A file shared by two artists could end up in two subsets.
    keep = ~table["path"].duplicated()
    table, repeated = catalog.drop_tracks(table, keep, path, "the audio of another track")
    table = table[["track_id", "path", "artist", "subset"]]
    return catalog.select_available(table, request.root, without_path + repeated)


def read_msd_tags(request: Request) -> Catalog:
    """Return tracks with Last.fm's 50 most frequent tags; their artists are unknown.

    From the published training list, 90,000 tracks are drawn at random: 75,000 for train and
    15,000 for valid. The published test list is used for test. If fewer than 90,000 tracks
    exist, they are split in the same ratio. `track_id` is the MSD id.
    """
    files = catalog.fetch_lists(TAG_SET_INFO, request.metadata)
    table = _read_tag_lists(files[TRAIN], files[TEST], request.seed)
    id_of = load_pickled_dict(files[IDS])
    has_id = table["track_id"].isin(id_of.keys())
    table, without_id = catalog.drop_tracks(table, has_id, files[IDS], "not in it")
    ids = [str(id_of[track]) for track in table["track_id"]]
    table, without_path = _add_paths(table, ids, files[PATHS])
    # Two MSD tracks may map to the same 7digital track, which must not end up in two subsets.
    keep = ~table["path"].duplicated(keep="last") | (table["subset"] == "test")
    table, repeated = catalog.drop_tracks(table, keep, files[TRAIN], "the audio of another track")
    vectors = load_pickled_dict(files[TAG_VECTORS])
    has_tags = table["track_id"].isin(vectors.keys())
    table, untagged = catalog.drop_tracks(table, has_tags, files[TAG_VECTORS], "not in it")
    notes = without_id + without_path + repeated + untagged
    found = catalog.select_available(table, request.root, notes)
    table, too_few = _draw_training_tracks(found.table, request.root)
    matrix = np.stack([np.ravel(vectors[track]) for track in table["track_id"]])
    table["tags"] = catalog.join_tags(matrix, catalog.read_lines(files[TAGS]), files[TAG_VECTORS])
    table = table[["track_id", "path", "artist", "tags", "subset"]]
    return Catalog(table, found.notes + too_few, found.missing)


def _read_artist_list(path: Path) -> pd.DataFrame:
    """Return the columns track_id, artist and number, with 20 consecutive rows per artist."""
    rows = (text.split("/") for text in load_pickled_texts(path))
    try:
        fields = [(track, int(artist), int(number)) for track, artist, number in rows]
        table = pd.DataFrame(fields, columns=["track_id", "artist", "number"])
        artists = table["artist"].to_numpy().reshape(-1, TRACKS_PER_ARTIST)
        numbers = np.sort(table["number"].to_numpy().reshape(-1, TRACKS_PER_ARTIST))
        if (artists != artists[:, :1]).any() or (numbers != np.arange(TRACKS_PER_ARTIST) + 1).any():
            raise ValueError(f"its rows are not tracks 1 to {TRACKS_PER_ARTIST} of each artist")
    except ValueError as error:
        remedy = "download it again"
        raise InputError(f"{path}: not a list of id/artist/track ({error}); {remedy}") from error
    return table


def _read_tag_lists(train: Path, test: Path, seed: int) -> pd.DataFrame:
    """Return both lists, with the random `order` in which training-list tracks are drawn."""
    train_ids, test_ids = load_pickled_texts(train), load_pickled_texts(test)
    subsets = np.repeat(["train", "test"], [len(train_ids), len(test_ids)])
    # The order covers the whole list, so that a missing file hardly changes which tracks are drawn.
    order = np.random.default_rng(seed).permutation(len(train_ids))
    order = np.concatenate([order, np.zeros(len(test_ids), dtype=int)])
    columns = {"track_id": train_ids + test_ids, "artist": "", "subset": subsets, "order": order}
    return pd.DataFrame(columns)


def _draw_training_tracks(table: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the drawn training and validation tracks and the test tracks, in list order."""
    in_train_list = table["subset"] == "train"
    drawn = table["order"][in_train_list].sort_values().index[: sum(TAGGED)]
    train = len(drawn) * TAGGED[0] // sum(TAGGED)
    table.loc[drawn[train:], "subset"] = "valid"
    note = (
        f"{root}: has {len(drawn)} of the {sum(TAGGED)} tracks to train with: {train} for train, "
        f"{len(drawn) - train} for valid"
    )
    table = table[~in_train_list | table.index.isin(drawn)].reset_index(drop=True)
    return table, [note] if len(drawn) < sum(TAGGED) else []


def _add_paths(
    table: pd.DataFrame, ids: Iterable[str], source: Path
) -> tuple[pd.DataFrame, list[str]]:
    """Add the path for each 7digital id; drop the tracks without a path, and return a note."""
    path_of = load_pickled_dict(source)
    paths = [path_of.get(each) for each in ids]
    table = table.assign(path=[str(path) for path in paths])
    return catalog.drop_tracks(
        table, [path is not None for path in paths], source, "without a path"
    )


DATASETS = {"msd": (read_msd, INFO), "msd_tags": (read_msd_tags, TAG_SET_INFO)}
