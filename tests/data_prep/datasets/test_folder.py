"""Tests of labels read from the tags of real audio files and from paths."""

import os
import shutil
import struct
import subprocess
import unicodedata

import mutagen
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.apev2 import APEv2
from mutagen.id3 import ID3, TALB, TCON, TIT2, TPE1, TPE2

from common.errors import InputError
from data_prep import audio, split_csv
from data_prep.datasets import Request, folder
from tests.data_prep.datasets.conftest import put
from tests.data_prep.files import RATE, tone


def write_track(root, path, **tags):
    """Write half a second of a tone with tags given by mutagen's common names."""
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
    return folder._read_labels(root, path)[0]


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg"])
def test_all_formats_yield_the_same_labels(tmp_path, suffix):
    named = {"artist": "Björk", "album": "Début | 1", "title": "Human\nBehaviour"}
    write_track(tmp_path, f"x{suffix}", genre=["Pop", "Art Pop"], **named)
    assert labels(tmp_path, f"x{suffix}") == {
        **{"artist": "Björk", "album": "Début | 1", "genre": "Pop|Art Pop"},
        "title": "Human Behaviour",
    }


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
def test_reads_id3_tags_in_wav_and_aiff(tmp_path, suffix):
    place = write_track(tmp_path, f"x{suffix}")
    audio = mutagen.File(place)
    audio.add_tags()
    for frame in (TPE2(text="Band"), TALB(text="One"), TCON(text=["(17)", "Folk"])):
        audio.tags.add(frame)
    audio.save()
    expected = {"artist": "Band", "album": "One", "genre": "Rock|Folk", "title": ""}
    assert labels(tmp_path, f"x{suffix}") == expected


def test_reads_id3v1_and_ape_tags(tmp_path):
    place = write_track(tmp_path, "old.mp3")
    with open(place, "ab") as file:  # ID3v1: Latin-1 text at the end of the file; genre 17 is Rock
        file.write(b"TAG" + b"Caf\xe9".ljust(30, b"\0") + b"Duo".ljust(30, b"\0"))
        file.write(b"LP".ljust(30, b"\0") + b"1999" + b"\0" * 30 + bytes([17]))
    assert labels(tmp_path, "old.mp3") == {
        **{"artist": "Duo", "album": "LP", "genre": "Rock", "title": "Café"}
    }
    tags = APEv2()
    tags["Artist"], tags["Album Artist"], tags["Genre"] = ["A", "B"], "C", ["Dub", "Dub", "Ska"]
    assert folder._tag_values(tags, "artist") == ["A", "B"]
    assert folder._tag_values(tags, "albumartist") == ["C"]
    assert folder._tag_values(tags, "genre") == ["Dub", "Ska"]


def test_track_artist_takes_precedence_over_album_artist(tmp_path):
    write_track(tmp_path, "a.flac", artist=["", "Singer", "Guest"], albumartist="Various")
    assert labels(tmp_path)["artist"] == "Singer"
    write_track(tmp_path, "a.flac", artist=" ", albumartist="Various")
    assert labels(tmp_path)["artist"] == "Various"


def test_long_tag_values_are_truncated(tmp_path):
    write_track(tmp_path, "a.flac", artist="x" * 5000, genre=[f"g{n}" for n in range(99)])
    found = labels(tmp_path)
    assert found["artist"] == "x" * 200 and len(found["genre"].split("|")) == 10


@given(st.text(max_size=300))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_clean_returns_one_line_of_utf8(text):
    cleaned = folder._clean(text)
    assert len(cleaned) <= 200 and not {unicodedata.category(c) for c in cleaned} & {"Cc", "Cs"}
    assert cleaned == cleaned.strip()
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert folder._clean(cleaned) == cleaned
    assert folder._clean("Bjo\u0308rk") == "Bj\u00f6rk"
    assert folder._clean(" a\0b\x1b[31m\u2028c\ud800 ") == "a b [31m c"


def test_read_folder_labels_mixed_files(tmp_path):
    root = tmp_path / "music"
    tags = {"artist": "ABBA", "album": "Gold: Hits", "genre": "Pop", "title": "One"}
    write_track(root, "Abba/Gold/1.flac", **tags)
    write_track(root, "Abba/Gold/cd 2/2.ogg", title="Two")
    write_track(root, "Bjo\u0308rk/3.wav")
    write_track(root, "4.au")
    (root / "5.mp3").write_bytes(b"no sound" * 500)
    (root / "Cut").mkdir()
    whole = write_track(root, "Cut/6.flac", artist="gone").read_bytes()
    (root / "Cut" / "6.flac").write_bytes(whole[:30])
    catalog = folder.read_folder(Request(root=root, workers=2))
    table = catalog.table.set_index("path")
    assert catalog.table.columns.tolist() == [
        *("track_id", "path", "artist", "album", "genre", "title")
    ]
    assert catalog.table["track_id"].equals(catalog.table["path"])
    assert table.loc["Abba/Gold/1.flac"].tolist()[1:] == ["ABBA", "Gold: Hits", "Pop", "One"]
    assert table.loc["Abba/Gold/cd 2/2.ogg"].tolist()[1:] == ["Abba", "Gold", "", "Two"]
    assert table.loc["Bjo\u0308rk/3.wav"].tolist()[1:] == ["Bj\u00f6rk", "", "", ""]
    assert table.loc["Cut/6.flac", "artist"] == "Cut"
    assert table.loc["4.au"].tolist()[1:] == [""] * 4
    assert catalog.notes == [
        "2 of 6 files have tags that cannot be read, such as '5.mp3'",
        "2 of 6 files have no artist, album, genre or title in their tags, such as '4.au'",
        "2 of 6 files have no artist, neither in their tags nor as a folder, such as '4.au'",
        "3 of 6 files have their artist from the folder's name and 1 from tags; --labels tags "
        "leaves out the former",
    ]
    split_csv.write_split(catalog.table.assign(subset="train"), tmp_path / "s.csv", {"inputs": {}})


