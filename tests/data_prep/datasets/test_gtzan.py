"""Tests of GTZAN's fault-filtered split with various audio distributions."""

import pytest

from common.errors import InputError
from data_prep.datasets import Request, gtzan
from tests.data_prep.datasets.conftest import put

TRACKS = {
    "train": ["blues.00029", "rock.00040"],
    "valid": ["blues.00000"],
    "test": ["blues.00012", "jazz.00054"],
}


@pytest.fixture
def read(tmp_path, publish):
    """Publish the three lists, and return a function that reads the clips below a folder."""
    for subset, names in TRACKS.items():
        text = "".join(f"{name.split('.')[0]}/{name}.wav\n" for name in names)
        path = tmp_path / "GTZAN_split" / f"{subset}_filtered.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    publish(tmp_path, gtzan.INFO.lists)
    return lambda root: gtzan.read_gtzan(Request(root, metadata=tmp_path))


@pytest.mark.parametrize("suffix", [".wav", ".au", ".mp3", ".WAV"])
@pytest.mark.parametrize("below", ["{genre}/", "genres_original/{genre}/", ""])
def test_reads_any_audio_distribution(read, tmp_path, below, suffix):
    names = [name for subset in TRACKS.values() for name in subset]
    paths = [below.format(genre=name.split(".")[0]) + name + suffix for name in names]
    root = put(tmp_path / "music", [*paths, "Thumbs.db", "reggae/reggae.00086.wav"])
    catalog = read(root)
    assert (catalog.notes, catalog.missing) == ([], 0)
    table = catalog.table
    assert table.columns.tolist() == ["track_id", "path", "artist", "genre", "subset"]
    assert table["track_id"].tolist() == names and table["path"].tolist() == paths
    assert table["genre"].tolist() == ["blues", "rock", "blues", "blues", "jazz"]
    assert table["subset"].tolist() == ["train", "train", "valid", "test", "test"]
    assert (table["artist"] == "").all()


def test_missing_clips_are_counted(read, tmp_path):
    root = put(tmp_path / "music", ["blues.00000.au", "jazz/jazz.00054.au"])
    catalog = read(root)
    assert catalog.table["path"].tolist() == ["blues.00000.au", "jazz/jazz.00054.au"]
    assert catalog.table.index.tolist() == [0, 1] and catalog.missing == 3
    assert catalog.notes == [f"{root}: 3 of 5 tracks are missing, such as 'blues.00029': left out"]


def test_duplicate_clip_is_used_once(read, tmp_path):
    paths = ["a/blues.00000.au", "b/blues.00000.wav", "c/blues.00000.wav", "c/blues.00000.flac"]
    root = put(tmp_path / "music", paths)
    catalog = read(root)
    assert catalog.table["path"].tolist() == ["b/blues.00000.wav"]
    assert catalog.notes[0] == (
        f"{root}: 2 files have the same name as another, such as 'c/blues.00000.wav' and "
        "'b/blues.00000.wav': left out"
    )


def test_rejects_folder_without_gtzan_clips(read, tmp_path):
    root = put(tmp_path / "music", ["song.wav"])
    with pytest.raises(InputError, match=r"music: 5 of 5 tracks are missing.*give the folder"):
        read(root)
    with pytest.raises(InputError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_published_split_has_documented_sizes(music_data, tmp_path):
    mirror = music_data / "data" / "splits"
    listed = [line for name in gtzan.INFO.lists for line in (mirror / name).read_text().split()]
    catalog = gtzan.read_gtzan(Request(put(tmp_path / "music", listed), metadata=mirror))
    assert catalog.notes == [] and catalog.table["path"].tolist() == listed
    counts = catalog.table["subset"].value_counts()
    assert counts.to_dict() == {"train": 443, "valid": 197, "test": 290}
    assert catalog.table["genre"].nunique() == 10
