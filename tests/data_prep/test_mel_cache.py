"""Tests of the mel cache: content, rejection of damaged files, and resuming after interruptions."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from common.errors import InputError
from data_prep import audio, mel_cache_writer, split_csv
from data_prep.batches import Crops
from data_prep.mel import FrontEnd, log_mel_of_file
from data_prep.mel_cache import MelCache
from data_prep.mel_cache_writer import make_mel_cache
from data_prep.track_readers import CachedTracks
from tests.conftest import ROOT, error_in_process, run_in_process, without_progress
from tests.data_prep.files import clip, in_this_process, stopped_after, wav, write_bad

SCRIPT = ROOT / "data_prep" / "2_cache_mels.py"
TRACKS = 9


def table_of(paths, subsets=("train", "train", "valid")):
    subsets = [subsets[number % len(subsets)] for number in range(len(paths))]
    return pd.DataFrame({"track_id": paths, "path": paths, "subset": subsets, "artist": "a"})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return (table, audio folder) with nine tracks of 3 to 4 s."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(TRACKS):
        music = clip(3.0 + number / 8, first=2.0 * number)
        (folder / f"{number}.wav").write_bytes(wav(music))
    return table_of([f"{number}.wav" for number in range(TRACKS)]), folder


@pytest.fixture(scope="module")
def complete(corpus, tmp_path_factory):
    """Return the path of a corpus cache made without interruption, by worker processes."""
    out = tmp_path_factory.mktemp("made") / "made.h5"
    report = make_mel_cache(*corpus, out, workers=2)
    assert (report.tracks, report.failed, report.was_complete) == (TRACKS, {}, False)
    return out


@pytest.fixture
def copy(complete, tmp_path):
    """Return the path of a copy of the complete cache."""
    return Path(shutil.copy(complete, tmp_path / "copy.h5"))


@pytest.fixture
def here(monkeypatch):
    """Decode tracks in this process, which is faster."""
    monkeypatch.setattr(mel_cache_writer, "ordered_map", in_this_process)


STARTED = []


@pytest.fixture(autouse=True)
def end_started_processes():
    yield
    while STARTED:
        process = STARTED.pop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def script(split, folder, out, *options, program=None):
    """Start `2_cache_mels.py`, or a `program` that runs it, in a new process group."""
    start = [SCRIPT] if program is None else ["-c", program, SCRIPT]
    process = subprocess.Popen(
        [sys.executable, *start, split, "--audio", folder, "--out", out, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    STARTED.append(process)
    return process


def finished(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, without_progress(err)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- content


def test_cache_contains_front_end_frames(corpus, complete):
    table, folder = corpus
    cache = MelCache(complete)
    assert len(cache) == TRACKS and cache.track_id.tolist() == table["track_id"].tolist()
    for track in cache.track_id:
        expected = log_mel_of_file(folder / track).astype(np.float16)
        assert np.array_equal(cache[track], expected) and cache[track].dtype == np.float16
    assert isinstance(cache.frames, np.memmap) and not cache.frames.flags.writeable
    assert cache.frames.shape == (cache.length.sum(), 128) and cache.failed == {}
    assert cache.front_end == FrontEnd() and cache.made_from["inputs"]["tracks"] == TRACKS
    assert "0.wav" in cache and "nine.wav" not in cache


def test_mean_and_std_are_computed_from_training_tracks(corpus, complete):
    cache = MelCache(complete)
    train = corpus[0].loc[corpus[0]["subset"] == "train", "track_id"]
    frames = np.concatenate([cache[track] for track in train]).astype(np.float64)
    assert cache.mean == pytest.approx(frames.mean(), rel=1e-12)
    assert cache.std == pytest.approx(frames.std(), rel=1e-9)
    assert abs(cache.mean - cache.frames.astype(np.float64).mean()) > 1e-6


def test_mean_and_std_use_all_tracks_if_there_are_no_training_tracks(corpus, tmp_path, here):
    table = corpus[0].iloc[:2].assign(subset="test")
    make_mel_cache(table, corpus[1], tmp_path / "c.h5")
    cache = MelCache(tmp_path / "c.h5")
    assert cache.mean == pytest.approx(cache.frames.astype(np.float64).mean(), rel=1e-12)


def test_rows_returns_positions_or_names_a_missing_track(complete):
    cache = MelCache(complete)
    assert cache.rows(["3.wav", "0.wav"]).tolist() == [3, 0]
    with pytest.raises(InputError, match=r"2 of 3 tracks are missing, the first 'x'; cache this"):
        cache.rows(np.array(["0.wav", "x", "y"]))


def test_cache_does_not_depend_on_the_number_of_workers(corpus, complete, tmp_path, here):
    make_mel_cache(*corpus, tmp_path / "c.h5")
    assert (tmp_path / "c.h5").read_bytes() == complete.read_bytes()
    assert names(tmp_path) == ["c.h5"]


# ---------------------------------------------------------------- the front end


def test_require_front_end_ignores_length_resampler_and_level(complete):
    cache = MelCache(complete)
    for changed in ({}, {"max_frames": 7}, {"resampler": "soxr_hq"}, {"normalise": "peak"}):
        cache.require_front_end(FrontEnd(**changed))
    changed = r"\(front_end\.hop: 512 -> 256; front_end\.pad_mode: \"reflect\" -> \"constant\"\)"
    with pytest.raises(InputError, match=changed):
        cache.require_front_end(FrontEnd(hop=256, pad_mode="constant", max_frames=None))


def test_crops_and_extraction_reject_a_different_front_end(corpus, tmp_path, here):
    out = tmp_path / "c.h5"
    make_mel_cache(corpus[0].iloc[:2], corpus[1], out, front_end=FrontEnd(hop=256))
    refusal = (
        f"{out}: made with another front end than the networks' (front_end.hop: 256 -> 512); "
        "make the cache again with data_prep/2_cache_mels.py"
    )
    for use in (CachedTracks, lambda path: Crops(MelCache(path), ["0.wav"])):
        with pytest.raises(InputError) as caught:
            use(out)
        assert str(caught.value) == refusal


def test_crops_and_extraction_accept_whole_tracks(corpus, complete, tmp_path, here):
    out = tmp_path / "c.h5"
    make_mel_cache(*corpus, out, front_end=FrontEnd(max_frames=None))
    tracks, cached = CachedTracks(out), CachedTracks(complete)
    for ours, first_30_s in zip(
        tracks.mels(tracks.track_id), cached.mels(cached.track_id), strict=True
    ):
        assert np.array_equal(ours, first_30_s)  # the tracks are shorter than 30 s
    assert len(Crops(MelCache(out), np.array(tracks.track_id))) == TRACKS


# ---------------------------------------------------------------- existing outputs


def test_complete_cache_is_left_unchanged(corpus, copy):
    before = copy.stat().st_mtime_ns, copy.read_bytes()
    (copy.parent / "copy.h5.making").mkdir()  # left by a process killed after the last rename
    report = make_mel_cache(*corpus, copy)
    assert report.was_complete and report.tracks == TRACKS
    assert (copy.stat().st_mtime_ns, copy.read_bytes()) == before
    assert names(copy.parent) == ["copy.h5"]
    # Labels may change, as the cache contains none, and the audio is no longer needed.
    make_mel_cache(corpus[0].assign(artist="b", genre="x"), "/nowhere", copy)


def test_caches_of_version_0_1_are_recognised_and_completed(corpus, tmp_path, here):
    """Test caches whose records name no resampler, as version 0.1 wrote them."""
    split, out = tmp_path / "split.csv", tmp_path / "c.h5"
    split_csv.write_split(corpus[0], split, {"inputs": {}})
    command = SCRIPT, split, "--audio", corpus[1], "--out", out
    make_mel_cache(*corpus, out, front_end=FrontEnd(resampler="soxr_hq"))
    assert "resampler" not in MelCache(out).made_from["inputs"]["front_end"]
    assert "already complete" in run_in_process(*command).out
    (tmp_path / "c.h5.making").mkdir()
    inputs = json.dumps(MelCache(out).made_from["inputs"])
    (tmp_path / "c.h5.making" / "inputs.json").write_text(inputs)
    content = out.read_bytes()
    out.unlink()
    assert "c.h5: complete" in run_in_process(*command).out
    assert out.read_bytes() == content
    error = error_in_process(*command, "--resampler", "kaiser_best_2017")
    assert 'front_end.resampler: null -> "kaiser_best_2017"' in error


def test_different_inputs_are_rejected(corpus, copy):
    table, folder = corpus
    for other, front_end, what in (
        (table, FrontEnd(max_frames=None), "front_end.max_frames: 1291 -> null"),
        (table.iloc[:5], None, "tracks: 9 -> 5"),
        (table.assign(subset="train"), None, "split: "),
        (table.assign(path=table["path"][::-1].to_numpy()), None, "split: "),
    ):
        with pytest.raises(InputError, match=f"copy.h5: already there.*{what}"):
            make_mel_cache(other, folder, copy, front_end=front_end)
    making = copy.parent / "new.h5.making"
    making.mkdir()
    inputs = MelCache(copy).made_from["inputs"]
    (making / "inputs.json").write_text(json.dumps({**inputs, "tracks": 8}))
    with pytest.raises(InputError, match=r"new.h5.making: already there.*tracks: 8 -> 9"):
        make_mel_cache(*corpus, copy.parent / "new.h5")
    (making / "inputs.json").write_text("[]")
    with pytest.raises(InputError, match=r"inputs.json: is damaged; delete the folder new.h5.mak"):
        make_mel_cache(*corpus, copy.parent / "new.h5")


def test_second_process_is_rejected(corpus, tmp_path):
    out = tmp_path / "c.h5"
    (tmp_path / "c.h5.making").mkdir()
    with (
        filelock.FileLock(tmp_path / "c.h5.making" / "lock"),
        pytest.raises(InputError, match=r"c\.h5\.making: another process is at work here"),
    ):
        make_mel_cache(*corpus, out)


def test_cache_finished_by_another_process_is_kept(corpus, complete, tmp_path, monkeypatch):
    """Simulate another process that finishes between the first check and the lock."""
    out = tmp_path / "c.h5"
    exclusive_folder = mel_cache_writer.exclusive_folder

    def finish_first(folder):
        shutil.copy(complete, out)
        return exclusive_folder(folder)

    monkeypatch.setattr(mel_cache_writer, "exclusive_folder", finish_first)
    assert make_mel_cache(*corpus, out).was_complete
    assert names(tmp_path) == ["c.h5"] and out.read_bytes() == complete.read_bytes()


# ---------------------------------------------------------------- failures


def test_bad_files_are_listed_with_reasons(tmp_path, here):
    folder, split, out = tmp_path / "audio", tmp_path / "split.csv", tmp_path / "c.h5"
    bad = {name: why for name, why in write_bad(folder).items() if "\0" not in name}
    good = ['it\'s "a" & b.wav', "two\nlines.wav", "sub/日本 a,b.flac"]
    (folder / "sub").mkdir()
    for number, name in enumerate(good):
        soundfile.write(folder / name, clip(3.5, first=number), audio.SAMPLE_RATE)
    split_csv.write_split(table_of(sorted([*bad, *good])), split, {"inputs": {}})
    command = SCRIPT, split, "--audio", folder, "--out", out
    expected = f"{out}: complete, {len(good)} tracks; {len(bad)} failed, see "
    note, line = run_in_process(*command).lines
    assert line.startswith(expected)
    assert note.startswith("3 of 3 tracks have a peak below -10 dB")
    cache = MelCache(out)
    assert cache.track_id.tolist() == sorted(good) and cache.failed.keys() == bad.keys()
    for name, why in bad.items():
        assert why in cache.failed[name], name
    for name in good:
        assert np.array_equal(cache[name], log_mel_of_file(folder / name).astype(np.float16))
    listed = pd.read_csv(tmp_path / "c.failures.csv", keep_default_na=False)
    assert dict(zip(listed["track_id"], listed["reason"], strict=True)) == cache.failed
    assert names(tmp_path) == ["audio", "c.failures.csv", "c.h5", "split.csv", "split.csv.json"]
    assert "already complete" in run_in_process(*command, "--strict", status=1).out
    assert f"{len(bad)} failed" in run_in_process(*command, "--allow-failures").out


def test_caching_can_be_retried_after_no_track_was_usable(corpus, complete, tmp_path, here):
    wrong, out = tmp_path / "wrong", tmp_path / "c.h5"
    wrong.mkdir()
    with pytest.raises(InputError, match=r"none of the 9 tracks.*first, 0.wav: no such file"):
        make_mel_cache(*(corpus[0], wrong), out)
    assert names(tmp_path) == ["c.failures.csv", "wrong"]
    assert make_mel_cache(*corpus, out).failed == {}
    assert out.read_bytes() == complete.read_bytes() and names(tmp_path) == ["c.h5", "wrong"]


def test_missing_audio_folder_is_rejected(corpus, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        make_mel_cache(corpus[0], tmp_path / "nowhere", tmp_path / "c.h5")
    assert names(tmp_path) == []


def test_unplugged_disk_does_not_mark_its_tracks_as_failed(corpus, complete, tmp_path, monkeypatch):
    folder, out = tmp_path / "audio", tmp_path / "c.h5"
    shutil.copytree(corpus[1], folder)

    def unplugged(function, items, *, workers):
        yield from in_this_process(function, itertools.islice(items, 3))
        folder.rename(tmp_path / "away")
        yield from in_this_process(function, items)

    monkeypatch.setattr(mel_cache_writer, "ordered_map", unplugged)
    with pytest.raises(InputError, match="audio: no longer exists; restore it"):
        make_mel_cache(corpus[0], folder, out)
    monkeypatch.setattr(mel_cache_writer, "ordered_map", in_this_process)
    (tmp_path / "away").rename(folder)
    assert make_mel_cache(corpus[0], folder, out).failed == {}
    assert out.read_bytes() == complete.read_bytes()


# ---------------------------------------------------------------- damaged caches


def replace(name, value, **settings):
    def damage(file):
        del file[name]
        file.create_dataset(name, data=value, **settings)

    return damage


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def shift(name, row, by):
    def damage(file):
        values = file[name][()]
        values[row] += by
        file[name][()] = values

    return damage


def linked(file):
    del file["frames"]
    file["frames"] = h5py.ExternalLink("other.h5", "frames")


ROWS = np.zeros(TRACKS, np.int64)
FRAMES = np.zeros((5000, 128), np.float16)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(shift("start", TRACKS - 1, 1), id="start too late"),
        pytest.param(shift("length", 0, -(10**6)), id="length negative"),
        pytest.param(shift("length", 1, 2**63 - 1000), id="sum overflows"),
        pytest.param(replace("start", ROWS[:-1]), id="fewer starts"),
        pytest.param(replace("start", ["a"] * TRACKS), id="starts are text"),
        pytest.param(replace("track_id", ["a"] * TRACKS), id="duplicate tracks"),
        pytest.param(replace("frames", FRAMES.astype(float)), id="frames of float64"),
        pytest.param(replace("frames", FRAMES[:, :64]), id="64 bands"),
        pytest.param(replace("frames", FRAMES[:0]), id="no frames"),
        pytest.param(replace("frames", FRAMES, chunks=(100, 128)), id="frames in chunks"),
        pytest.param(linked, id="frames in another file"),
        pytest.param(attribute("mean", np.nan), id="mean is NaN"),
        pytest.param(attribute("std", 0.0), id="std is zero"),
        pytest.param(attribute("front_end", '{"hop": 1, "other": 2}'), id="other front end"),
        pytest.param(attribute("made_from", "{}"), id="no inputs"),
    ],
)
def test_damaged_cache_is_rejected(copy, damage):
    with h5py.File(copy, "a") as file:
        damage(file)
    with pytest.raises(InputError, match=r"copy\.h5: .+; .+") as caught:
        MelCache(copy)
    assert "\n" not in str(caught.value)


def test_truncated_and_foreign_files_are_rejected(corpus, copy):
    whole = copy.read_bytes()
    for content, error in (
        (whole[: len(whole) // 2], "not an HDF5 file, or damaged"),
        (whole.replace(b"mel-cache-1", b"mel-cache-2"), "not a mel cache; make one with"),
    ):
        copy.write_bytes(content)
        for read in (MelCache, lambda path: make_mel_cache(*corpus, path)):
            with pytest.raises(InputError, match=f"copy.h5: {error}"):
                read(copy)


# ---------------------------------------------------------------- interruptions


@pytest.fixture(scope="module")
def journal(complete):
    """Return {file: content} of the working folder that a kill after the seventh track leaves."""
    cache, lines = MelCache(complete), []
    with h5py.File(complete) as file:
        peaks = file["peak"][:].tolist()
    for track, peak in zip(cache.track_id[:7], peaks, strict=False):
        values = cache[track].astype(np.float64).ravel()
        entry = [len(cache[track]), float(values.sum()), float(values @ values), "", peak]
        lines.append(json.dumps(entry).encode() + b"\n")
    return {
        "inputs.json": json.dumps(cache.made_from["inputs"]).encode(),
        "frames": bytes(4096) + cache.frames[: int(cache.length[:7].sum())].tobytes(),
        "journal": b"".join(lines),
    }


def drop(name):
    return lambda files: files.pop(name)


def put(name, make_content):
    return lambda files: files.update({name: make_content(files[name])})


def insert_garbage(lines):
    lines = lines.splitlines(keepends=True)
    return b"".join([*lines[:3], b"\xff\x00garbage\n", *lines[3:]])


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        pytest.param(lambda files: None, 7, id="as it is"),
        pytest.param(put("journal", lambda lines: lines[:-5]), 6, id="half a last line"),
        pytest.param(put("frames", lambda frames: frames[:-1]), 6, id="half a last frame"),
        pytest.param(put("frames", lambda frames: frames + b"x" * 999), 7, id="more frames"),
        pytest.param(put("journal", insert_garbage), 3, id="garbage"),
        pytest.param(put("journal", lambda lines: lines * 3), 7, id="more lines than frames"),
        pytest.param(drop("frames"), 0, id="no frames"),
        pytest.param(drop("journal"), 0, id="no journal"),
        pytest.param(drop("inputs.json"), 0, id="no inputs"),
    ],
)
def test_resume_repeats_tracks_not_confirmed_by_the_journal(
    corpus, complete, journal, tmp_path, monkeypatch, damage, kept
):
    files = dict(journal)
    damage(files)
    making = tmp_path / "c.h5.making"
    making.mkdir()
    for name, content in files.items():
        (making / name).write_bytes(content)
    decoded: list[str] = []
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(1, decoded))
    with pytest.raises(KeyboardInterrupt):
        make_mel_cache(*corpus, tmp_path / "c.h5")
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(TRACKS, decoded))
    make_mel_cache(*corpus, tmp_path / "c.h5")
    assert decoded == [f"{number}.wav" for number in range(kept, TRACKS)]
    assert (tmp_path / "c.h5").read_bytes() == complete.read_bytes()
    assert names(tmp_path) == ["c.h5"]


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Return (split, folder, cache) with 150 small tracks that are slow to decode."""
    folder = tmp_path_factory.mktemp("slow")
    for number in range(3):
        music = np.repeat(clip(3.1, first=4.0 * number), 8)[:, None].repeat(2, axis=1)
        soundfile.write(folder / f"{number}.flac", music, 8 * audio.SAMPLE_RATE)
    paths = [f"t{number:03}.flac" for number in range(150)]
    for number, path in enumerate(paths):
        os.link(folder / f"{number % 3}.flac", folder / path)
    paths[20] = "absent.flac"
    split, out = folder / "split.csv", folder / "whole.h5"
    split_csv.write_split(table_of(paths), split, {"inputs": {}})
    make_mel_cache(split_csv.read_split(split), folder, out, workers=2)
    return split, folder, out


