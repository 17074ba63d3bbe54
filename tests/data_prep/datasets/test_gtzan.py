"""GTZAN's fault-filtered split: the published lists against whatever audio is there."""

import shutil

import pytest

from common.errors import InputError
from data_prep import audio
from data_prep.datasets import gtzan
from data_prep.datasets.catalog import Request

TRACKS = {
    "train": ["blues.00029", "rock.00040"],
    "valid": ["blues.00000"],
    "test": ["blues.00012", "jazz.00054"],
}


def lists_of(tracks, folder):
    """The three lists as they are published, in `folder`."""
    folder.mkdir(exist_ok=True)
    paths = {}
    for subset, names in tracks.items():
        paths[subset] = folder / f"{subset}_filtered.txt"
        text = "".join(f"{name.split('.')[0]}/{name}.wav\n" for name in names)
        paths[subset].write_text(text, encoding="utf-8")
    return paths


@pytest.fixture
def lists(tmp_path):
    return lists_of(TRACKS, tmp_path / "GTZAN_split")


def music(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


@pytest.mark.parametrize("suffix", [".wav", ".au", ".mp3", ".WAV"])
@pytest.mark.parametrize("below", ["{genre}/", "genres/{genre}/", "genres_original/{genre}/", ""])
def test_the_audio_in_any_of_its_distributions(lists, tmp_path, below, suffix):
    names = [name for of_subset in TRACKS.values() for name in of_subset]
    paths = [below.format(genre=name.split(".")[0]) + name + suffix for name in names]
    root = music(tmp_path / "music", *paths, "Thumbs.db", "reggae/reggae.00086.wav")
    found = gtzan.gtzan_catalog(lists, Request(root))
    assert found.notes == []
    table = found.table
    assert table.columns.tolist() == ["track_id", "path", "artist", "genre", "subset"]
    assert table["track_id"].tolist() == names and table["path"].tolist() == paths
    assert table["genre"].tolist() == ["blues", "rock", "blues", "blues", "jazz"]
    assert table["subset"].tolist() == ["train", "train", "valid", "test", "test"]
    assert (table["artist"] == "").all()


def test_what_is_not_there_is_left_out_and_counted(lists, tmp_path):
    root = music(tmp_path / "music", "blues.00000.au", "jazz/jazz.00054.au")
    found = gtzan.gtzan_catalog(lists, Request(root))
    assert found.table["path"].tolist() == ["blues.00000.au", "jazz/jazz.00054.au"]
    assert found.table.index.tolist() == [0, 1]
    assert found.notes == [f"{root}: 3 of 5 tracks are not there, such as 'blues.00029': left out"]


def test_of_a_clip_that_is_there_twice_one_is_taken(lists, tmp_path):
    twice = ["a/blues.00000.au", "b/blues.00000.wav", "c/blues.00000.wav", "c/blues.00000.flac"]
    root = music(tmp_path / "music", *twice)
    found = gtzan.gtzan_catalog(lists, Request(root))
    assert found.table["path"].tolist() == ["b/blues.00000.wav"]
    assert found.notes[0] == (
        f"{root}: 2 files have the name of another, such as 'c/blues.00000.wav' beside "
        "'b/blues.00000.wav': left out"
    )


def test_audio_that_is_not_gtzan(lists, tmp_path):
    root = music(tmp_path / "music", "song.wav")
    with pytest.raises(InputError, match=r"music: 5 of 5 tracks are not there.*give the folder"):
        gtzan.gtzan_catalog(lists, Request(root))
    with pytest.raises(InputError, match="no such folder"):
        gtzan.gtzan_catalog(lists, Request(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("blues/blues.1.wav\n", "'blues/blues.1.wav' is not genre/genre.00000.wav"),
        ("blues/rock.00001.wav\n", "'blues/rock.00001.wav' is not genre/genre"),
        ("../rock.00001.wav\n", "is not genre/genre"),
        ("blues/blues.00029.wav\n", "'blues.00029' is listed in train already"),
        ("pop/pop.00001.wav\npop/pop.00001.wav\n", "'pop.00001' is listed in test already"),
    ],
)
def test_lists_that_are_wrong(lists, tmp_path, text, why):
    root = music(tmp_path / "music", "blues.00000.wav")
    lists["test"].write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"test_filtered\.txt: .*{why}.*; get"):
        gtzan.gtzan_catalog(lists, Request(root))


def test_lists_that_are_empty_or_no_text(lists, tmp_path):
    root = music(tmp_path / "music", "blues.00000.wav")
    for path in lists.values():
        path.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"test_filtered\.txt: lists no track"):
        gtzan.gtzan_catalog(lists, Request(root))
    lists["train"].write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"train_filtered\.txt: not UTF-8 text"):
        gtzan.gtzan_catalog(lists, Request(root))


def test_the_published_split(music_data, tmp_path):
    mirror = music_data / "data" / "splits"
    lists = {s: mirror / "GTZAN_split" / f"{s}_filtered.txt" for s in ("train", "valid", "test")}
    listed = [line for path in lists.values() for line in path.read_text().split()]
    found = gtzan.read_gtzan(Request(music(tmp_path / "music", *listed), metadata=mirror))
    assert found.notes == [] and found.table["path"].tolist() == listed
    counts = found.table["subset"].value_counts()
    assert counts.to_dict() == {"train": 443, "valid": 197, "test": 290}
    assert found.table["genre"].nunique() == 10


@pytest.mark.parametrize(("clips", "suffix"), [("gtzan_clips", ".au"), ("gtzan_short", ".wav")])
def test_the_real_clips(music_data, clips, suffix):
    root = music_data / "data" / clips
    found = gtzan.read_gtzan(Request(root, metadata=music_data / "data" / "splits"))
    there = {path.name for path in root.iterdir()}
    assert len(found.table) > 5 and set(found.table["path"]) <= there
    assert found.table["path"].str.endswith(suffix).all()
    assert (found.table["track_id"] + suffix == found.table["path"]).all()
    assert found.notes[0].startswith(f"{root}: {930 - len(found.table)} of 930 tracks are not")
    assert audio.load_audio(root / found.table["path"][0]).size > 0


def test_a_real_clip_moved_to_a_folder(music_data, tmp_path):
    clip = music_data / "data" / "gtzan_short" / "rock.00000.wav"
    (tmp_path / "genres" / "rock").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "genres" / "rock")
    found = gtzan.read_gtzan(Request(tmp_path, metadata=music_data / "data" / "splits"))
    assert found.table["path"].tolist() == ["genres/rock/rock.00000.wav"]
