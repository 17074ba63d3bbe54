"""Essentia's descriptors of songs: right numbers, what a kill costs, how they are normalised."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import filelock
import h5py
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import kstest, rankdata

from artist_groups import descriptors
from artist_groups.descriptors import describe, describe_tracks, normalise_descriptors
from common.errors import InputError
from data_prep.audio import AudioError
from tests.conftest import start_script
from tests.data_prep.files import RATE, au, song, tone, wav, write_bad


@pytest.fixture
def essentia():
    """Marks what asks Essentia."""
    return pytest.importorskip("essentia", reason="needs requirements-essentia.txt")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Three songs of 3 s."""
    folder = tmp_path_factory.mktemp("songs")
    paths = [folder / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(wav(song(3.0, first=4.0 * number)))
    return paths


def same(one, other):
    return (
        one.names.tolist() == other.names.tolist()
        and one.track_id.tolist() == other.track_id.tolist()
        and np.array_equal(one.values, other.values, equal_nan=True)
        and one.failed == other.failed
    )


# ---------------------------------------------------------------- one track


def test_a_real_clip(essentia, music_data, capfd):
    found = describe(music_data / "data" / "gtzan_clips" / "pop.00000.au")
    assert list(found) == sorted(found) and np.isfinite(list(found.values())).all()
    assert len(found) == 4364
    assert not any(name.startswith(("metadata.", "rhythm.beats_position")) for name in found)
    assert found["lowlevel.mfcc.cov.000.012"] == found["lowlevel.mfcc.cov.012.000"]
    assert sum(found[f"tonal.chords_histogram.{i:03d}"] for i in range(24)) == pytest.approx(100)
    assert found["rhythm.beats_count"] / 30.0 * 60 == pytest.approx(found["rhythm.bpm"], rel=0.05)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_a_tone_is_described_at_its_own_rate(essentia, tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wav(tone(3.0, rate, hertz=1000.0), rate))
    found = describe(tmp_path / "a.wav")
    assert found["lowlevel.spectral_centroid.median"] == pytest.approx(1000, rel=0.02)
    assert found["lowlevel.loudness_ebu128.integrated"] == pytest.approx(-9.0, abs=0.3)


def test_the_container_does_not_matter_but_the_channels_are_heard(essentia, tmp_path):
    music = song(3.0)
    (tmp_path / "a.wav").write_bytes(wav(music))
    (tmp_path / "a.au").write_bytes(au(music))
    mono = describe(tmp_path / "a.wav")
    assert describe(tmp_path / "a.au") == mono
    for channels in (2, 3):
        soundfile.write(tmp_path / f"{channels}.flac", np.stack([music] * channels, 1), RATE)
    loudness = "lowlevel.loudness_ebu128.integrated"
    two, three = describe(tmp_path / "2.flac"), describe(tmp_path / "3.flac")
    assert two[loudness] == pytest.approx(mono[loudness] + 10 * np.log10(2), abs=0.05)
    assert three[loudness] == pytest.approx(mono[loudness], abs=0.05)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("suffix", ["m4a", "aac"])  # Essentia reads the one by itself
def test_what_needs_ffmpeg(essentia, tmp_path, suffix):
    soundfile.write(tmp_path / "a.wav", np.stack([song(5.0)] * 2, 1), RATE)
    made = tmp_path / f"a.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", made], check=True)
    loudness = "lowlevel.loudness_ebu128.integrated"
    found, before = describe(made), describe(tmp_path / "a.wav")
    assert found.keys() == before.keys()
    assert found[loudness] == pytest.approx(before[loudness], abs=0.3)


def test_a_clip_below_a_second_has_all_descriptors(essentia, tmp_path):
    (tmp_path / "long.wav").write_bytes(wav(song(3.0)))
    (tmp_path / "short.wav").write_bytes(wav(song(0.1, first=2.0)))
    short = describe(tmp_path / "short.wav")
    assert short.keys() == describe(tmp_path / "long.wav").keys()
    assert np.isfinite(list(short.values())).all()