@pytest.mark.slow  # waits for the timeout
def test_file_that_blocks_is_abandoned_after_the_timeout(tmp_path, monkeypatch):
    write_track(tmp_path, "Abba/x.flac", artist="ABBA")
    os.mkfifo(tmp_path / "Abba" / "pipe.mp3")
    monkeypatch.setattr(folder, "_TIMEOUT", 10.0)
    catalog = folder.read_folder(Request(root=tmp_path))
    assert catalog.table["artist"].tolist() == ["Abba", "ABBA"]
    assert catalog.notes[0] == "1 of 2 files have tags that cannot be read, such as 'Abba/pipe.mp3'"


def test_damaged_tags_do_not_affect_other_files(tmp_path):
    tags = ID3()
    for frame in (TPE1(text="A"), TIT2(text="B" * 300), TCON(text="Folk")):
        tags.add(frame)
    place = write_track(tmp_path, "whole.mp3")
    tags.save(place)
    whole = place.read_bytes()
    for cut in range(0, 400, 40):
        (tmp_path / f"{cut}.mp3").write_bytes(whole[:cut] + b"\xff" * 50 + whole[cut + 50 :])
    table = folder.read_folder(Request(root=tmp_path)).table.set_index("path")
    assert len(table) == 11 and table.loc["whole.mp3", "artist"] == "A"


@pytest.fixture
def music(tmp_path):
    paths = ["a/x/1.wav", "a/x/2.mp3", "b/y/1.wav", "b/y/disc 1/1.wav", "loose.wav"]
    return put(tmp_path / "music", paths)


def test_pattern_reads_labels_from_paths(music):
    catalog = folder.read_folder(Request(root=music, pattern="{artist}/{album}/{}"))
    table = catalog.table
    assert table["path"].tolist() == ["a/x/1.wav", "a/x/2.mp3", "b/y/1.wav"]
    assert table["artist"].tolist() == ["a", "a", "b"] and table["album"].tolist() == list("xxy")
    assert catalog.notes == [
        f"{music}: 2 files do not match the pattern, such as 'b/y/disc 1/1.wav': left out"
    ]
    assert table.columns.tolist() == ["track_id", "path", "artist", "album"]


