"""FMA's lists, written as they are published: 52 columns under two lines of names and one more."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep.datasets import fma
from data_prep.datasets.catalog import Request
from data_prep.datasets.lists import unique_names

HEADER = {
    "album": "comments date_created date_released engineer favorites id information listens "
    "producer tags title tracks type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created "
    "favorites id latitude location longitude members name related_projects tags website "
    "wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top "
    "genres genres_all information interest language_code license listens lyricist number "
    "publisher tags title",
}
COLUMNS = [f"{group}.{name}" for group, names in HEADER.items() for name in names.split()]

GENRES = """genre_id,#tracks,parent,title,top_level
2,5271,0,International,2
8,1876,20,Old-Time / Historic,8
12,32923,0,Rock,12
15,34413,0,Electronic,15
21,8389,0,Hip-Hop,21
181,1000,15,Techno,15
539,13,21,"Rap, spoken",21
"""

BASE = {
    "artist.bio": '<p>A "band",\nof two lines</p>',
    "artist.id": "1",
    "artist.name": "AWOL",
    "album.title": "AWOL - A Way Of Life",
    "set.split": "training",
    "set.subset": "small",
    "track.genre_top": "Hip-Hop",
    "track.genres": "[21]",
    "track.genres_all": "[21]",
    "track.title": 'Food, "hot"\nand cold',
    "track.tags": "[]",
}

ROWS = {  # not in the order of their ids
    "155066": {"artist.id": "7", "artist.name": "Sigur Rós", "set.subset": "large"}
    | {"track.genre_top": "", "track.genres": "[12, 181]", "track.genres_all": "[12, 181, 15]"},
    "2": {},
    "98565": {"artist.id": "2", "set.split": "validation"},
    "133297": {"artist.id": "3", "artist.name": ' The "X",\n Y ', "set.split": "test"}
    | {"track.genres_all": "[539, 21]"},
    "1486": {"set.subset": "medium", "album.title": ""},
    "10": {"set.subset": "large", "track.genre_top": "", "track.genres_all": "[]"},
}


def write(folder, rows=ROWS, genres=GENRES, columns=COLUMNS):
    folder.mkdir(exist_ok=True)
    with open(folder / "tracks.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["", *(name.partition(".")[0] for name in columns)])
        writer.writerow(["", *(name.partition(".")[2] for name in columns)])
        writer.writerow(["track_id", *[""] * len(columns)])
        for number, cells in rows.items():
            writer.writerow([number, *((BASE | cells).get(name, "") for name in columns)])
    (folder / "genres.csv").write_text(genres, encoding="utf-8")
    return folder / "tracks.csv"


@pytest.fixture
def request_(tmp_path):
    """A request whose lists and audio are there."""
    write(tmp_path / "fma_metadata")
    for track in ("000/000002", "000/000010", "001/001486", "098/098565", "133/133297"):
        path = tmp_path / "audio" / f"{track}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return Request(root=tmp_path / "audio", metadata=tmp_path / "fma_metadata")


def test_small_as_it_is_published(request_):
    table = fma.read_fma(request_, "small").table
    assert table.columns.tolist() == [
        *("track_id", "path", "artist", "album", "genre", "genres", "subset")
    ]
    assert table["track_id"].tolist() == ["000002", "098565", "133297"]
    assert table["path"].tolist() == ["000/000002.mp3", "098/098565.mp3", "133/133297.mp3"]
    assert table["subset"].tolist() == ["train", "valid", "test"]
    assert table["artist"].tolist() == ["AWOL (1)", "AWOL (2)", 'The "X", Y']
    assert table["genre"].tolist() == ["Hip-Hop"] * 3
    assert table["genres"].tolist() == ["Hip-Hop", "Hip-Hop", "Rap, spoken|Hip-Hop"]
    assert set(table["album"]) == {"AWOL - A Way Of Life"}


def test_each_size_holds_those_before_it(request_):
    sizes = {size: fma.read_fma(request_, size).table for size in fma.SIZES}
    assert [len(table) for table in sizes.values()] == [3, 4, 5, 5]
    large = sizes["large"].set_index("track_id")
    assert large.loc["000010", ["genre", "genres"]].tolist() == ["", ""]
    assert large.loc["001486", "album"] == ""
    # The same artists whatever the size.
    assert (
        sizes["small"]
        .set_index("track_id")["artist"]
        .equals(large["artist"][sizes["small"]["track_id"]])
    )


def test_notes_count_what_is_not_as_published(request_):
    assert fma.read_fma(request_, "medium").notes == [
        "tracks.csv lists 4 tracks of fma_medium, the published one 25000",
        "3 clips of fma_medium are known to be empty or shorter than 30 s; step 2 names those "
        "that it cannot use",
    ]
    few, absent = fma.read_fma(request_, "full").notes  # whole songs, none of which was cut
    assert few == "tracks.csv lists 6 tracks of fma_full, the published one 106574"
    assert "1 of 6 tracks are not there, such as '155/155066.mp3'" in absent
    (request_.root / "155").mkdir()
    (request_.root / "155" / "155066.mp3").write_bytes(b"x")
    table = fma.read_fma(request_, "full").table.set_index("track_id")
    assert table.loc["155066", "artist"] == "Sigur Rós"
    assert table.loc["155066", "genres"] == "Rock|Techno|Electronic"


def test_the_folder_above_the_lists_will_do(request_, tmp_path):
    above = Request(root=request_.root, metadata=tmp_path)
    assert fma.read_fma(above, "small").table.equals(fma.read_fma(request_, "small").table)


@pytest.mark.parametrize(
    ("number", "cells", "why"),
    [
        ("T0001", {}, r"row 4: track_id 'T0001' is no number of up to six digits"),
        ("0002", {}, r"row 5: track_id '0002' stands twice"),
        ("5", {"set.split": "train"}, r"row 4: set.split 'train' is none of training, valid"),
        ("5", {"set.subset": ""}, r"row 4: set.subset '' is none of small, medium, large, full"),
        ("5", {"artist.id": "x"}, r"row 4: artist.id 'x' is no number"),
        ("5", {"track.genres_all": "[21"}, r"row 4: track.genres_all '\[21' is no list of genre"),
        ("5", {"track.genres_all": "21"}, r"row 4: track.genres_all '21' is no list of genre ids"),
        ("5", {"track.genres_all": "['a']"}, r"row 4: track.genres_all .* is no list of genre"),
        ("5", {"track.genres_all": "[21, 9]"}, r"row 4: genre 9 is not in genres.csv"),
    ],
)
def test_rows_that_are_wrong(request_, number, cells, why):
    path = write(
        request_.metadata, {"2": {}, number: cells} if number == "0002" else {number: cells}
    )
    with pytest.raises(InputError, match=why) as caught:
        fma.read_fma(request_, "full")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_lists_that_are_wrong(request_):
    path = request_.metadata / "tracks.csv"

    def said(size="small"):
        with pytest.raises(InputError) as caught:
            fma.read_fma(request_, size)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    write(request_.metadata, columns=[name for name in COLUMNS if name != "track.genres_all"])
    assert said() == f"{path}: lacks the column track.genres_all; get fma_metadata.zip again"
    path.write_text("track_id,title,artist\n1,a,b\n2,c,d\n")
    assert "does not begin with FMA's three header lines" in said()
    path.write_text("")
    assert "does not begin with FMA's three header lines" in said()
    write(request_.metadata, {})
    assert "not a whole UTF-8 table" in said()
    whole = write(request_.metadata).read_bytes()
    path.write_bytes(whole[: whole.rindex(b"and cold")])  # within quotes
    assert "not a whole UTF-8 table" in said()
    path.write_bytes(whole.replace("ó".encode(), b"\xf3"))
    assert "not a whole UTF-8 table" in said()
    path.write_bytes(whole[: whole.rindex(b"small")])  # the last row has no columns behind it
    assert "set.subset ''" in said() or "not a whole" in said()
    path.unlink()
    assert said() == f"{path}: no such file; check --metadata"
    write(request_.metadata, {"5": {"set.subset": "large"}})
    assert said() == f"{path}: has no track of fma_small; get it again"


def test_genre_lists_that_are_wrong(request_):
    path = request_.metadata / "genres.csv"
    for text, why in (
        ("id,title\n1,Rock\n", "lacks the column genre_id"),
        (GENRES + "12,1,0,Rock,12\n", "genre_id '12' stands twice"),
        ("", "not a whole UTF-8 table"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=why) as caught:
            fma.read_fma(request_, "small")
        assert str(caught.value).startswith(f"{path}: ")
    path.unlink()
    with pytest.raises(InputError, match=r"genres.csv: no such file; check --metadata"):
        fma.read_fma(request_, "small")


def test_lists_and_audio_that_are_not_given(request_, tmp_path):
    with pytest.raises(InputError, match=r"--metadata: FMA needs it"):
        fma.read_fma(Request(root=tmp_path), "small")
    with pytest.raises(InputError, match=r"3 of 3 tracks are not there, such as '000/"):
        fma.read_fma(Request(root=tmp_path, metadata=request_.metadata), "small")


@given(st.lists(st.tuples(st.sampled_from("123 "), st.sampled_from(["a", " a", "b", "a (1)", ""]))))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_no_two_ids_have_one_name(pairs):
    ids, names = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    labels = unique_names(ids, names)
    assert set(labels) == set(ids) and len(set(labels.values())) == len(labels)


def test_names_that_look_like_told_apart():
    assert unique_names("3127", ["c d", "a", "a", "a (1)"]) == {
        **{"3": "c d", "1": "a (1) (1)", "2": "a (2)", "7": "a (1) (7)"}
    }
    assert unique_names(["1", "1", "2"], ["a", "b", ""]) == {"1": "a", "2": "2"}