def test_what_is_mostly_silent_is_refused(essentia, tmp_path):
    music = np.concatenate([song(0.5), np.zeros(20 * RATE, np.float32)])
    (tmp_path / "a.wav").write_bytes(wav(music))
    with pytest.raises(
        AudioError, match=r"is refused by Essentia \(File looks like a comp.*; take"
    ):
        describe(tmp_path / "a.wav")


@pytest.mark.parametrize("room", [50, 50_000])  # less than the header, and than the samples
def test_a_full_disk_for_temporary_files_is_not_the_tracks_fault(essentia, tmp_path, room):
    (tmp_path / "a.wav").write_bytes(wav(song(3.0)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            describe(tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.ENOSPC


def test_without_essentia_one_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "essentia", None)
    (tmp_path / "a.wav").write_bytes(wav(song(1.0)))
    remedy = "pip install -r requirements-essentia.txt .the words m, d and s need none"
    with pytest.raises(InputError, match=remedy):
        describe(tmp_path / "a.wav")
    with pytest.raises(InputError, match=remedy):
        describe_tracks(["a"], [tmp_path / "a.wav"], tmp_path / "made", workers=1)
    assert not (tmp_path / "made").exists()


# ---------------------------------------------------------------- many tracks


def test_neither_workers_nor_chunks_show_in_the_result(essentia, songs, tmp_path, monkeypatch):
    names = ["c", "b", "a"]
    one = describe_tracks(names, songs, tmp_path / "one", workers=1)
    assert one.track_id.tolist() == names and one.failed == {}
    assert one.values.shape == (3, len(one.names)) and one.values.dtype == np.float32
    for row, path in zip(one.values, songs, strict=True):
        found = describe(path)
        assert one.names.tolist() == list(found)
        assert np.array_equal(row, np.array(list(found.values()), np.float32))
    monkeypatch.setattr(descriptors, "_CHUNK", 2)
    two = describe_tracks(names, songs, tmp_path / "two", workers=2)
    assert same(one, two)
    chunks = sorted(path.name for path in (tmp_path / "two").glob("*.h5"))
    assert chunks == ["0000000.h5", "0000002.h5"]
    assert same(one, describe_tracks(names, songs, tmp_path / "two", workers=1))


def test_real_clips(essentia, music_data, tmp_path):
    names = ["classical", "metal"]
    paths = [music_data / "data" / "gtzan_clips" / f"{name}.00000.au" for name in names]
    found = describe_tracks(names, paths, tmp_path / "made", workers=2)
    column = found.names.tolist().index("lowlevel.spectral_centroid.mean")
    assert found.values[0, column] < found.values[1, column]
    kept = normalise_descriptors(found.values)
    assert kept.missing == 0 and kept.values.shape == (2, 4364 - kept.constant)


_MAKE = """
import sys
from artist_groups import descriptors
descriptors._CHUNK = 1
paths = sys.argv[2:]
descriptors.describe_tracks(paths, paths, sys.argv[1], workers=1)
"""


def test_a_kill_costs_the_chunk_under_way(essentia, tmp_path, monkeypatch):
    paths = [str(tmp_path / f"{number}.wav") for number in range(4)]
    for number, path in enumerate(paths):
        soundfile.write(path, song(6.0, first=number), RATE)
    folder = tmp_path / "made"
    process = start_script(
        "-c", _MAKE, folder, *paths, TMPDIR=str(tmp_path)
    )  # a copy is left there
    first = folder / "0000000.h5"
    while not first.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    assert 1 <= len(before) < 4
    monkeypatch.setattr(descriptors, "_CHUNK", 1)
    found = describe_tracks(paths, paths, folder, workers=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.glob("*.h5"))) == 4 and not list(folder.glob("*.partial"))
    for row, path in zip(found.values, paths, strict=True):
        assert np.array_equal(row, np.array(list(describe(path).values()), np.float32))


def test_bad_files_are_counted(essentia, songs, tmp_path):
    bad = write_bad(tmp_path / "bad")
    bad.pop("short.wav")  # for a network, not for Essentia
    bad.pop("nul\0byte.wav")  # no split holds such a name
    bad["one sample.wav"] = "is refused by Essentia (File looks like a completely silent file"
    paths = [songs[0], *(tmp_path / "bad" / name for name in bad), songs[1]]
    track_ids = ["first", *bad, "last"]
    found = describe_tracks(track_ids, paths, tmp_path / "made", workers=2)
    assert found.track_id.tolist() == ["first", "last"]
    assert list(found.failed) == list(bad)
    for name, reason in bad.items():
        assert reason in found.failed[name]
    assert same(found, describe_tracks(track_ids, paths, tmp_path / "made", workers=1))


def test_none_that_works(essentia, tmp_path):
    for paths in ([], [tmp_path / "absent.wav"]):
        found = describe_tracks(["a"] * len(paths), paths, tmp_path / f"{len(paths)}", workers=1)
        assert found.values.shape == (0, 0) and len(found.failed) == len(paths)


def describe_by_name(path):
    """Stands in for `describe` in the workers: what happens is the file's name."""
    match path:
        case "crash":
            os._exit(1)
        case "hang":
            time.sleep(3600)
        case "full":
            raise OSError(errno.ENOSPC, "no room", "copy.wav")
    return {"all": 1.0, path: 2.0}


@pytest.fixture
def by_name(essentia, monkeypatch):
    monkeypatch.setattr(descriptors, "describe", describe_by_name)
    monkeypatch.setattr(descriptors, "_PATIENCE", 20.0)  # a worker may take ten to start
    monkeypatch.setattr(descriptors, "_CHUNK", 3)


def test_a_crash_or_a_hang_costs_its_track_only(by_name, tmp_path):
    paths = ["y", "crash", "x", "hang", "y"]
    found = describe_tracks(list("abcde"), paths, tmp_path / "made", workers=2)
    assert found.failed == {"b": "its decoder crashed", "d": "its decoder did not come back"}
    assert found.track_id.tolist() == ["a", "c", "e"]
    assert found.names.tolist() == ["all", "x", "y"]  # those of some track; NaN for the others
    nan = np.nan
    expected = np.array([[1, nan, 2], [1, 2, nan], [1, nan, 2]], np.float32)
    assert np.array_equal(found.values, expected, equal_nan=True)


def test_a_full_disk_ends_the_run_and_no_track_fails_by_it(by_name, tmp_path):
    with pytest.raises(OSError, match=r"no room: 'copy\.wav'"):
        describe_tracks(list("abcde"), ["x", "x", "x", "full", "x"], tmp_path / "made", workers=1)
    assert [path.name for path in (tmp_path / "made").glob("*.h5")] == ["0000000.h5"]


def test_chunks_of_other_tracks_or_files_are_refused(by_name, tmp_path, monkeypatch):
    folder, paths = tmp_path / "made", [str(tmp_path / name) for name in "xyzw"]
    for path in paths:
        open(path, "w").close()
    made = describe_tracks(list("abcd"), paths, folder, workers=1)
    assert same(made, describe_tracks(list("abcd"), paths, folder, workers=1))
    with pytest.raises(InputError, match=r"0000003\.h5: already there, .*tracks: .*delete it"):
        describe_tracks(list("abce"), paths, folder, workers=1)
    os.utime(paths[1], ns=(1, 1))
    with pytest.raises(InputError, match=r"0000000\.h5: already there, .*\(files: .*delete it"):
        describe_tracks(list("abcd"), paths, folder, workers=1)
    (folder / "0000000.h5").unlink()
    assert same(made, describe_tracks(list("abcd"), paths, folder, workers=1))
    monkeypatch.setattr(descriptors.importlib.metadata, "version", lambda _: "3.0")
    with pytest.raises(InputError, match=r'essentia: .* -> "3\.0"'):
        describe_tracks(list("abcd"), paths, folder, workers=1)


def test_damaged_chunks_are_refused(by_name, tmp_path):
    folder = tmp_path / "made"
    describe_tracks(["a"], ["x"], folder, workers=1)
    chunk = folder / "0000000.h5"
    with h5py.File(chunk, "a") as file:
        del file["values"]
        file["values"] = np.zeros((2, 2), np.float32)
    with pytest.raises(InputError, match=r"0000000\.h5: damaged; delete it and run the same"):
        describe_tracks(["a"], ["x"], folder, workers=1)
    chunk.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"0000000\.h5: not an HDF5 file"):
        describe_tracks(["a"], ["x"], folder, workers=1)