def test_pattern_may_omit_artist_and_contain_dots(tmp_path):
    put(tmp_path, ["blues.00000.wav", "hip.hop.00001.wav", "x+y.00000.wav"])
    catalog = folder.read_folder(Request(root=tmp_path, pattern="{genre}.{}"))
    assert catalog.table["genre"].tolist() == ["blues", "hip", "x+y"] and not catalog.notes
    assert catalog.table["artist"].tolist() == ["", "", ""]
    catalog = folder.read_folder(Request(root=tmp_path, pattern="x+{genre}.00000"))
    assert catalog.table["genre"].tolist() == ["y"] and len(catalog.notes) == 1


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{}", "needs distinct labels in braces"),
        ("{artist}/{artist}", "needs distinct labels in braces"),
        ("{path}/{}", "other than track_id, path"),
        ("{an artist}/{}", "letters, digits and _"),
        ("{artist}/{a}/{b}/{c}/{d}", "no file matches the pattern .* 'a/x/1.wav' does not"),
    ],
)
def test_rejects_invalid_patterns(music, pattern, problem):
    with pytest.raises(InputError, match=problem):
        folder.read_folder(Request(root=music, pattern=pattern))


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("mka", "flac"), ("wv", "wavpack"), ("m4a", "aac")]
)
def test_tags_of_ffmpeg_are_read_in_every_container(tmp_path, suffix, codec):
    """Test the INFO chunk of WAV, Matroska tags, APEv2 and MP4 atoms."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    tags = {"artist": "Some Artist", "album": "Some Album", "genre": "Jazz", "title": "A Title"}
    options = [part for name, text in tags.items() for part in ("-metadata", f"{name}={text}")]
    source = ["-f", "lavfi", "-i", "sine=440:d=1", "-c:a", codec]
    out = tmp_path / "Folder" / f"a.{suffix}"
    out.parent.mkdir()
    subprocess.run(["ffmpeg", "-v", "error", *source, *options, out], check=True)
    table = folder.read_folder(Request(root=tmp_path)).table
    assert table.loc[0, list(tags)].to_dict() == tags


def test_ape_tags_of_mp3_files_are_read(tmp_path):
    soundfile.write(tmp_path / "a.mp3", np.zeros(44_100), 44_100)
    tags = APEv2()
    tags["Artist"], tags["Title"] = "Some Artist", "A Title"
    tags.save(tmp_path / "a.mp3")
    row = folder.read_folder(Request(root=tmp_path)).table.iloc[0]
    assert (row["artist"], row["title"]) == ("Some Artist", "A Title")


def test_folder_names_are_not_used_if_only_tags_are_wanted(tmp_path):
    put_path = tmp_path / "Artist" / "a.wav"
    put_path.parent.mkdir()
    soundfile.write(put_path, np.zeros(1000), 22_050)
    catalog = folder.read_folder(Request(root=tmp_path, labels="tags"))
    assert catalog.table["artist"].tolist() == [""] and catalog.table["album"].tolist() == [""]
    assert catalog.notes[-1] == "1 of 1 files have no artist in their tags, such as 'Artist/a.wav'"


def test_files_that_are_not_read_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("a.wav", "a.mid", "b.mid", "c.MOD", "cover.jpg", ".hidden.mid"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.wav").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path)
    assert audio.list_audio_files(tmp_path) == ["a.wav"]
    assert caplog.messages == [
        f"{tmp_path}: 4 files are not read (2 .mid, 1 .jpg, 1 .mod); ffmpeg can convert .mod to "
        "WAV and 1 links to folders are not followed and 2 hidden files and folders are skipped"
    ]


def test_suffixes_that_are_not_read_are_shown_on_one_line(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "a.wav").write_bytes(b"x")
    for name in (b"b.x\ny", b"c.\xff", b"d.1", b"e.2", b"f.3", b"g.4", b"h.5"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    assert audio.list_audio_files(tmp_path) == ["a.wav"]
    assert "1 .x\\ny" in caplog.text and caplog.messages[0].endswith(", …)")
    os.remove(tmp_path / "d.1")
    caplog.clear()
    audio.list_audio_files(tmp_path)
    assert caplog.messages[0].encode("utf-8").endswith(b"1 .\\udcff)")


def test_tags_are_completed_from_other_tags_of_the_same_file(tmp_path):
    place = write_track(tmp_path, "a.mp3", title="Id3")
    tags = APEv2()
    tags["Artist"], tags["Title"], tags["Album"] = "Ape", "Other", "LP"
    tags.save(place)
    found = labels(tmp_path, "a.mp3")
    assert (found["artist"], found["title"], found["album"]) == ("Ape", "Id3", "LP")
    write_info(tmp_path / "a.wav", "Björk".encode())
    file = mutagen.File(tmp_path / "a.wav")
    file.add_tags()
    file.tags.add(TIT2(text="Id3"))
    file.save()
    found = labels(tmp_path, "a.wav")
    assert (found["artist"], found["title"]) == ("Björk", "Id3")


def write_info(path, artist):
    """Write a WAV file whose INFO chunk names an artist, in bytes."""
    soundfile.write(path, tone(0.5), RATE)
    entry = b"IART" + struct.pack("<I", len(artist)) + artist + bytes(len(artist) % 2)
    entry = b"LIST" + struct.pack("<I", len(entry) + 4) + b"INFO" + entry
    content = path.read_bytes() + entry
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_info_chunk_is_read_in_both_encodings(tmp_path, encoding):
    for name in ("Björk", "Sigur Rós", "a" * 199):
        write_info(tmp_path / "a.wav", name.encode(encoding))
        assert labels(tmp_path, "a.wav")["artist"] == name
    whole = (tmp_path / "a.wav").read_bytes()
    for cut in range(len(whole) - 230, len(whole), 7):  # a damaged chunk is no error
        (tmp_path / "b.wav").write_bytes(whole[:cut])
        folder._read_info(str(tmp_path / "b.wav"))


@pytest.mark.parametrize("name", ["albumartist", "album artist", "album_artist", "artists"])
def test_names_of_the_artist_tag_in_vorbis_comments(tmp_path, name):
    write_track(tmp_path, "a.flac", **{name: "Some Artist"})
    assert labels(tmp_path)["artist"] == "Some Artist"


def test_artists_and_labels_that_are_left_out_are_counted(tmp_path):
    write_track(tmp_path, "a.flac", artist=["A", "B"])
    write_track(tmp_path, "b.flac", artist="x" * 201)
    write_track(tmp_path, "c.flac", artist="C", genre=[f"g{n}" for n in range(11)])
    write_track(tmp_path, "d.flac", artist=["D", "D", ""], genre=[f"g{n}" for n in range(10)])
    assert folder.read_folder(Request(root=tmp_path)).notes == [
        "1 of 4 files name several artists, of whom the first is used, such as 'a.flac'",
        "2 of 4 files have labels of over 200 characters or 10 genres, now cut, such as 'b.flac'",
    ]
