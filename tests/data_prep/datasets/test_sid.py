"""Tests of the High Voltage SID Collection; its files are written here."""

import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import Request, load_dataset
from tests.conftest import run_in_process
from tests.data_prep.tunes import tune, write_tunes


@pytest.fixture
def collection(tmp_path):
    """Write a collection with three artists to train on, two others, and tunes to leave out."""
    music = tmp_path / "C64Music" / "MUSICIANS"
    write_tunes(music / "A" / "Adams_Ann", 18, flags=0x28, released="199? Band")
    write_tunes(music / "A" / "Adams_Ann" / "Worktunes", 3)
    write_tunes(music / "B" / "Band" / "Baker_Bob", 20)
    write_tunes(music / "B" / "Band" / "Brown_Bea", 20)
    write_tunes(music / "C" / "Cole_Cy", 19)
    write_tunes(music / "D" / "Dean_Di", 8)
    write_tunes(music / "E" / "Few", 7)
    write_tunes(tmp_path / "C64Music" / "DEMOS" / "A-F", 9)
    for name, fields in {
        "rsid": {"magic": b"RSID"},
        "basic": {"magic": b"RSID", "flags": 2},
        "two_chips": {"version": 3, "chips": b"\x42\0"},
        "two_authors": {"author": "Cy Cole & Di Dean"},
        "unknown": {"author": "<?>"},
        "mus": {"flags": 1},
        "damaged": {"offset": 9999},
    }.items():
        content = tune(data=name.encode(), **fields)
        (music / "C" / "Cole_Cy" / f"{name}.sid").write_bytes(content)
    (music / "C" / "Cole_Cy" / "dangling.sid").symlink_to("absent")
    (music / "X.sid").write_bytes(tune(data=b"artist missing"))
    copied = (music / "A" / "Adams_Ann" / "00.sid").read_bytes()
    (music / "A" / "Adams_Ann" / "z.sid").write_bytes(copied)
    for folder in ("D/Dean_Di", "E/Few"):
        (music / folder / "shared.sid").write_bytes(tune(data=b"shared"))
    return tmp_path


def read(name, root):
    return load_dataset(name)[0](Request(root))


def test_artists_are_the_deepest_folders_other_than_worktunes(collection):
    table = read("sid", collection).table
    counts = table["artist"].value_counts().to_dict()
    assert counts == {"Adams_Ann": 21, "Band+Baker_Bob": 20, "Band+Brown_Bea": 20}
    assert "subset" not in table
    work = table[table["track_id"].eq("C64Music/MUSICIANS/A/Adams_Ann/Worktunes/02")].iloc[0]
    assert work["path"] == "C64Music/MUSICIANS/A/Adams_Ann/Worktunes/02.sid"
    assert work[["title", "released", "decade", "chip", "clock"]].tolist() == [
        *("A Tune", "1987 Some Company", "1980s", "6581", "PAL")
    ]
    other = table[table["track_id"].eq("C64Music/MUSICIANS/A/Adams_Ann/02")].iloc[0]
    assert other[["decade", "chip", "clock"]].tolist() == ["1990s", "8580", "NTSC"]


def test_unseen_artists_have_8_to_19_tunes_and_are_all_in_test(collection):
    table = read("sid_unseen", collection).table
    assert table["artist"].value_counts().to_dict() == {"Cole_Cy": 19, "Dean_Di": 8}
    assert set(table["subset"]) == {"test"}
    assert not set(table["artist"]) & set(read("sid", collection).table["artist"])


def test_each_cleaning_rule_is_counted(collection):
    notes = read("sid", collection).notes
    counted = [note.partition("MUSICIANS: ")[2].partition(", such as")[0] for note in notes]
    assert counted == [
        "2 of 107 tracks are damaged or unreadable",
        "2 of 105 tracks are RSID tunes",
        "1 of 103 tracks are for another player",
        "1 of 102 tracks are for several chips",
        "2 of 101 tracks are by several authors or an unknown one",
        "1 of 99 tracks are outside an artist's folder",
        "2 of 98 tracks are the same as another artist's",
        "1 of 96 tracks are the same as another of their artist's",
        "34 of 95 tracks are by artists with fewer than 20",
    ]


def test_collection_may_start_at_musicians(collection):
    tracks = read("sid", collection / "C64Music").table["track_id"]
    assert tracks.str.startswith("MUSICIANS/").all() and len(tracks) == 61


def test_folder_without_a_collection_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"has neither tunes\.csv nor a folder MUSICIANS; unpack"):
        read("sid", tmp_path)
    write_tunes(tmp_path / "MUSICIANS" / "A" / "A", 7)
    with pytest.raises(InputError, match=r"7 of 7 tracks are by artists with fewer than 20"):
        read("sid", tmp_path)


