"""Tests of MTG-Jamendo's published list format: tab-separated, any number of tags per line."""

import pytest

from common.errors import InputError
from data_prep.datasets import Request, jamendo
from tests.data_prep.datasets.conftest import put

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
ROWS = [
    "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punkrock\n",
    "track_0000382\tartist_000020\talbum_000046\t82/382.mp3\t211.1"
    "\tgenre---classical\tgenre---soundtrack\tinstrument---voice\tmood/theme---happy\n",
    "track_0003524\tartist_000530\talbum_000552\t24/3524.mp3\t266.1\tmood/theme---melodic\n",
    "track_1009600\tartist_000021\talbum_000047\t00/1009600.mp3\t60.0\tgenre---60s\n",
]
META = (
    "TRACK_ID\tARTIST_ID\tALBUM_ID\tTRACK_NAME\tARTIST_NAME\tALBUM_NAME\tRELEASEDATE\tURL\n"
    'track_0000214\tartist_000014\talbum_000031\t"Intro\tEl, Niño\tLive\t2005-01-01\thttp://x/214\n'
    'track_0000382\tartist_000020\talbum_000046\tA title \t\tBoth\t12" mix\t2005-01-01\thttp://x\n'
    'track_1009600\tartist_000021\talbum_000047\t"Quoted"\tBoth\tLive\t2012-02-02\thttp://x/1\n'
)


@pytest.fixture
def data(tmp_path):
    """Return a `data` folder containing one list and no splits or names."""
    folder = tmp_path / "mtg-jamendo-dataset" / "data"
    folder.mkdir(parents=True)
    (folder / "autotagging.tsv").write_text(HEADER + "".join(ROWS), encoding="utf-8")
    return folder


@pytest.fixture
def audio(tmp_path):
    paths = ["14/214.mp3", "14/214.low.mp3", "82/382.mp3", "24/3524.mp3", "00/1009600.mp3"]
    return put(tmp_path / "audio", paths)


def split(data, name="autotagging", **rows):
    folder = data / "splits" / "split-0"
    folder.mkdir(parents=True, exist_ok=True)
    for subset, lines in rows.items():
        (folder / f"{name}-{subset}.tsv").write_text(HEADER + "".join(lines), encoding="utf-8")
    return folder


def test_reads_list_without_split(data, audio):
    catalog = jamendo.read_jamendo(Request(root=audio, metadata=data))
    table = catalog.table
    assert table.columns.tolist() == [
        *("track_id", "path", "artist", "album", "genre", "genres", "tags")
    ]
    assert table["track_id"].tolist() == [row[:13] for row in ROWS]
    assert table["path"].tolist() == ["14/214.mp3", "82/382.mp3", "24/3524.mp3", "00/1009600.mp3"]
    assert table["artist"][0] == "artist_000014" and table["album"][0] == "album_000031"
    assert table["genre"].tolist() == ["punkrock", "classical", "", "60s"]
    assert table["genres"].tolist() == ["punkrock", "classical|soundtrack", "", "60s"]
    assert table["tags"][1] == (
        "genre---classical|genre---soundtrack|instrument---voice|mood/theme---happy"
    )
    train = data / "splits" / "split-0" / "autotagging-train.tsv"
    assert catalog.notes == [
        f"{data / 'autotagging.tsv'}: has no subsets, because {train} does not exist"
    ]


def test_metadata_may_be_list_or_parent_folder(data, audio):
    whole = jamendo.read_jamendo(Request(root=audio, metadata=data)).table
    assert jamendo.read_jamendo(Request(root=audio, metadata=data.parent)).table.equals(whole)
    other = data / "raw_30s.tsv"
    other.write_bytes((HEADER + ROWS[1]).replace("\n", "\r\n").encode())
    table = jamendo.read_jamendo(Request(root=audio, metadata=other)).table
    assert table.equals(whole[1:2].reset_index(drop=True))


