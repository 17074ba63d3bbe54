"""GTZAN's fault-filtered split with various distributions of the audio."""

import pytest

from common.errors import InputError
from data_prep import audio
from data_prep.datasets import Request, gtzan

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
def test_read_audio_of_any_distribution(lists, tmp_path, below, suffix):
    names = [name for of_subset in TRACKS.values() for name in of_subset]
    paths = [below.format(genre=name.split(".")[0]) + name + suffix for name in names]
    root = music(tmp_path / "music", *paths, "Thumbs.db", "reggae/reggae.00086.wav")
    catalog = gtzan.gtzan_catalog(lists, Request(root))
    assert catalog.notes == []
    table = catalog.table
    assert table.columns.tolist() == ["track_id", "path", "artist", "genre", "subset"]
    assert table["track_id"].tolist() == names and table["path"].tolist() == paths
    assert table["genre"].tolist() == ["blues", "rock", "blues", "blues", "jazz"]
    assert table["subset"].tolist() == ["train", "train", "valid", "test", "test"]
    assert (table["artist"] == "").all()


def test_missing_clips_are_counted(lists, tmp_path):
    root = music(tmp_path / "music", "blues.00000.au", "jazz/jazz.00054.au")
    catalog = gtzan.gtzan_catalog(lists, Request(root))
    assert catalog.table["path"].tolist() == ["blues.00000.au", "jazz/jazz.00054.au"]
    assert catalog.table.index.tolist() == [0, 1]
    assert catalog.notes == [f"{root}: 3 of 5 tracks are missing, such as 'blues.00029': left out"]


def test_repeated_clip_is_used_once(lists, tmp_path):
    twice = ["a/blues.00000.au", "b/blues.00000.wav", "c/blues.00000.wav", "c/blues.00000.flac"]
    root = music(tmp_path / "music", *twice)
    catalog = gtzan.gtzan_catalog(lists, Request(root))
    assert catalog.table["path"].tolist() == ["b/blues.00000.wav"]
    assert catalog.notes[0] == (
        f"{root}: 2 files have the same name as another, such as 'c/blues.00000.wav' and "
        "'b/blues.00000.wav': left out"
    )


def test_rejects_other_audio(lists, tmp_path):
    root = music(tmp_path / "music", "song.wav")
    with pytest.raises(InputError, match=r"music: 5 of 5 tracks are missing.*give the folder"):
        gtzan.gtzan_catalog(lists, Request(root))
    with pytest.raises(InputError, match="no such folder"):
        gtzan.gtzan_catalog(lists, Request(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("blues/blues.1.wav\n", "'blues/blues.1.wav' is not genre/genre.00000.wav"),
        ("blues/rock.00001.wav\n", "'blues/rock.00001.wav' is not genre/genre"),
        ("../rock.00001.wav\n", "is not genre/genre"),
        ("blues/blues.00029.wav\n", "'blues.00029' is also listed in train"),
        ("pop/pop.00001.wav\npop/pop.00001.wav\n", "'pop.00001' is also listed in test"),
    ],
)
def test_rejects_invalid_lists(lists, tmp_path, text, problem):
    root = music(tmp_path / "music", "blues.00000.wav")
    lists["test"].write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"test_filtered\.txt: .*{problem}.*; download"):
        gtzan.gtzan_catalog(lists, Request(root))


def test_rejects_empty_and_binary_lists(lists, tmp_path):
    root = music(tmp_path / "music", "blues.00000.wav")
    for path in lists.values():
        path.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"test_filtered\.txt: lists no track"):
        gtzan.gtzan_catalog(lists, Request(root))
    lists["train"].write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"train_filtered\.txt: not UTF-8 text"):
        gtzan.gtzan_catalog(lists, Request(root))


def test_published_split_has_its_sizes(music_data, tmp_path):
    mirror = music_data / "data" / "splits"
    lists = {s: mirror / "GTZAN_split" / f"{s}_filtered.txt" for s in ("train", "valid", "test")}
    listed = [line for path in lists.values() for line in path.read_text().split()]
    catalog = gtzan.read_gtzan(Request(music(tmp_path / "music", *listed), metadata=mirror))
    assert catalog.notes == [] and catalog.table["path"].tolist() == listed
    counts = catalog.table["subset"].value_counts()
    assert counts.to_dict() == {"train": 443, "valid": 197, "test": 290}
    assert catalog.table["genre"].nunique() == 10


@pytest.mark.parametrize(("clips", "suffix"), [("gtzan_clips", ".au"), ("gtzan_short", ".wav")])
def test_read_real_clips(music_data, clips, suffix):
    root = music_data / "data" / clips
    catalog = gtzan.read_gtzan(Request(root, metadata=music_data / "data" / "splits"))
    there = {path.name for path in root.iterdir()}
    assert len(catalog.table) > 5 and set(catalog.table["path"]) <= there
    assert catalog.table["path"].str.endswith(suffix).all()
    assert (catalog.table["track_id"] + suffix == catalog.table["path"]).all()
    assert catalog.notes[0].startswith(
        f"{root}: {930 - len(catalog.table)} of 930 tracks are missing"
    )
    assert audio.load_audio(root / catalog.table["path"][0]).size > 0
