"""Tests of the Million Song Dataset's artist and tag sets, with small lists in the same formats."""

import numpy as np
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import Request, msd
from tests.data_prep.datasets.conftest import dump, put


def preview(number):
    """Return a preview's path, as in the published dictionary, from the last digits of its id."""
    return f"{str(number)[-1]}/{str(number)[-2]}/{number}.clip.mp3"


class ArtistSet:
    """Lists and audio for artists 7, 2 and 5, with 20 tracks each."""

    def __init__(self, folder, publish):
        self.folder, self.root, self.publish = folder, folder / "music", publish
        # Neither the ids nor an artist's tracks need to be in order.
        self.rows = [
            f"{1000 + 37 * track + artist}/{artist}/{track}"
            for artist in (7, 2, 5)
            for track in (*range(11, 21), *range(1, 11))
        ]
        self.paths = {row.split("/")[0]: preview(row.split("/")[0]) for row in self.rows}
        put(self.root, self.paths.values())

    def catalog(self, max_artists=None):
        dump(self.rows, self.folder / msd.ARTIST_LIST)
        dump(self.paths, self.folder / msd.PATHS)
        self.publish(self.folder, msd.INFO.lists)
        request = Request(self.root, metadata=self.folder, max_artists=max_artists)
        return msd.read_msd(request)


@pytest.fixture
def artists(tmp_path, publish):
    return ArtistSet(tmp_path, publish)


def test_artist_set_assigns_subsets_by_track_number(artists):
    catalog = artists.catalog()
    table = catalog.table
    assert (catalog.notes, catalog.missing) == ([], 0)
    assert table.columns.tolist() == ["track_id", "path", "artist", "subset"]
    assert [row.split("/")[0] for row in artists.rows] == table["track_id"].tolist()
    assert table["path"].tolist() == [preview(each) for each in table["track_id"]]
    assert table["artist"].unique().tolist() == ["artist_00007", "artist_00002", "artist_00005"]
    for row, subset in zip(artists.rows, table["subset"], strict=True):
        number = int(row.split("/")[2])
        assert subset == ("train" if number <= 15 else "valid" if number <= 18 else "test")


def test_max_artists_keeps_the_first_artists_in_the_list(artists):
    whole, part = artists.catalog().table, artists.catalog(max_artists=2).table
    assert len(part) == 40 and part.equals(whole[:40])
    with pytest.raises(InputError, match=r"artist-list\.pkl: has 3 artists, not 4; ask for fewer"):
        artists.catalog(max_artists=4)


def test_large_sets_have_more_training_tracks_per_artist(artists, monkeypatch):
    assert (msd.LARGE_SET, msd.TAGGED) == (10_000, (75_000, 15_000))
    monkeypatch.setattr(msd, "LARGE_SET", 3)
    counts = artists.catalog().table.groupby(["artist", "subset"]).size().unstack()
    assert (counts[["train", "valid", "test"]] == [17, 1, 2]).all(axis=None)
    assert (artists.catalog(max_artists=2).table["subset"] == "train").sum() == 30


def test_tracks_without_path_or_audio_are_counted(artists):
    missing, unknown = artists.rows[3].split("/")[0], artists.rows[8].split("/")[0]
    (artists.root / artists.paths[missing]).unlink()
    del artists.paths[unknown]
    catalog = artists.catalog()
    assert len(catalog.table) == 58 and not {missing, unknown} & set(catalog.table["track_id"])
    assert catalog.notes == [
        f"{artists.folder / msd.PATHS}: 1 of 60 tracks are without a path, such as {unknown!r}: "
        "left out",
        f"{artists.root}: 1 of 59 tracks are missing, such as {preview(missing)!r}: left out",
    ]
    assert catalog.missing == 1


def test_track_shared_by_two_artists_is_used_once(artists):
    artists.rows[25] = "/".join([artists.rows[4].split("/")[0], *artists.rows[25].split("/")[1:]])
    catalog = artists.catalog()
    assert len(catalog.table) == 59 and catalog.table["track_id"].is_unique
    assert "1 of 60 tracks are the audio of another track" in catalog.notes[0]


def test_rejects_audio_or_paths_that_match_no_track(artists):
    artists.root = put(artists.root / "other", ["song.mp3"])
    with pytest.raises(InputError, match=r"other: 60 of 60 tracks are missing, such as '\d/\d/"):
        artists.catalog()
    artists.paths = {"1": "0/0/1.mp3"}
    with pytest.raises(InputError, match=r"7D_id_to_path\.pkl: 60 of 60 tracks are without a path"):
        artists.catalog()


@pytest.mark.parametrize(
    ("row", "text", "problem"),
    [
        (4, "1038/7", "not a list of id/artist/track"),
        (4, "1038/7/16", "its rows are not tracks 1 to 20 of each artist"),
        (4, "1038/8/15", "its rows are not tracks 1 to 20 of each artist"),
    ],
)
def test_rejects_artist_list_in_wrong_format(artists, row, text, problem):
    artists.rows[row] = text
    with pytest.raises(InputError, match=rf"artist-list\.pkl: .*{problem}.*; download it again"):
        artists.catalog()
    artists.rows = artists.rows[:59]
    with pytest.raises(InputError, match=r"artist-list\.pkl: .*; download it again"):
        artists.catalog()


