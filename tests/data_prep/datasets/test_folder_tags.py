"""Labels from the tags of real files, as other programs write them."""

import os
import unicodedata

import mutagen
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.apev2 import APEv2
from mutagen.id3 import ID3, TALB, TCON, TIT2, TPE1, TPE2

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import folder_tags
from data_prep.datasets.catalog import Request
from tests.data_prep.files import RATE, tone


def song(root, path, **tags):
    """Half a second of a tone with these tags, by mutagen's common names."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(place, tone(0.5), RATE)
    if tags:
        audio = mutagen.File(place, easy=True)
        if audio.tags is None:
            audio.add_tags()
        for name, value in tags.items():
            audio[name] = value
        audio.save()
    return place


def labels(root, path="a.flac"):
    """What a worker would answer for one file."""
    return folder_tags._labels(root, path)


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg"])
def test_each_format_says_the_same(tmp_path, suffix):
    named = {"artist": "Björk", "album": "Début | 1", "title": "Human\nBehaviour"}
    song(tmp_path, f"x{suffix}", genre=["Pop", "Art Pop"], **named)
    assert labels(tmp_path, f"x{suffix}") == {
        **{"artist": "Björk", "album": "Début | 1", "genre": "Pop|Art Pop"},
        "title": "Human Behaviour",
    }


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
def test_id3_within_wav_and_aiff(tmp_path, suffix):
    place = song(tmp_path, f"x{suffix}")
    audio = mutagen.File(place)
    audio.add_tags()
    for frame in (TPE2(text="Band"), TALB(text="One"), TCON(text=["(17)", "Folk"])):
        audio.tags.add(frame)
    audio.save()
    expected = {"artist": "Band", "album": "One", "genre": "Rock|Folk", "title": ""}
    assert labels(tmp_path, f"x{suffix}") == expected


def test_old_tags_and_those_of_other_formats(tmp_path):
    place = song(tmp_path, "old.mp3")
    with open(place, "ab") as file:  # ID3v1: Latin-1 at the end of the file, genre 17 is Rock
        file.write(b"TAG" + b"Caf\xe9".ljust(30, b"\0") + b"Duo".ljust(30, b"\0"))
        file.write(b"LP".ljust(30, b"\0") + b"1999" + b"\0" * 30 + bytes([17]))
    assert labels(tmp_path, "old.mp3") == {
        **{"artist": "Duo", "album": "LP", "genre": "Rock", "title": "Café"}
    }
    tags = APEv2()
    tags["Artist"], tags["Album Artist"], tags["Genre"] = ["A", "B"], "C", ["Dub", "Dub", "Ska"]
    assert folder_tags._values(tags, "artist") == ["A", "B"]
    assert folder_tags._values(tags, "albumartist") == ["C"]
    assert folder_tags._values(tags, "genre") == ["Dub", "Ska"]


def test_the_artist_before_that_of_the_album(tmp_path):
    song(tmp_path, "a.flac", artist=["", "Singer", "Guest"], albumartist="Various")
    assert labels(tmp_path)["artist"] == "Singer"
    song(tmp_path, "a.flac", artist=" ", albumartist="Various")
    assert labels(tmp_path)["artist"] == "Various"


def test_values_are_kept_short(tmp_path):
    song(tmp_path, "a.flac", artist="x" * 5000, genre=[f"g{n}" for n in range(99)])
    found = labels(tmp_path)
    assert found["artist"] == "x" * 200 and len(found["genre"].split("|")) == 10


@given(st.text(max_size=300))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_cleaned_text_is_one_line_of_utf8(text):
    cleaned = folder_tags._clean(text)
    assert len(cleaned) <= 200 and not {unicodedata.category(c) for c in cleaned} & {"Cc", "Cs"}
    assert cleaned == cleaned.strip()
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert folder_tags._clean(cleaned) == cleaned


def test_one_spelling_of_accents_and_no_control_characters():
    assert folder_tags._clean("Bjo\u0308rk") == "Bj\u00f6rk"
    assert folder_tags._clean(" a\0b\x1b[31m\u2028c\ud800 ") == "a b [31m c"


def test_a_folder_of_all_kinds(tmp_path):
    root = tmp_path / "music"
    song(root, "Abba/Gold/1.flac", artist="ABBA", album="Gold: Hits", genre="Pop", title="One")
    song(root, "Abba/Gold/cd 2/2.ogg", title="Two")
    song(root, "Bjo\u0308rk/3.wav")
    song(root, "4.au")
    (root / "5.mp3").write_bytes(b"no sound" * 500)
    (root / "Cut").mkdir()
    whole = song(root, "Cut/6.flac", artist="gone").read_bytes()
    (root / "Cut" / "6.flac").write_bytes(whole[:30])
    found = folder_tags.read_folder_tags(Request(root=root, workers=2))
    table = found.table.set_index("path")
    assert found.table.columns.tolist() == [
        *("track_id", "path", "artist", "album", "genre", "title")
    ]
    assert found.table["track_id"].equals(found.table["path"])
    assert table.loc["Abba/Gold/1.flac"].tolist()[1:] == ["ABBA", "Gold: Hits", "Pop", "One"]
    assert table.loc["Abba/Gold/cd 2/2.ogg"].tolist()[1:] == ["Abba", "Gold", "", "Two"]
    assert table.loc["Bjo\u0308rk/3.wav"].tolist()[1:] == ["Bj\u00f6rk", "", "", ""]
    assert table.loc["Cut/6.flac", "artist"] == "Cut"
    assert table.loc["4.au"].tolist()[1:] == [""] * 4
    assert found.notes == [
        "2 of 6 files have tags that cannot be read, such as '5.mp3'",
        "2 of 6 files have no tags, such as '4.au'",
        "2 of 6 files have no artist, neither in tags nor as a folder, such as '4.au'",
        "3 of 6 files have their artist from the folder's name",
    ]
    split_csv.write_split(found.table.assign(subset="train"), tmp_path / "s.csv", {"inputs": {}})
    assert split_csv.read_split(tmp_path / "s.csv")["path"].tolist() == found.table["path"].tolist()


def test_a_file_that_never_ends_is_given_up(tmp_path, monkeypatch):
    song(tmp_path, "Abba/x.flac", artist="ABBA")
    os.mkfifo(tmp_path / "Abba" / "pipe.mp3")
    monkeypatch.setattr(folder_tags, "_PATIENCE", 4.0)
    found = folder_tags.read_folder_tags(Request(root=tmp_path))
    assert found.table["artist"].tolist() == ["Abba", "ABBA"]
    assert found.notes[0] == "1 of 2 files have tags that cannot be read, such as 'Abba/pipe.mp3'"


def test_damaged_tags_do_not_stop_the_others(tmp_path):
    tags = ID3()
    for frame in (TPE1(text="A"), TIT2(text="B" * 300), TCON(text="Folk")):
        tags.add(frame)
    place = song(tmp_path, "whole.mp3")
    tags.save(place)
    whole = place.read_bytes()
    for cut in range(0, 400, 40):
        (tmp_path / f"{cut}.mp3").write_bytes(whole[:cut] + b"\xff" * 50 + whole[cut + 50 :])
    found = folder_tags.read_folder_tags(Request(root=tmp_path)).table.set_index("path")
    assert len(found) == 11 and found.loc["whole.mp3", "artist"] == "A"


def test_folders_without_music(tmp_path):
    with pytest.raises(InputError, match="holds no audio files"):
        folder_tags.read_folder_tags(Request(root=tmp_path))