HEADER = "path,set,artist,title,released,country,decade,chip,clock\n"


def test_list_of_tunes_is_used_as_it_is(tmp_path):
    write_tunes(tmp_path / "Adams_Ann", 4)
    write_tunes(tmp_path / "Band+Bob", 2)
    rows = [f"Adams_Ann/{n:02}.sid,train,Adams_Ann,Ä,19?? X,,?0s,?,PAL\n" for n in range(5)]
    rows += [f"Band+Bob/{n:02}.sid,unseen,Band+Bob,b,1987 X,PERU,1980s,ANY,?\n" for n in range(2)]
    (tmp_path / "tunes.csv").write_text(HEADER + "".join(rows), encoding="utf-8")
    train, unseen = read("sid", tmp_path), read("sid_unseen", tmp_path)
    assert train.table["track_id"].tolist() == [f"Adams_Ann/{n:02}" for n in range(4)]
    assert train.table.iloc[0].to_dict() == {
        "track_id": "Adams_Ann/00",
        "path": "Adams_Ann/00.sid",
        "artist": "Adams_Ann",
        "title": "Ä",
        "released": "19?? X",
        **{"country": "", "decade": "", "chip": "", "clock": "PAL"},
    }
    assert train.missing == 1 and "missing, such as 'Adams_Ann/04.sid'" in train.notes[0]
    assert unseen.table[["artist", "country", "chip", "clock", "subset"]].values.tolist() == (
        [["Band+Bob", "PERU", "ANY", "", "test"]] * 2
    )


def test_tunes_without_an_artist_in_a_list_are_left_out_or_rejected(tmp_path):
    write_tunes(tmp_path / "a", 2)
    (tmp_path / "tunes.csv").write_text("path,set,artist\na/00.sid,train,A\na/01.sid,train,\n")
    found = read("sid", tmp_path)
    assert found.table["track_id"].tolist() == ["a/00"]
    assert "1 of 2 tracks are without an artist, such as 'a/01.sid'" in found.notes[-1]
    (tmp_path / "tunes.csv").write_text("path,set,composer\na/00.sid,train,A\n")
    with pytest.raises(InputError, match=r"tunes\.csv: names no artist; add a column artist"):
        read("sid", tmp_path)


def test_list_without_a_set_of_unseen_tunes_is_used_except_for_training_tunes(tmp_path):
    write_tunes(tmp_path / "a", 2)
    (tmp_path / "tunes.csv").write_text("path,artist\na/00.sid,A\na/01.sid,A\n")
    found = read("sid_unseen", tmp_path)
    assert found.table["subset"].tolist() == ["test"] * 2 and "set" not in found.table
    assert found.notes[0].endswith("tunes.csv: has no column set: all tunes are unseen")
    (tmp_path / "tunes.csv").write_text("path,artist,set\na/00.sid,A,kept\na/01.sid,A,train\n")
    found = read("sid_unseen", tmp_path)
    assert found.table["track_id"].tolist() == ["a/00"]
    assert "has no set 'unseen': the tunes of the set 'kept' are unseen" in found.notes[0]
    assert "1 of 2 tracks are of the set 'train'" in found.notes[1]
    (tmp_path / "tunes.csv").write_text("path,artist,set\na/00.sid,A,train\n")
    with pytest.raises(InputError, match="1 of 1 tracks are of the set 'train', such as"):
        read("sid_unseen", tmp_path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (HEADER + "../00.sid,train,A,,,,,,\n", "is not below the audio folder"),
        (HEADER.replace("set", "part") + "a/00.sid,train,A,,,,,,\n", "has no column set"),
        (HEADER + "a/00.sid,other,A,,,,,,\n", "1 of 1 tracks are of another set than 'train'"),
        (HEADER, "lists no track"),
    ],
)
def test_list_that_names_no_tune_to_use_is_rejected(tmp_path, content, error):
    write_tunes(tmp_path / "a", 1)
    (tmp_path / "tunes.csv").write_text(content)
    with pytest.raises(InputError, match=error):
        read("sid", tmp_path)


def test_sid_splits_are_made_by_artist(collection, tmp_path):
    out = tmp_path / "sid.csv"
    command = "data_prep/1_make_splits.py", "sid", "--root", collection, "--out", out
    assert "45 train, 9 valid, 6 test" in run_in_process(*command).out
    assert split_csv.read_split(out)["chip"].isin(("6581", "8580")).all()