def lines_in(journal):
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for(condition, process):
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.slow
def test_resume_after_repeated_kills_is_bit_identical(slow, tmp_path):
    split, folder, whole = slow
    out, journal = tmp_path / "c.h5", tmp_path / "c.h5.making" / "journal"
    before = 0
    for number, moment in enumerate(np.random.default_rng(0).uniform(0, 0.03, 8)):
        process = script(split, folder, out, "--workers", "2")
        target = before + number % 4
        wait_for(lambda least=target: journal.exists() and lines_in(journal) >= least, process)
        if number == 5:
            with pytest.raises(InputError, match="another process is at work here"):
                make_mel_cache(split_csv.read_split(split), folder, out)
        time.sleep(moment)
        assert process.poll() is None
        if number % 2:
            process.kill()  # kill only the parent; its workers exit too
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = lines_in(journal)
        assert target <= before < 150 and not out.exists()
    assert before > 8
    status, out_text, error = finished(script(split, folder, out, "--workers", "2"))
    assert (status, error) == (0, "") and "149 tracks; 1 failed" in out_text
    assert out.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == ["c.failures.csv", "c.h5"]


PATCHED = """
import os, runpy, shutil, signal, sys
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
real = os.replace
def replace(source, target):
    if str(target).endswith("c.h5"):
        {replace}
    real(source, target)
os.replace = replace
shutil.rmtree = die
if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_resume_after_a_kill_during_the_last_steps(corpus, complete, tmp_path):
    table, folder = corpus
    split, out = tmp_path / "split.csv", tmp_path / "c.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    process = script(split, folder, out, program=PATCHED.format(replace="die()"))
    assert finished(process)[0] == -signal.SIGKILL
    assert not out.exists()
    frames = tmp_path / "c.h5.making/frames"
    assert frames.stat().st_size == complete.stat().st_size  # only the rename is missing
    process = script(split, folder, out, program=PATCHED.format(replace="pass"))
    assert finished(process)[0] == -signal.SIGKILL
    assert out.read_bytes() == complete.read_bytes() and (tmp_path / "c.h5.making").exists()
    assert finished(script(split, folder, out)) == (0, f"{out}: already complete, 9 tracks\n", "")
    assert names(tmp_path) == ["c.h5", "split.csv", "split.csv.json"]


@pytest.mark.slow
def test_resume_after_a_full_disk(corpus, complete, tmp_path):
    """Limit the file size so that first the frames, then the cache, exceed the limit."""
    table, folder = corpus
    split, out = tmp_path / "split.csv", tmp_path / "c.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    frames = MelCache(complete).frames.nbytes
    for limit, hit in ((frames // 2, "c.h5"), (4096 + frames + 100, "c.h5.making/shell")):
        program = (
            "import resource, runpy, sys\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
            "sys.argv = sys.argv[1:]\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        status, out_text, error = finished(script(split, folder, out, program=program))
        assert (status, out_text) == (1, "")
        assert error == (
            f"error: {tmp_path / hit}: the disk is full; free some space and run the same "
            "command again\n"
        )
        assert not out.exists()
        assert 0 < lines_in(tmp_path / "c.h5.making" / "journal") <= TRACKS
    assert lines_in(tmp_path / "c.h5.making" / "journal") == TRACKS
    status, out_text, error = finished(script(split, folder, out))
    assert (status, error) == (0, "") and out_text.endswith(f"{out}: complete, 9 tracks\n")
    assert out.read_bytes() == complete.read_bytes()


def test_output_folder_that_cannot_be_created_is_reported(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot make this folder \(.*\); choose another place"):
        make_mel_cache(*corpus, tmp_path / "file" / "c.h5")


def test_script_reports_invalid_arguments(corpus, tmp_path):
    split = tmp_path / "absent.csv"
    command = SCRIPT, split, "--audio", corpus[1], "--out", tmp_path / "c.h5"
    error = f"error: {split}: no such split; make it with data_prep/1_make_splits.py"
    assert run_in_process(*command, status=1).err.strip() == error
    assert "0 is below one" in run_in_process(*command, "--workers", "0", status=2).err


def test_quiet_tracks_are_counted_when_a_cache_is_made_resumed_and_read(monkeypatch, tmp_path):
    for number, gain in enumerate((1.0, 0.1, 0.1)):
        music = gain * clip(4.0) / np.abs(clip(4.0)).max()
        (tmp_path / f"{number}.wav").write_bytes(wav(music))
    corpus, out = (table_of(["0.wav", "1.wav", "2.wav"]), tmp_path), tmp_path / "made.h5"
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(2, []))
    with pytest.raises(KeyboardInterrupt):
        make_mel_cache(*corpus, out)
    monkeypatch.setattr(mel_cache_writer, "ordered_map", in_this_process)
    made, again = make_mel_cache(*corpus, out), make_mel_cache(*corpus, out)
    assert made.quiet == again.quiet == CachedTracks(out).quiet == 2
    extracted = run_in_process("extract_features.py", "mfcc", out, "--out", tmp_path / "mfcc.h5")
    assert "2 of 3 tracks have a peak below -10 dB" in extracted.out
    with h5py.File(out, "r+") as file:
        del file["peak"]  # as in version 0.1
    assert MelCache(out).quiet == 0
    # A cache that version 0.1 had begun.
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(2, []))
    with pytest.raises(KeyboardInterrupt):
        make_mel_cache(*corpus, tmp_path / "old.h5")
    journal = tmp_path / "old.h5.making/journal"
    entries = map(json.loads, journal.read_text().splitlines())
    journal.write_text("".join(json.dumps(entry[:4]) + "\n" for entry in entries))
    monkeypatch.setattr(mel_cache_writer, "ordered_map", in_this_process)
    assert make_mel_cache(*corpus, tmp_path / "old.h5").quiet == 1
    normalised = tmp_path / "normalised.h5"
    assert make_mel_cache(*corpus, normalised, front_end=FrontEnd(normalise="peak")).quiet == 0
