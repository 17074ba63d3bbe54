"""Tests that copies of a recording are found, told with their subsets, and dropped."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from data_prep import duplicates, split_csv
from tests.conftest import run_in_process
from tests.data_prep.encodings import ENCODINGS

COPIES = {"equal.wav": 0, "louder.wav": 0, "coded.mp3": 1, "coded.ogg": 1}


@pytest.fixture(scope="module")
def music(music_data, tmp_path_factory):
    """Return a folder with ten real clips and copies of the first two."""
    folder = tmp_path_factory.mktemp("music")
    clips = sorted((music_data / "data" / "gtzan_short").glob("*.wav"))[::10]
    for number, clip in enumerate(clips):
        shutil.copy(clip, folder / f"{number}.wav")
    shutil.copy(clips[0], folder / "equal.wav")
    samples, rate = soundfile.read(clips[0], dtype="float32")
    soundfile.write(folder / "louder.wav", 0.5 * samples, rate)
    ENCODINGS["cbr mp3"].encode(clips[1], folder / "coded.mp3")
    ENCODINGS["vorbis"].encode(clips[1], folder / "coded.ogg")
    (folder / "text.wav").write_text("no audio")
    return folder


def test_find_copies_groups_copies_of_a_recording(music):
    paths = sorted(path.name for path in music.iterdir())
    groups = dict(zip(paths, duplicates.find_copies(paths, music), strict=True))
    expected = {path: f"{COPIES[path]}.wav" if path in COPIES else path for path in paths}
    for first in paths:
        for second in paths:
            is_copy = expected[first] == expected[second]
            assert (groups[first] == groups[second]) == is_copy, (first, second)


def test_embedding_of_silence_is_none():
    assert duplicates.embed_waveform(np.zeros(44_100, np.float32)) is None


def test_script_reports_and_drops_copies(music, tmp_path):
    command = ("data_prep/1_make_splits.py", "csv", "--root", music, "--workers", 1)
    paths = [f"{n}.wav" for n in range(10)] + list(COPIES)
    subsets = ["train"] * 10 + ["test"] * len(COPIES)
    table = pd.DataFrame({"track_id": paths, "path": paths, "artist": "a", "subset": subsets})
    table.to_csv(tmp_path / "list.csv", index=False)
    command += ("--metadata", tmp_path / "list.csv")
    lines = run_in_process(*command, "--out", tmp_path / "a.csv", "--report-duplicates").lines
    assert "copies: '0.wav' (train), 'equal.wav' (test), 'louder.wav' (test)" in lines
    assert "2 recordings have copies, 2 of them in several subsets" in lines
    assert len(split_csv.read_split(tmp_path / "a.csv")) == 14
    lines = run_in_process(*command, "--out", tmp_path / "b.csv", "--drop-duplicates").lines
    assert "left out: 4 of 14 tracks, which are copies of others" in lines
    assert "0 recordings have copies, 0 of them in several subsets" in lines
    assert "recording" not in split_csv.read_split(tmp_path / "b.csv").columns