class TagSet:
    """Lists and audio for 120 training tracks and 30 test tracks, with 3 tags."""

    def __init__(self, folder, publish):
        self.folder, self.root, self.publish = folder, folder / "music", publish
        tracks = [f"TR{number:05d}" for number in range(150)]
        self.train, self.test = tracks[:120], tracks[120:]
        self.ids = {track: str(2000 + number) for number, track in enumerate(tracks)}
        self.paths = {number: preview(number) for number in self.ids.values()}
        shapes = [(3,), (3, 1), (1, 3)]
        self.hot = {track: (n & 1, n >> 1 & 1, n >> 2 & 1) for n, track in enumerate(tracks)}
        self.vectors = {
            track: np.array(self.hot[track], dtype=("f8", "i8", "b1")[n % 3]).reshape(shapes[n % 3])
            for n, track in enumerate(tracks)
        }
        self.tags = "rock\nfemale vocalists\n00s\n"
        put(self.root, self.paths.values())

    def catalog(self, seed=0):
        lists = {msd.TRAIN: self.train, msd.TEST: self.test, msd.IDS: self.ids}
        lists |= {msd.PATHS: self.paths, msd.TAG_VECTORS: self.vectors}
        for name, value in lists.items():
            dump(value, self.folder / name)
        (self.folder / msd.TAGS).write_text(self.tags, encoding="utf-8")
        self.publish(self.folder, msd.TAG_SET_INFO.lists)
        return msd.read_msd_tags(Request(self.root, metadata=self.folder, seed=seed))


@pytest.fixture
def tagged(tmp_path, publish, monkeypatch):
    monkeypatch.setattr(msd, "TAGGED", (75, 15))
    return TagSet(tmp_path, publish)


def test_tag_set_draws_training_tracks_and_keeps_the_test_list(tagged):
    catalog = tagged.catalog()
    table = catalog.table
    assert set(table["track_id"]) != set(tagged.catalog(seed=2).table["track_id"])
    assert catalog.notes == []
    assert table.columns.tolist() == ["track_id", "path", "artist", "tags", "subset"]
    assert table["subset"].value_counts().to_dict() == {"train": 75, "valid": 15, "test": 30}
    assert table["track_id"][table["subset"] == "test"].tolist() == tagged.test
    assert table["track_id"].is_monotonic_increasing  # list order is preserved
    assert (table["artist"] == "").all()
    assert table["path"].tolist() == [tagged.paths[tagged.ids[each]] for each in table["track_id"]]
    names = tagged.tags.split("\n")
    for track, text in zip(table["track_id"], table["tags"], strict=True):
        assert text == "|".join(names[n] for n in range(3) if tagged.hot[track][n])


def test_missing_track_is_replaced_by_the_next_drawn_one(tagged):
    whole = tagged.catalog().table
    missing = whole["track_id"][0]
    (tagged.root / whole["path"][0]).unlink()
    catalog = tagged.catalog()
    assert len(catalog.table) == 120 and catalog.missing == 1
    new = set(catalog.table["track_id"]) - set(whole["track_id"])
    assert set(whole["track_id"]) - set(catalog.table["track_id"]) == {missing} and len(new) == 1
    assert catalog.notes == [
        f"{tagged.root}: 1 of 150 tracks are missing, such as "
        f"{tagged.paths[tagged.ids[missing]]!r}: left out"
    ]


def test_too_few_tracks_are_split_in_the_same_ratio(tagged):
    for track in tagged.train[60:]:
        (tagged.root / tagged.paths[tagged.ids[track]]).unlink()
    catalog = tagged.catalog()
    counts = catalog.table["subset"].value_counts()
    assert counts.to_dict() == {"train": 50, "valid": 10, "test": 30}
    assert catalog.notes[1] == (
        f"{tagged.root}: has 60 of the 90 tracks to train with: 50 for train, 10 for valid"
    )


def test_tracks_missing_from_a_list_are_counted(tagged):
    del tagged.ids["TR00003"], tagged.paths[tagged.ids["TR00004"]], tagged.vectors["TR00005"]
    catalog = tagged.catalog()
    assert not {"TR00003", "TR00004", "TR00005"} & set(catalog.table["track_id"])
    assert [note.rpartition("/")[2] for note in catalog.notes] == [
        "MSD_id_to_7D_id.pkl: 1 of 150 tracks are not in it, such as 'TR00003': left out",
        "7D_id_to_path.pkl: 1 of 149 tracks are without a path, such as 'TR00004': left out",
        "msd_id_to_tag_vector.cP: 1 of 148 tracks are not in it, such as 'TR00005': left out",
    ]


def test_no_audio_file_is_in_two_subsets(tagged, tmp_path):
    tagged.ids["TR00001"] = tagged.ids["TR00130"]  # in both train and test: kept in test
    tagged.ids["TR00002"] = tagged.ids["TR00099"]
    tagged.ids["TR00131"] = tagged.ids["TR00132"]  # both are in test
    catalog = tagged.catalog()
    assert (catalog.table["subset"] == "test").sum() == 30
    assert not {"TR00001", "TR00002"} & set(catalog.table["track_id"])
    assert "filtered_list_train.cP: 2 of 150 tracks are the audio of another" in catalog.notes[0]
    split_csv.write_split(catalog.table, tmp_path / "msd_tags.csv", {"inputs": {}})


def test_rejects_tag_vectors_for_different_tags(tagged):
    tagged.tags = "rock\npop\n"
    with pytest.raises(InputError, match=r"tag_vector\.cP: not 0 and 1 for 2 tags; download"):
        tagged.catalog()


@pytest.mark.parametrize("name", ["msd", "msd_tags"])
def test_list_with_unpublished_content_is_rejected_unopened(name, tmp_path):
    read, info = msd.DATASETS[name]
    for listed in info.lists:
        dump(["a"], tmp_path / listed)  # a valid pickle with different content
        with pytest.raises(InputError, match="not the file that was published"):
            read(Request(tmp_path, metadata=tmp_path))
