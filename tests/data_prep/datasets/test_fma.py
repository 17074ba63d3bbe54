"""Tests of FMA's lists in their published format, which has three header lines."""

import csv

import pytest

from common.errors import InputError
from data_prep.datasets import Request, fma
from tests.data_prep.datasets.conftest import put

HEADER = {  # some of the 52 columns, in their order
    "album": "comments id tags title tracks type",
    "artist": "active_year_begin bio id location members name tags wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments duration genre_top genres genres_all license tags title",
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

ROWS = {  # deliberately not sorted by id
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
def copy(tmp_path):
    """Return a request for a small copy of the dataset, with lists and audio."""
    write(tmp_path / "fma_metadata")
    tracks = ("000/000002", "000/000010", "001/001486", "098/098565", "133/133297")
    root = put(tmp_path / "audio", [f"{track}.mp3" for track in tracks])
    return Request(root=root, metadata=tmp_path / "fma_metadata")


def test_read_fma_small(copy):
    table = fma.read_fma(copy, "small").table
    assert table.columns.tolist() == [
        *("track_id", "path", "artist", "album", "genre", "genres", "subset")
    ]
    with pytest.raises(InputError, match=r"--metadata: missing"):
        fma.read_fma(Request(root=copy.root), "small")
    above = Request(root=copy.root, metadata=copy.metadata.parent)
    assert fma.read_fma(above, "small").table.equals(table)
    assert table["track_id"].tolist() == ["000002", "098565", "133297"]
    assert table["path"].tolist() == ["000/000002.mp3", "098/098565.mp3", "133/133297.mp3"]
    assert table["subset"].tolist() == ["train", "valid", "test"]
    assert table["artist"].tolist() == ["AWOL (1)", "AWOL (2)", 'The "X", Y']
    assert table["genre"].tolist() == ["Hip-Hop"] * 3
    assert table["genres"].tolist() == ["Hip-Hop", "Hip-Hop", "Rap, spoken|Hip-Hop"]
    assert set(table["album"]) == {"AWOL - A Way Of Life"}


def test_each_size_contains_the_smaller_ones(copy):
    sizes = {size: fma.read_fma(copy, size).table for size in fma.SIZES}
    assert [len(table) for table in sizes.values()] == [3, 4, 5, 5]
    large = sizes["large"].set_index("track_id")
    assert large.loc["000010", ["genre", "genres"]].tolist() == ["", ""]
    assert large.loc["001486", "album"] == ""
    # Each artist has the same label in all sizes.
    small = sizes["small"].set_index("track_id")
    assert small["artist"].equals(large["artist"][small.index])


def test_notes_describe_differences_from_the_published_dataset(copy):
    assert fma.read_fma(copy, "medium").notes == [
        "tracks.csv lists 4 tracks of fma_medium, the published one 25000",
        "3 clips of fma_medium are known to be empty or shorter than 30 s; step 2 lists those "
        "that it cannot use",
    ]
    few, absent = fma.read_fma(copy, "full").notes  # fma_full contains whole tracks, not clips
    assert few == "tracks.csv lists 6 tracks of fma_full, the published one 106574"
    assert "1 of 6 tracks are missing, such as '155/155066.mp3'" in absent
    put(copy.root, ["155/155066.mp3"])
    table = fma.read_fma(copy, "full").table.set_index("track_id")
    assert table.loc["155066", "artist"] == "Sigur Rós"
    assert table.loc["155066", "genres"] == "Rock|Techno|Electronic"


@pytest.mark.parametrize(
    ("number", "cells", "problem"),
    [
        ("T0001", {}, r"row 4: track_id 'T0001' is not a number of up to six digits"),
        ("0002", {}, r"row 5: track_id '0002' is a duplicate"),
        ("5", {"set.split": "train"}, r"row 4: set.split 'train' is not one of training, valid"),
        ("5", {"set.subset": ""}, r"row 4: set.subset '' is not one of small, medium, large, full"),
        ("5", {"artist.id": "x"}, r"row 4: artist.id 'x' is not a number"),
        ("5", {"track.genres_all": "[21"}, r"row 4: track.genres_all '\[21' is not a list of"),
        ("5", {"track.genres_all": "[21, 9]"}, r"row 4: genre 9 is not in genres.csv"),
    ],
)
def test_rejects_invalid_rows(copy, number, cells, problem):
    path = write(copy.metadata, {"2": {}, number: cells} if number == "0002" else {number: cells})
    with pytest.raises(InputError, match=problem) as caught:
        fma.read_fma(copy, "full")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


WHOLE = "not a complete UTF-8 table"
HEADER_ERROR = "does not begin with FMA's three header lines"


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("tracks.csv", lambda text: b"", HEADER_ERROR),
        ("tracks.csv", lambda text: b"track_id,title,artist\n1,a,b\n2,c,d\n", HEADER_ERROR),
        ("tracks.csv", lambda text: text.replace(b"genres_all", b"x"), "column track.genres_all"),
        ("tracks.csv", lambda text: text[: text.index(b"\n155066")], WHOLE),  # no rows left
        ("tracks.csv", lambda text: text[: text.rindex(b"and cold")], WHOLE),  # cut inside quotes
        ("tracks.csv", lambda text: text.replace("ó".encode(), b"\xf3"), WHOLE),
        ("tracks.csv", lambda text: text.replace(b",small,", b",large,"), "has no track of fma_sm"),
        ("genres.csv", lambda text: b"id,title\n1,Rock\n", "has no column genre_id"),
        ("genres.csv", lambda text: text + b"12,1,0,Rock,12\n", "genre_id '12' is a duplicate"),
        ("genres.csv", lambda text: b"", WHOLE),
    ],
)
def test_rejects_invalid_lists(copy, name, change, problem):
    path = copy.metadata / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        fma.read_fma(copy, "small")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and problem in message and "\n" not in message
    path.unlink()
    with pytest.raises(InputError, match=f"{name}: no such file; check --metadata"):
        fma.read_fma(copy, "small")