def test_only_one_run_at_a_time(by_name, tmp_path):
    with (
        filelock.FileLock(tmp_path / "lock"),
        pytest.raises(InputError, match="another process is at work here; wait for it"),
    ):
        describe_tracks(["a"], ["x"], tmp_path, workers=1)
    assert len(describe_tracks(["a"], ["x"], tmp_path, workers=1).track_id) == 1


# ---------------------------------------------------------------- as vectors


def varied(shape, seed=0):
    return np.random.default_rng(seed).lognormal(sigma=2, size=shape).astype(np.float32)


def test_each_descriptor_is_about_normal():
    found = normalise_descriptors(varied((600, 4)))
    assert found.values.dtype == np.float32 and found.values.shape == (600, 4)
    for column in found.values.T:
        assert kstest(column, "norm").statistic < 0.01
        assert [column.min(), column.max()] == pytest.approx([-5.2, 5.2], abs=0.01)


@settings(deadline=None, max_examples=50)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(2, 40), st.integers(1, 4)),
        elements=st.floats(-(2.0**20), 2.0**20, width=32) | st.sampled_from([0.0, 1.0]),
    )
)
def test_ranks_are_kept(values):
    with contextlib.suppress(InputError):
        found = normalise_descriptors(values)
        assert np.isfinite(found.values).all()
        for before, after in zip(values[:, found.columns].T, found.values.T, strict=True):
            order = np.argsort(before, kind="stable")
            assert (np.diff(after[order]) >= 0).all()
            assert all(len(set(after[before == value])) == 1 for value in before)


