"""Tests that copies of a recording are found, told with their subsets, and dropped."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from data_prep import duplicates, split_csv
from data_prep.audio import load_audio
from tests.conftest import run_in_process
from tests.data_prep.encodings import ENCODINGS
from tests.data_prep.files import RATE

COPIES = {"equal.wav": 0, "late.wav": 0, "quieter.wav": 0, "coded.mp3": 1, "coded.ogg": 1}
TINY = {"equal tiny.wav": "tiny.wav"}


@pytest.fixture(scope="module")
def music(music_data, tmp_path_factory):
    """Return a folder with ten real clips and copies of the first two."""
    folder = tmp_path_factory.mktemp("music")
    clips = sorted((music_data / "data" / "gtzan_short").glob("*.wav"))[::10]
    for number, clip in enumerate(clips):
        shutil.copy(clip, folder / f"{number}.wav")
    shutil.copy(clips[0], folder / "equal.wav")
    samples, rate = soundfile.read(clips[0], dtype="float32")
    soundfile.write(folder / "quieter.wav", 0.1 * samples, rate)
    soundfile.write(folder / "late.wav", samples[int(0.53 * rate) :], rate)
    ENCODINGS["cbr mp3"].encode(clips[1], folder / "coded.mp3")
    ENCODINGS["vorbis"].encode(clips[1], folder / "coded.ogg")
    for name in ("tiny.wav", "equal tiny.wav"):  # nothing but bytes to compare
        soundfile.write(folder / name, samples[:400], rate)
    (folder / "text.wav").write_text("no audio")
    return folder


def test_find_copies_groups_copies_of_a_recording(music):
    paths = sorted(path.name for path in music.iterdir())
    groups, notes = duplicates.find_copies(paths, music)
    assert notes == [
        "copies: 3 of 18 tracks are compared by their bytes only, as they cannot be decoded, or "
        "have less than 5 s of sound"
    ]
    groups = dict(zip(paths, groups, strict=True))
    expected = {
        path: f"{COPIES[path]}.wav" if path in COPIES else TINY.get(path, path) for path in paths
    }
    for first in paths:
        for second in paths:
            is_copy = expected[first] == expected[second]
            assert (groups[first] == groups[second]) == is_copy, (first, second)


def test_embedding_of_silence_or_too_little_sound_is_none():
    noise = np.random.default_rng(0).normal(0, 0.1, 12 * RATE).astype(np.float32)
    assert duplicates.embed_waveform(np.zeros_like(noise)) is None
    assert duplicates.embed_waveform(noise[:0]) is None
    assert duplicates.embed_waveform(noise[: 4 * RATE]) is None
    noise[3 * RATE :] = 0
    assert duplicates.embed_waveform(noise) is None


def test_different_tracks_with_equal_loudness_are_no_copies(music):
    """Test tracks that end after 6 s, and tracks that fade out."""
    fade = np.linspace(1, 0, 12 * RATE, dtype=np.float32) ** 2
    for envelope in (np.arange(12 * RATE) < 6 * RATE, fade):
        vectors = []
        for number in range(10):
            waveform = load_audio(music / f"{number}.wav", 12.0)
            vectors.append(duplicates.embed_waveform(waveform * envelope[: len(waveform)]))
        cosines = np.einsum("isd,jd->isj", vectors, np.stack(vectors)[:, 0]).max(axis=1)
        assert np.diag(cosines) == pytest.approx(1, abs=1e-5)
        assert cosines[~np.eye(10, dtype=bool)].max() < duplicates.MIN_COSINE


def test_script_reports_and_drops_copies(music, tmp_path):
    command = ("data_prep/1_make_splits.py", "csv", "--root", music, "--workers", 1)
    paths = [f"{n}.wav" for n in range(10)] + list(COPIES)
    subsets = ["train"] * 10 + ["test"] * len(COPIES)
    table = pd.DataFrame({"track_id": paths, "path": paths, "artist": "a", "subset": subsets})
    table["recording"] = paths  # a label of the user's
    table.to_csv(tmp_path / "list.csv", index=False)
    command += ("--metadata", tmp_path / "list.csv")
    lines = run_in_process(*command, "--out", tmp_path / "a.csv", "--report-duplicates").lines
    copies = "'equal.wav' (test), 'late.wav' (test), 'quieter.wav' (test)"
    assert f"copies: '0.wav' (train), {copies}" in lines
    assert "copies: 5 of 15 tracks are copies of others" in lines
    assert "in the split, 2 recordings have copies, 2 of them in several subsets" in lines
    assert split_csv.read_split(tmp_path / "a.csv")["recording"].tolist() == paths
    lines = run_in_process(*command, "--out", tmp_path / "b.csv", "--drop-duplicates").lines
    assert "left out: 5 of 15 tracks, which are copies of others" in lines
    assert "in the split, 0 recordings have copies, 0 of them in several subsets" in lines
    assert split_csv.read_split(tmp_path / "b.csv")["path"].tolist() == paths[:10]