def test_names_may_contain_quotes_and_tabs(data, audio):
    (data / "raw.meta.tsv").write_text(META, encoding="utf-8")
    table = jamendo.read_jamendo(Request(root=audio, metadata=data)).table
    assert table["artist"].tolist() == [
        *("El, Niño", "Both (artist_000020)", "artist_000530", "Both (artist_000021)")
    ]
    assert table["album"].tolist() == [
        *("Live (album_000031)", '12" mix', "album_000552", "Live (album_000047)")
    ]
    (data / "raw.meta.tsv").write_text(META + "track_1\tartist_1\talbum_1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"raw.meta.tsv: line 5: has 3 fields, not 8"):
        jamendo.read_jamendo(Request(root=audio, metadata=data))


def test_reads_official_split(data, audio):
    # As published: the split files omit tags that do not occur in every subset.
    fewer = ROWS[1].replace("\tinstrument---voice", "")
    split(data, train=[ROWS[3], ROWS[0]], validation=[fewer], test=[])
    path = data / "splits" / "split-0" / "autotagging-test.tsv"
    with pytest.raises(InputError, match=f"{path}: lists no track"):
        jamendo.read_jamendo(Request(root=audio, metadata=data))
    split(data, train=[ROWS[3]], test=[ROWS[0]])
    catalog = jamendo.read_jamendo(Request(root=audio, metadata=data))
    assert catalog.table["track_id"].str[-4:].tolist() == ["0214", "0382", "9600"]
    assert catalog.table["subset"].tolist() == ["test", "valid", "train"]
    assert catalog.table["tags"][1] == "genre---classical|genre---soundtrack|mood/theme---happy"
    (note,) = catalog.notes
    assert note.startswith(
        f"{data / 'autotagging.tsv'}: 1 of 4 tracks are in no subset of split-0, such as "
        "'track_0003524'"
    )


def test_low_quality_audio_is_used_as_a_fallback(data, audio):
    (audio / "82" / "382.mp3").rename(audio / "82" / "382.low.mp3")
    (audio / "24" / "3524.mp3").unlink()
    catalog = jamendo.read_jamendo(Request(root=audio, metadata=data))
    assert catalog.table["path"].tolist() == ["14/214.mp3", "82/382.low.mp3", "00/1009600.mp3"]
    _, low, absent = catalog.notes
    assert low == "1 of 4 tracks are available in low quality only (.low.mp3)"
    assert "1 of 4 tracks are missing, such as '24/3524.mp3'" in absent


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (ROWS[0], r"line 3: track_0000214 is a duplicate"),
        ("track_1\tartist_1\n", r"line 3: has 2 fields, not 5 and tags"),
        (ROWS[1].replace("track_", ""), r"line 3: '0000382' does not match track_"),
        (ROWS[1].replace("82/382.mp3", "../382.mp3"), r"line 3: '../382.mp3' does not match"),
        (ROWS[1].replace("instrument---", "tool---"), r"line 3: 'tool---voice' does not match"),
    ],
)
def test_rejects_invalid_rows(data, audio, row, problem):
    (data / "autotagging.tsv").write_text(HEADER + ROWS[0] + row, encoding="utf-8")
    with pytest.raises(InputError, match=problem) as caught:
        jamendo.read_jamendo(Request(root=audio, metadata=data))
    assert str(caught.value).startswith(str(data / "autotagging.tsv"))


def test_rejects_invalid_lists(data, audio):
    path = data / "autotagging.tsv"
    for content, problem in (
        (META.encode(), "its first line is not TRACK_ID"),
        (HEADER.encode(), "lists no track"),
        (HEADER.encode() + b"\xff\n", "not a complete UTF-8 table"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=problem):
            jamendo.read_jamendo(Request(root=audio, metadata=data))
    with pytest.raises(InputError, match="--metadata: missing"):
        jamendo.read_jamendo(Request(root=audio))


def test_rejects_invalid_splits(data, audio):
    asked = Request(root=audio, metadata=data)
    split(data, train=[ROWS[0]], test=[ROWS[1]])
    with pytest.raises(InputError, match=r"autotagging-validation.tsv: no such file, but others"):
        jamendo.read_jamendo(asked)
    split(data, validation=[ROWS[2], ROWS[0]])
    with pytest.raises(InputError, match=r"validation.tsv: .*0214' is also in another subset"):
        jamendo.read_jamendo(asked)
    split(data, validation=[ROWS[0].replace("0000214", "0000999")])
    with pytest.raises(InputError, match=r"validation.tsv: .*0999' is not in autotagging"):
        jamendo.read_jamendo(asked)
