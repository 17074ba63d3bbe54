"""The Million Song Dataset's artist sets and tag set, from made-up lists in their formats."""

import time

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from data_prep import published_splits, split_csv
from data_prep.datasets import msd
from data_prep.datasets.catalog import Request, find_present, only_present, pickled_texts, tag_names
from tests.data_prep.datasets import python2


def preview(number):
    """Where the published dictionary has a preview: by the last digits of its id."""
    return f"{str(number)[-1]}/{str(number)[-2]}/{number}.clip.mp3"


def put(root, paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


# ---------------------------------------------------------------- artist sets


class ArtistSet:
    """Artists 7, 2 and 5 with 20 songs each, and their audio."""

    def __init__(self, folder, protocol=0):
        self.root, self.protocol = folder / "music", protocol
        # Neither the ids nor the songs of an artist need be in order.
        self.rows = [
            f"{1000 + 37 * song + artist}/{artist}/{song}"
            for artist in (7, 2, 5)
            for song in (*range(11, 21), *range(1, 11))
        ]
        self.paths = {row.split("/")[0]: preview(row.split("/")[0]) for row in self.rows}
        put(self.root, self.paths.values())
        self.files = {name: folder / name for name in (msd.ARTIST_LIST, msd.PATHS)}

    def catalog(self, artists=None):
        python2.dump(self.rows, self.files[msd.ARTIST_LIST], self.protocol)
        python2.dump(self.paths, self.files[msd.PATHS], self.protocol)
        return msd.artist_catalog(self.files, Request(self.root, artists=artists))


@pytest.fixture
def artists(tmp_path):
    return ArtistSet(tmp_path)


@pytest.mark.parametrize("protocol", [0, 2])
def test_songs_are_shared_out_by_their_number(tmp_path, protocol):
    artists = ArtistSet(tmp_path, protocol)
    found = artists.catalog()
    table = found.table
    assert found.notes == []
    assert table.columns.tolist() == ["track_id", "path", "artist", "subset"]
    assert [row.split("/")[0] for row in artists.rows] == table["track_id"].tolist()
    assert table["path"].tolist() == [preview(each) for each in table["track_id"]]
    assert table["artist"].unique().tolist() == ["artist_00007", "artist_00002", "artist_00005"]
    for row, subset in zip(artists.rows, table["subset"], strict=True):
        song = int(row.split("/")[2])
        assert subset == ("train" if song <= 15 else "valid" if song <= 18 else "test")


def test_fewer_artists_are_the_first_of_the_list(artists):
    whole, part = artists.catalog().table, artists.catalog(artists=2).table
    assert len(part) == 40 and part.equals(whole[:40])
    with pytest.raises(InputError, match=r"artist-list\.pkl: has 3 artists, not 4; ask for fewer"):
        artists.catalog(artists=4)


def test_large_sets_train_with_more_songs_of_each(artists, monkeypatch):
    monkeypatch.setattr(msd, "MANY", 3)
    counts = artists.catalog().table.groupby(["artist", "subset"]).size().unstack()
    assert (counts[["train", "valid", "test"]] == [17, 1, 2]).all(axis=None)
    assert (artists.catalog(artists=2).table["subset"] == "train").sum() == 30


def test_the_papers_numbers():
    assert (msd.SONGS, msd.SHARES, msd.TAGGED) == (20, (15, 3, 2), (75_000, 15_000))
    assert (msd.LARGE_SET, msd.LARGE_SET_SIZES) == (10_000, (17, 1, 2))


def test_songs_without_path_or_audio(artists):
    gone, unknown = artists.rows[3].split("/")[0], artists.rows[8].split("/")[0]
    (artists.root / artists.paths[gone]).unlink()
    del artists.paths[unknown]
    found = artists.catalog()
    assert len(found.table) == 58 and not {gone, unknown} & set(found.table["track_id"])
    assert found.notes == [
        f"{artists.files[msd.PATHS]}: 1 of 60 tracks are without a path, such as {unknown!r}: "
        "left out",
        f"{artists.root}: 1 of 59 tracks are not there, such as {preview(gone)!r}: left out",
    ]


def test_a_song_that_two_artists_have(artists):
    artists.rows[25] = (
        artists.rows[4].split("/")[0] + artists.rows[25][artists.rows[25].index("/") :]
    )
    found = artists.catalog()
    assert len(found.table) == 59 and found.table["track_id"].is_unique
    assert "1 of 60 tracks are the audio of another" in found.notes[0]


def test_ids_that_are_numbers_in_the_dictionary(artists):
    artists.paths = {int(number): path for number, path in artists.paths.items()}
    assert len(artists.catalog().table) == 60


def test_nothing_is_there(artists):
    artists.root = put(artists.root / "other", ["song.mp3"])
    with pytest.raises(InputError, match=r"other: 60 of 60 tracks are not there, such as '\d/\d/"):
        artists.catalog()
    artists.paths = {"1": "0/0/1.mp3"}
    with pytest.raises(InputError, match=r"7D_id_to_path\.pkl: 60 of 60 tracks are without a path"):
        artists.catalog()


@pytest.mark.parametrize(
    ("row", "text", "why"),
    [
        (4, "1038/7", "row 5: '1038/7' is not id/artist/song"),
        (4, "1038/seven/1", "row 5: '1038/seven/1' is not id/artist/song"),
        (4, "/7/15", "row 5: '/7/15' is not id/artist/song"),
        (4, "1038/7/16", "row 1: '1414/7/11' does not begin songs 1 to 20"),
        (4, "1038/7/21", "row 1: .* does not begin"),
        (4, "1038/8/15", "row 1: .* does not begin"),
        (25, "1038/7/16", "row 21: '1409/2/11' does not begin"),
        (4, "1414/7/11", "row 5: '1414/7/11' stands twice"),
        (4, 12, "row 5 is 12, not text"),
    ],
)
def test_rows_that_are_wrong(artists, row, text, why):
    artists.rows[row] = text
    with pytest.raises(InputError, match=rf"msd-artist-list\.pkl: {why}.*; get it again"):
        artists.catalog()


def test_lists_that_are_wrong(artists):
    artists.rows = artists.rows + [row.replace("/7/", "/2/") for row in artists.rows[:20]]
    with pytest.raises(InputError, match=r"row 61: .* does not begin songs 1 to 20 of a new"):
        artists.catalog()
    artists.rows.pop()
    with pytest.raises(InputError, match="its 79 rows are not 20 an artist"):
        artists.catalog()
    artists.rows, artists.paths = artists.rows[:60], ["0/0/1.mp3"]
    with pytest.raises(InputError, match=r"7D_id_to_path\.pkl: not a dictionary"):
        artists.catalog()


@pytest.mark.parametrize("path", ["../1.mp3", "/1.mp3", "a/../../1.mp3", "C:/1.mp3", ""])
def test_paths_that_leave_the_folder(artists, path):
    artists.paths[artists.rows[0].split("/")[0]] = path
    with pytest.raises(InputError, match="a listed path that cannot lie below"):
        artists.catalog()


# ---------------------------------------------------------------- the tag set


class TagSet:
    """120 songs to draw from and 30 to test with, and their audio; 3 tags."""

    def __init__(self, folder):
        self.root = folder / "music"
        songs = [f"TR{number:05d}" for number in range(150)]
        self.train, self.test = songs[:120], songs[120:]
        self.ids = {song: str(2000 + number) for number, song in enumerate(songs)}
        self.paths = {number: preview(number) for number in self.ids.values()}
        shapes = [(3,), (3, 1), (1, 3)]
        self.hot = {song: (n & 1, n >> 1 & 1, n >> 2 & 1) for n, song in enumerate(songs)}
        self.vectors = {
            song: np.array(self.hot[song], dtype=("f8", "i8", "b1")[n % 3]).reshape(shapes[n % 3])
            for n, song in enumerate(songs)
        }
        self.tags = "rock\nfemale vocalists\n00s\n"
        put(self.root, self.paths.values())
        names = (msd.TAGS, msd.TRAIN, msd.TEST, msd.TAG_VECTORS, msd.IDS, msd.PATHS)
        self.files = {name: folder / name for name in names}

    def catalog(self, seed=0):
        python2.dump(self.train, self.files[msd.TRAIN], 0)
        python2.dump(self.test, self.files[msd.TEST], 0)
        python2.dump(self.ids, self.files[msd.IDS], 2)
        python2.dump(self.paths, self.files[msd.PATHS], 2)
        python2.dump(self.vectors, self.files[msd.TAG_VECTORS], 0)
        self.files[msd.TAGS].write_text(self.tags, encoding="utf-8")
        return msd.tag_catalog(self.files, Request(self.root, seed=seed))


@pytest.fixture
def tagged(tmp_path, monkeypatch):
    monkeypatch.setattr(msd, "TAGGED", (75, 15))
    return TagSet(tmp_path)


def test_songs_are_drawn_and_the_test_list_is_test(tagged):
    found = tagged.catalog()
    table = found.table
    assert found.notes == []
    assert table.columns.tolist() == ["track_id", "path", "artist", "tags", "subset"]
    assert table["subset"].value_counts().to_dict() == {"train": 75, "valid": 15, "test": 30}
    assert table["track_id"][table["subset"] == "test"].tolist() == tagged.test
    assert table["track_id"].is_monotonic_increasing  # the lists' order
    assert (table["artist"] == "").all()
    assert table["path"].tolist() == [tagged.paths[tagged.ids[each]] for each in table["track_id"]]
    names = tagged.tags.split("\n")
    for song, text in zip(table["track_id"], table["tags"], strict=True):
        assert text == "|".join(names[n] for n in range(3) if tagged.hot[song][n])


def test_the_seed_decides_which_songs(tagged):
    one, same, other = tagged.catalog(1).table, tagged.catalog(1).table, tagged.catalog(2).table
    assert one.equals(same) and set(one["track_id"]) != set(other["track_id"])
    both = one.merge(other, on="track_id")
    assert (both["subset_x"] != both["subset_y"]).any()


def test_the_next_song_takes_the_place_of_one_that_is_not_there(tagged):
    whole = tagged.catalog().table
    gone = whole["track_id"][0]
    (tagged.root / whole["path"][0]).unlink()
    found = tagged.catalog()
    assert len(found.table) == 120
    new = set(found.table["track_id"]) - set(whole["track_id"])
    assert set(whole["track_id"]) - set(found.table["track_id"]) == {gone} and len(new) == 1
    assert found.notes == [
        f"{tagged.root}: 1 of 150 tracks are not there, such as "
        f"{tagged.paths[tagged.ids[gone]]!r}: left out"
    ]


def test_too_few_songs_are_shared_out_all_the_same(tagged):
    for song in tagged.train[60:]:
        (tagged.root / tagged.paths[tagged.ids[song]]).unlink()
    found = tagged.catalog()
    counts = found.table["subset"].value_counts()
    assert counts.to_dict() == {"train": 50, "valid": 10, "test": 30}
    assert found.notes[1] == (
        f"{tagged.root}: has 60 of the 90 songs to train with: 50 for train, 10 for valid"
    )


def test_songs_that_a_list_does_not_know(tagged):
    del tagged.ids["TR00003"], tagged.paths[tagged.ids["TR00004"]], tagged.vectors["TR00005"]
    found = tagged.catalog()
    assert not {"TR00003", "TR00004", "TR00005"} & set(found.table["track_id"])
    assert [note.rpartition("/")[2] for note in found.notes] == [
        "MSD_id_to_7D_id.pkl: 1 of 150 tracks are not in it, such as 'TR00003': left out",
        "7D_id_to_path.pkl: 1 of 149 tracks are without a path, such as 'TR00004': left out",
        "msd_id_to_tag_vector.cP: 1 of 148 tracks are not in it, such as 'TR00005': left out",
    ]


def test_no_file_is_in_two_subsets(tagged, tmp_path):
    tagged.ids["TR00001"] = tagged.ids["TR00130"]  # in train and test: test keeps it
    tagged.ids["TR00002"] = tagged.ids["TR00099"]
    tagged.ids["TR00131"] = tagged.ids["TR00132"]  # both in test
    found = tagged.catalog()
    assert (found.table["subset"] == "test").sum() == 30
    assert not {"TR00001", "TR00002"} & set(found.table["track_id"])
    assert "filtered_list_train.cP: 2 of 150 tracks are the audio of another" in found.notes[0]
    split_csv.write_split(found.table, tmp_path / "msd_tags.csv", {"inputs": {}})


@pytest.mark.parametrize(
    ("vector", "why"),
    [
        (np.array([1, 0]), "'TR00120' has 2 values for 3 tags"),
        (np.array([1, 0, 3]), "'TR00120' has values other than 0 and 1"),
        (["a", "b", "c"], "holds <U.*, not numbers"),
        (5, "'TR00120' has 1 values for 3 tags"),
    ],
)
def test_tag_vectors_that_are_wrong(tagged, vector, why):
    tagged.vectors["TR00120"] = vector
    with pytest.raises(InputError, match=rf"msd_id_to_tag_vector\.cP: {why}.*; get it again"):
        tagged.catalog()


def test_vectors_may_be_lists(tagged):
    tagged.vectors = {song: list(hot) for song, hot in tagged.hot.items()}
    assert tagged.catalog().table["tags"].ne("").any()


def test_lists_of_tagged_songs_that_are_wrong(tagged):
    tagged.tags = "rock\npop\n"
    with pytest.raises(InputError, match="has 3 values for 2 tags"):
        tagged.catalog()
    tagged.test.append("TR00007")
    with pytest.raises(InputError, match=r"test\.cP: 'TR00007' is in filtered_list_train\.cP too"):
        tagged.catalog()
    tagged.test[-1] = "TR00121"
    with pytest.raises(InputError, match="row 31: 'TR00121' stands twice"):
        tagged.catalog()


@pytest.mark.parametrize("read", [msd.read_msd, msd.read_msd_tags])
def test_another_file_than_the_published_one(read, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(msd, "artist_catalog", lambda files, request: asked.extend(files))
    monkeypatch.setattr(msd, "tag_catalog", lambda files, request: asked.extend(files))
    (tmp_path / "mirror").mkdir()
    with pytest.raises(InputError, match=r"msd-artist-list\.pkl|50tagList\.txt"):
        read(Request(tmp_path, metadata=tmp_path / "mirror"))
    registered = set(pd.read_csv(published_splits.REGISTRY)["name"])
    monkeypatch.setattr(
        published_splits, "published_split", lambda name, mirror: registered.remove(name)
    )
    read(Request(tmp_path))
    assert len(asked) == {msd.read_msd: 2, msd.read_msd_tags: 6}[read]


def test_the_published_test_list(music_data):
    folder = music_data / "data" / "splits" / "MSD_split"
    songs = pickled_texts(folder / "filtered_list_test.cP")
    assert len(songs) == 28_435 and songs[0] == "TRAADIN128F931D672"
    assert all(song.startswith("TR") and len(song) == 18 for song in songs)
    tags = tag_names(folder / "50tagList.txt")
    assert len(tags) == 50 and tags[:2] == ["rock", "pop"] and tags[-1] == "happy"


# ---------------------------------------------------------------- which files are there


def test_files_folders_and_links(tmp_path):
    put(tmp_path, ["a/1.mp3", "2.mp3", "a/folder.mp3/3.mp3"])
    (tmp_path / "link.mp3").symlink_to("2.mp3")
    (tmp_path / "broken.mp3").symlink_to("nowhere.mp3")
    paths = ["a/1.mp3", "2.mp3", "./2.mp3", "a/2.mp3", "a/folder.mp3", "b/1.mp3", "2.mp3/1.mp3"]
    paths += ["link.mp3", "broken.mp3", "a//1.mp3"]
    there = [True, True, True, False, False, False, False, True, False, True]
    assert find_present(tmp_path, paths).tolist() == there
    assert find_present(tmp_path, []).shape == (0,)


def test_many_tracks_in_little_time(tmp_path):
    """200,000 tracks in five folders of ten; a million takes five times as long."""
    put(tmp_path, [preview(number) for number in range(1000, 1100)])
    paths = [preview(number) for number in range(1000, 201_000)]
    table = pd.DataFrame({"track_id": paths, "path": paths})
    start = time.process_time()
    table, notes = only_present(table, tmp_path)
    assert time.process_time() - start < 5
    assert len(table) == 100 and "199900 of 200000" in notes[0]