def test_distinct_values_stay_distinct():
    values = varied((600, 4))
    found = normalise_descriptors(values)
    assert np.array_equal(rankdata(values, axis=0), rankdata(found.values, axis=0))


def test_missing_and_constant_descriptors_are_dropped():
    values = varied((30, 6))
    values[3, 0], values[4, 1], values[5, 1] = np.nan, np.inf, -np.inf
    values[:, 3] = 7
    values[:, 5] = [np.nan] * 30
    found = normalise_descriptors(values)
    assert found.columns.tolist() == [False, False, True, False, True, False]
    assert (found.missing, found.constant) == (3, 1)
    assert np.array_equal(found.values, normalise_descriptors(values[:, [2, 4]]).values)


def test_values_given_are_left_as_they_are():
    values = varied((30, 3))
    before = values.copy()
    normalise_descriptors(values)
    assert np.array_equal(values, before)


def test_the_seed_decides_which_tracks_quantiles_are_learnt_from():
    values = varied((10_500, 1))
    one, again, other = (normalise_descriptors(values, seed).values for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_nothing_to_normalise():
    with pytest.raises(InputError, match="1 tracks; take a split with two or more"):
        normalise_descriptors(varied((1, 3)))
    values = varied((5, 3))
    values[:, 0], values[2, 1], values[0, 2] = 1, np.nan, np.inf
    with pytest.raises(InputError, match=r"none is left of 3: 2 are missing .*, 1 the same in all"):
        normalise_descriptors(values)
    with pytest.raises(InputError, match="none is left of 0"):
        normalise_descriptors(np.zeros((5, 0)))
