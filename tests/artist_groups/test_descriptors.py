"""Test Essentia track descriptors: values, resuming after interruptions, and normalisation."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import kstest, rankdata

from artist_groups import descriptors
from artist_groups.descriptors import describe, describe_tracks, normalise_descriptors
from common.errors import InputError
from data_prep.audio import AudioError
from tests.conftest import start_script
from tests.data_prep.files import RATE, clip, in_this_process, tone, wav, write_bad

LOUDNESS = "lowlevel.loudness_ebu128.integrated"


@pytest.fixture
def essentia():
    return pytest.importorskip("essentia", reason="needs requirements-essentia.txt")


@pytest.fixture
def tracks(tmp_path):
    """Write three 3 s tracks and return their paths."""
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(wav(clip(3.0, first=4.0 * number)))
    return paths


def assert_same(one, other):
    pd.testing.assert_frame_equal(one[0], other[0], check_exact=True)
    assert one[1] == other[1]


def test_describe_gives_consistent_values_for_a_real_clip(essentia, music_data, capfd):
    values = describe(music_data / "data" / "gtzan_clips" / "pop.00000.au")
    assert list(values) == sorted(values) and np.isfinite(list(values.values())).all()
    assert len(values) == 4364
    assert not any(name.startswith(("metadata.", "rhythm.beats_position")) for name in values)
    assert values["lowlevel.mfcc.cov.000.012"] == values["lowlevel.mfcc.cov.012.000"]
    chords = sum(values[f"tonal.chords_histogram.{i:03d}"] for i in range(24))
    assert chords == pytest.approx(100)
    tempo = values["rhythm.beats_count"] / 30.0 * 60
    assert tempo == pytest.approx(values["rhythm.bpm"], rel=0.05)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_describe_accepts_short_files_of_any_sample_rate(essentia, tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wav(tone(0.5, rate, hertz=1000.0), rate))
    values = describe(tmp_path / "a.wav")
    assert len(values) == 4364 and np.isfinite(list(values.values())).all()
    assert values["lowlevel.spectral_centroid.median"] == pytest.approx(1000, rel=0.02)


def test_describe_uses_both_channels_of_stereo_and_the_mean_of_more(essentia, tmp_path):
    loudness = []
    for channels in (1, 2, 3):
        path = tmp_path / f"{channels}.flac"
        soundfile.write(path, np.stack([clip(3.0)] * channels, 1), RATE)
        loudness.append(describe(path)[LOUDNESS])
    mono, stereo, more = loudness
    assert stereo == pytest.approx(mono + 10 * np.log10(2), abs=0.05)
    assert more == pytest.approx(mono, abs=0.05)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_describe_accepts_a_format_that_needs_ffmpeg(essentia, tmp_path):
    source, encoded = tmp_path / "a.wav", tmp_path / "a.aac"
    soundfile.write(source, np.stack([clip(3.0)] * 2, 1), RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, encoded], check=True)
    values, expected = describe(encoded), describe(source)
    assert values.keys() == expected.keys()
    assert values[LOUDNESS] == pytest.approx(expected[LOUDNESS], abs=0.3)


def test_describe_rejects_mostly_silent_tracks(essentia, tmp_path):
    music = np.concatenate([clip(0.5), np.zeros(20 * RATE, np.float32)])
    (tmp_path / "a.wav").write_bytes(wav(music))
    reason = r"is rejected by Essentia \(File looks like a comp.*; remove"
    with pytest.raises(AudioError, match=reason):
        describe(tmp_path / "a.wav")


@pytest.mark.parametrize("room", [50, 50_000])  # too few bytes for the header, or for the samples
def test_describe_raises_oserror_if_the_temporary_disk_is_full(essentia, tmp_path, room):
    (tmp_path / "a.wav").write_bytes(wav(clip(3.0)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            describe(tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.slow
def test_describe_tracks_does_not_depend_on_workers_or_chunks(
    essentia, tracks, tmp_path, monkeypatch
):
    names = ["c", "b", "a"]
    one = describe_tracks(names, tracks, tmp_path / "one", workers=1)
    table, failed = one
    assert table.index.tolist() == names and failed == {}
    assert set(table.dtypes) == {np.dtype(np.float32)}
    for (_, row), path in zip(table.iterrows(), tracks, strict=True):
        values = describe(path)
        assert table.columns.tolist() == list(values)
        assert np.array_equal(row, np.array(list(values.values()), np.float32))
    monkeypatch.setattr(descriptors, "_CHUNK", 2)
    assert_same(one, describe_tracks(names, tracks, tmp_path / "two", workers=2))


_DESCRIBE = """
import sys
from artist_groups import descriptors
descriptors._CHUNK = 1
descriptors.describe_tracks(sys.argv[2:], sys.argv[2:], sys.argv[1], workers=1)
"""


@pytest.mark.slow
def test_killed_run_loses_only_the_unfinished_chunk(essentia, tracks, tmp_path, monkeypatch):
    paths, folder = list(map(str, tracks)), tmp_path / "made"
    # The killed process leaves its temporary WAV copy behind in TMPDIR.
    process = start_script("-c", _DESCRIBE, folder, *paths, TMPDIR=str(tmp_path))
    while not (folder / "0000000.h5").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    assert 1 <= len(before) < 3
    monkeypatch.setattr(descriptors, "_CHUNK", 1)
    table, _ = describe_tracks(paths, paths, folder, workers=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.glob("*.h5"))) == 3 and not list(folder.glob("*.partial"))
    for path in paths:
        assert np.array_equal(table.loc[path], np.array(list(describe(path).values()), np.float32))


@pytest.mark.slow
def test_unreadable_files_are_reported_as_failed(essentia, tracks, tmp_path):
    bad = write_bad(tmp_path / "bad")
    bad.pop("short.wav")  # too short for the networks, but not for Essentia
    bad.pop("nul\0byte.wav")  # splits cannot contain such a file name
    bad["one sample.wav"] = "is rejected by Essentia (File looks like a completely silent file"
    paths = [tracks[0], *(tmp_path / "bad" / name for name in bad), tracks[1]]
    track_ids = ["first", *bad, "last"]
    table, failed = describe_tracks(track_ids, paths, tmp_path / "made", workers=2)
    assert table.index.tolist() == ["first", "last"] and list(failed) == list(bad)
    for name, reason in bad.items():
        assert reason in failed[name]
    assert_same((table, failed), describe_tracks(track_ids, paths, tmp_path / "made", workers=1))


def describe_by_name(path):
    """Stand in for `describe`; the file name determines the behaviour."""
    match os.path.basename(path):
        case "crash":
            os._exit(1)
        case "hang":
            time.sleep(3600)
        case "full":
            raise OSError(errno.ENOSPC, "no room", "copy.wav")
        case "mute":
            raise AudioError(path, "is mute")
    return {"all": 1.0, os.path.basename(path): 2.0}


@pytest.fixture
def by_name(essentia, monkeypatch):
    monkeypatch.setattr(descriptors, "describe", describe_by_name)
    monkeypatch.setattr(descriptors, "_PATIENCE", 20.0)  # workers may take 10 s to start
    monkeypatch.setattr(descriptors, "_CHUNK", 3)


@pytest.fixture
def in_process(by_name, monkeypatch):
    """Describe the tracks by name in this process, without starting workers."""

    def in_order(function, items, **_):
        return in_this_process(function, items)

    monkeypatch.setattr(descriptors, "ordered_map", in_order)


@pytest.mark.slow
def test_crashes_and_hangs_fail_only_the_affected_tracks(by_name, tmp_path):
    paths = ["y", "crash", "x", "hang", "y"]
    table, failed = describe_tracks(list("abcde"), paths, tmp_path / "made", workers=2)
    assert failed == {"b": "its decoder crashed", "d": "its decoder did not come back"}
    assert table.index.tolist() == ["a", "c", "e"]


def test_describe_tracks_resumes_and_gives_the_union_of_all_descriptors(in_process, tmp_path):
    paths, folder = ["y", "mute", "x", "full", "y"], tmp_path / "made"
    with pytest.raises(OSError, match=r"no room: 'copy\.wav'"):  # not a track's failure
        describe_tracks(list("abcde"), paths, folder, workers=1)
    assert [path.name for path in folder.glob("*.h5")] == ["0000000.h5"]
    made = (folder / "0000000.h5").stat().st_mtime_ns
    paths[3] = paths[2]
    table, failed = describe_tracks(list("abcde"), paths, folder, workers=1)
    assert (folder / "0000000.h5").stat().st_mtime_ns == made
    assert failed == {"b": "is mute"} and table.index.tolist() == list("acde")
    assert table.columns.tolist() == ["all", "x", "y"]
    nan = np.nan
    expected = np.array([[1, nan, 2], [1, 2, nan], [1, 2, nan], [1, nan, 2]], np.float32)
    assert np.array_equal(table, expected, equal_nan=True)
    empty, failed = describe_tracks(["b"], paths[1:2], tmp_path / "failed", workers=1)
    assert empty.shape == (0, 0) and failed == {"b": "is mute"}


def test_damaged_chunks_and_chunks_made_from_different_inputs_are_rejected(
    in_process, tmp_path, monkeypatch
):
    folder, paths = tmp_path / "made", [str(tmp_path / name) for name in "xyzw"]
    for path in paths:
        open(path, "w").close()
    first = describe_tracks(list("abcd"), paths, folder, workers=1)
    with pytest.raises(InputError, match=r"0000003\.h5: already there, .*tracks: .*delete it"):
        describe_tracks(list("abce"), paths, folder, workers=1)
    os.utime(paths[1], ns=(1, 1))
    with pytest.raises(InputError, match=r"0000000\.h5: already there, .*\(files: .*delete it"):
        describe_tracks(list("abcd"), paths, folder, workers=1)
    (folder / "0000000.h5").unlink()
    assert_same(first, describe_tracks(list("abcd"), paths, folder, workers=1))
    with h5py.File(folder / "0000003.h5", "a") as file:
        del file["values"]
        file["values"] = np.zeros((2, 2), np.float32)
    with pytest.raises(InputError, match=r"0000003\.h5: damaged; delete it and run the same"):
        describe_tracks(list("abcd"), paths, folder, workers=1)
    monkeypatch.setattr(descriptors.importlib.metadata, "version", lambda _: "3.0")
    with pytest.raises(InputError, match=r'essentia: .* -> "3\.0"'):
        describe_tracks(list("abcd"), paths, folder, workers=1)


def lognormal(shape, seed=0):
    return np.random.default_rng(seed).lognormal(sigma=2, size=shape).astype(np.float32)


def test_normalise_descriptors_gives_normal_distributions_of_usable_descriptors():
    values = lognormal((600, 6))
    values[3, 0], values[4, 1], values[5, 1], values[:, 3] = np.nan, np.inf, -np.inf, 7
    before = values.copy()
    vectors = normalise_descriptors(values)
    assert vectors.dtype == np.float32 and vectors.shape == (600, 3)
    for column in vectors.T:
        assert kstest(column, "norm").statistic < 0.01
        assert [column.min(), column.max()] == pytest.approx([-5.2, 5.2], abs=0.01)
    assert np.array_equal(rankdata(values[:, [2, 4, 5]], axis=0), rankdata(vectors, axis=0))
    assert np.array_equal(values, before, equal_nan=True), "the argument is not changed"


def test_normalise_descriptors_needs_two_tracks_and_one_descriptor():
    with pytest.raises(InputError, match="1 tracks; use a split with two or more"):
        normalise_descriptors(lognormal((1, 3)))
    values = lognormal((5, 3))
    values[:, 0], values[2, 1], values[0, 2] = 1, np.nan, np.inf
    with pytest.raises(InputError, match=r"none of 3 remains; 2 are missing .*, 1 are constant"):
        normalise_descriptors(values)
