"""Tests of sharded mel caches: same content as a single file, rejection of incomplete sets."""

import json
import shutil
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep import mel_cache, mel_cache_writer, split_csv
from data_prep.batches import Crops
from data_prep.mel import FrontEnd
from data_prep.mel_cache import MelCache
from data_prep.mel_cache_writer import make_mel_cache
from tests.conftest import run_in_process
from tests.data_prep.files import clip, in_this_process, stopped_after, wav

TRACKS, ABSENT = 9, 4  # number of tracks, and the track that has no file
N = 4  # tracks per shard


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return (table, audio folder) with tracks of 3 to 4 s, one of them missing."""
    folder = tmp_path_factory.mktemp("corpus")
    names = [f"{number}.wav" for number in range(TRACKS)]
    for number, name in enumerate(names):
        if number != ABSENT:
            (folder / name).write_bytes(wav(clip(3.0 + number / 8, first=2.0 * number)))
    subsets = [("valid", "train", "train")[number % 3] for number in range(TRACKS)]
    return pd.DataFrame({"track_id": names, "path": names, "subset": subsets, "artist": ""}), folder


@pytest.fixture
def here(monkeypatch):
    """Decode tracks in this process, which is faster."""
    monkeypatch.setattr(mel_cache_writer, "ordered_map", in_this_process)


@pytest.fixture(scope="module")
def caches(corpus, tmp_path_factory):
    """Cache the corpus as a single file, one.h5, and as shards, set.h5; return their folder."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mel_cache_writer, "ordered_map", in_this_process)
        make_mel_cache(*corpus, folder / "one.h5")
        report = make_mel_cache(*corpus, folder / "set.h5", shard_tracks=N)
    assert (report.tracks, list(report.failed)) == (TRACKS - 1, ["4.wav"])
    return folder


@pytest.fixture
def copies(caches, tmp_path):
    """Copy the shards, and return the path by which they are read."""
    for shard in mel_cache.find_shards(caches / "set.h5").values():
        shutil.copy(shard, tmp_path)
    return tmp_path / "set.h5"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def content(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def assert_same(cache, other):
    assert cache.frames.shape == other.frames.shape and cache.frames.dtype == other.frames.dtype
    assert np.array_equal(cache.frames[:], other.frames[:])
    assert cache.track_id.tolist() == other.track_id.tolist()
    assert np.array_equal(cache.start, other.start) and np.array_equal(cache.length, other.length)
    assert (cache.mean, cache.std) == (other.mean, other.std)  # bit-identical
    assert (cache.made_from, cache.failed) == (other.made_from, other.failed)
    assert cache.front_end == other.front_end


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("shard_tracks", [1, N, 100])
def test_shards_are_read_like_a_single_file(corpus, caches, here, tmp_path, shard_tracks):
    out = tmp_path / "set.h5"
    make_mel_cache(*corpus, out, shard_tracks=shard_tracks)
    count = -(-TRACKS // shard_tracks)
    files = [f"set-{number:05}.h5" for number in range(count)]
    assert names(tmp_path) == sorted([*files, f"set-{ABSENT // shard_tracks:05}.failures.csv"])
    cache, one = MelCache(out), MelCache(caches / "one.h5")
    assert_same(cache, one)
    for track in cache.track_id:
        assert np.array_equal(cache[track], one[track])
        assert not cache[track].flags.owndata  # a view, since each track is in one shard
    assert "8.wav" in cache and "4.wav" not in cache and len(cache) == TRACKS - 1
    assert cache.rows(["8.wav", "0.wav"]).tolist() == [7, 0]


def test_shard_is_a_complete_cache(caches):
    one, shard = MelCache(caches / "one.h5"), MelCache(caches / "set-00001.h5")
    assert shard.track_id.tolist() == ["5.wav", "6.wav", "7.wav"]
    assert list(shard.failed) == ["4.wav"] and isinstance(shard.frames, np.memmap)
    assert all(np.array_equal(shard[track], one[track]) for track in shard.track_id)
    train = np.concatenate([shard["5.wav"], shard["7.wav"]]).astype(np.float64)
    assert shard.mean == pytest.approx(train.mean(), rel=1e-12)
    assert shard.std == pytest.approx(train.std(), rel=1e-9)


def test_crops_from_shards_match_a_single_file(caches):
    tracks = np.array(["7.wav", "0.wav", "8.wav", "3.wav"], object)
    one, shards = (Crops(MelCache(caches / name), tracks) for name in ("one.h5", "set.h5"))
    rng = np.random.default_rng(0)
    places = one.places(rng.integers(4, size=(5, 3)), rng)
    assert np.array_equal(shards.gather(places), one.gather(places))
    assert np.array_equal(shards.spans(), one.spans())


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    ends=st.tuples(*[st.none() | st.integers(-3, 30)] * 2),
)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_slices_of_sharded_frames_match_a_single_array(lengths, ends):
    whole = np.arange(2 * sum(lengths), dtype=np.float16).reshape(-1, 2)
    frames = mel_cache.ShardedFrames(np.split(whole, np.cumsum(lengths)[:-1]))
    actual = frames[slice(*ends)]
    assert np.array_equal(actual, whole[slice(*ends)])
    assert (actual.dtype, actual.shape[1], frames.shape) == (np.float16, 2, whole.shape)
    assert len(frames) == len(whole)


def test_sharded_frames_reject_unsupported_indices(caches):
    frames = MelCache(caches / "set.h5").frames
    for places in (0, slice(0, 4, 2), [1, 2], (slice(0, 2), 0)):
        with pytest.raises(TypeError, match="only be read in slices"):
            frames[places]


# ---------------------------------------------------------------- invalid sets


def shard(out, number):
    return mel_cache.shard_path(out, number)


@pytest.mark.parametrize(("missing", "first"), [([1], 1), ([0, 1], 0), ([2], 2)])
def test_error_names_the_missing_shard(copies, missing, first):
    for number in missing:
        shard(copies, number).unlink()
    expected = rf"set-0000{first}.h5: missing \({len(missing)} of 3 shards\); copy it here"
    with pytest.raises(InputError, match=expected):
        MelCache(copies)


@pytest.mark.parametrize(
    ("changes", "front_end", "error"),
    [
        ({"split": "x"}, {}, r"made from other inputs than set-00000.h5 \(split: .*outdated"),
        ({"of": 5}, {}, r"made from other inputs .*\(shards: 3 -> 5\)"),
        ({"number": 2}, {}, "contains shard 2, not 1; rename it back"),
        ({}, {"hop": 256}, r"made from other inputs .*\(front_end.hop: 512 -> 256\)"),
    ],
)
def test_shard_from_another_cache_is_rejected(copies, changes, front_end, error):
    with h5py.File(shard(copies, 1), "a") as file:
        record = json.loads(file.attrs["made_from"])
        record["inputs"]["shard"].update(changes)
        file.attrs["made_from"] = json.dumps(record)
        parameters = json.loads(file.attrs["front_end"])
        file.attrs["front_end"] = json.dumps(parameters | front_end)
    with pytest.raises(InputError, match=rf"set-00001.h5: {error}"):
        MelCache(copies)


def test_complete_cache_is_not_a_shard(caches, copies):
    shutil.copy(caches / "one.h5", shard(copies, 1))
    with pytest.raises(InputError, match=r"set-00001.h5: named like a shard of set.h5, but not"):
        MelCache(copies)


@pytest.mark.parametrize("entry", [None, {"number": 1}, {"number": 1, "of": "3", "tracks": 3}])
def test_shard_with_damaged_provenance_is_rejected(copies, entry):
    with h5py.File(shard(copies, 1), "a") as file:
        record = json.loads(file.attrs["made_from"])
        record["inputs"]["shard"] = entry
        file.attrs["made_from"] = json.dumps(record)
    with pytest.raises(InputError, match=r"set-00001.h5: named like a shard of set.h5, but not"):
        MelCache(copies)


def test_files_with_similar_names_are_ignored(caches, copies):
    for name in ("set-0000.h5", "set-00000.h5.partial", "reset-00003.h5", "set-000003.h5"):
        (copies.parent / name).write_text("")
    assert len(MelCache(copies)) == TRACKS - 1
    matching = sorted(copies.parent.glob(mel_cache.shard_pattern(copies).name))
    assert matching == [shard(copies, number) for number in range(3)]
    shutil.copy(caches / "one.h5", copies)
    assert isinstance(MelCache(copies).frames, np.memmap), "a single file is preferred to shards"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total", [1.0, 2.0]),
        ("squares", [1.0, np.nan, 1.0]),
        ("train", ["a", "b", "c"]),
        ("frames", np.zeros((0, 128), np.float16)),
        ("track_id", ["0.wav", "6.wav", "7.wav"]),  # 0.wav is in another shard
    ],
)
def test_damaged_shard_is_rejected(copies, name, value):
    with h5py.File(shard(copies, 1), "a") as file:
        del file[name]
        file[name] = value
    with pytest.raises(InputError, match=r"set(-00001)?\.h5: .+; .+"):
        MelCache(copies)


# ---------------------------------------------------------------- creation


def test_resume_after_interruptions_is_bit_identical(corpus, caches, tmp_path, monkeypatch):
    decoded: list[str] = []
    out = tmp_path / "set.h5"
    for number in (1, 2, 0, 3, 1):
        monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(number, decoded))
        with pytest.raises(KeyboardInterrupt):
            make_mel_cache(*corpus, out, shard_tracks=N)
        assert set(mel_cache.find_shards(out)) == set(range(len(decoded) // N))
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(TRACKS, decoded))
    report = make_mel_cache(*corpus, out, shard_tracks=N)
    assert decoded == list(corpus[0]["path"]) and list(report.failed) == ["4.wav"]
    expected = content(caches)
    expected.pop("one.h5")
    assert content(tmp_path) == expected
    assert names(tmp_path) == sorted([*expected, "set-00001.failures.csv"])


def test_complete_set_is_left_unchanged(corpus, copies):
    before = content(copies.parent)
    (copies.parent / "set.h5.making").mkdir()  # left by a process killed after the last rename
    report = make_mel_cache(corpus[0], "/nowhere", copies, shard_tracks=N)
    assert report.was_complete
    assert (report.tracks, list(report.failed)) == (TRACKS - 1, ["4.wav"])
    assert content(copies.parent) == before and names(copies.parent) == sorted(before)


def test_only_the_deleted_shard_is_made_again(corpus, copies, monkeypatch):
    before, decoded = content(copies.parent), list[str]()
    inputs = MelCache(shard(copies, 1)).made_from["inputs"]
    stale = copies.parent / "set.h5.making" / "set-00001.h5"
    shard(copies, 1).unlink()
    # Simulate a working folder left by a process killed just after it renamed this shard.
    stale.mkdir(parents=True)
    (stale / "inputs.json").write_text(json.dumps(inputs))
    (stale / "journal").write_text('[0, 0.0, 0.0, "no such file"]\n')
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(N, decoded))
    report = make_mel_cache(*corpus, copies, shard_tracks=N)
    assert decoded == ["4.wav", "5.wav", "6.wav", "7.wav"] and report.tracks == TRACKS - 1
    assert content(copies.parent) == before


def test_shard_may_contain_no_tracks(corpus, tmp_path, here):
    table, folder = corpus
    table = table.iloc[[0, ABSENT, 1]].reset_index(drop=True)
    make_mel_cache(table, folder, tmp_path / "one.h5")
    assert make_mel_cache(table, folder, tmp_path / "set.h5", shard_tracks=1).tracks == 2
    assert_same(MelCache(tmp_path / "set.h5"), MelCache(tmp_path / "one.h5"))
    with pytest.raises(
        InputError, match=r"set-00001.h5: contains no frames, since all of its tracks"
    ):
        MelCache(tmp_path / "set-00001.h5")
    assert make_mel_cache(table, folder, tmp_path / "set.h5", shard_tracks=1).was_complete


def test_caching_can_be_retried_after_no_track_was_usable(corpus, tmp_path, here):
    table, out, empty = corpus[0], tmp_path / "set.h5", tmp_path / "empty"
    empty.mkdir()
    lists = [f"set-0000{number}.failures.csv" for number in range(3)]
    with pytest.raises(InputError, match=r"empty: none of the 9 tracks.*first, 0.wav: no such"):
        make_mel_cache(table, empty, out, shard_tracks=N)
    assert names(tmp_path) == ["empty", *lists]
    assert make_mel_cache(*corpus, out, shard_tracks=N).tracks == TRACKS - 1
    # Simulate a process that is killed before it removes the shards without tracks.
    for path in mel_cache.find_shards(out).values():
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mel_cache_writer, "_finish", lambda *_, **__: sys.exit())
        with pytest.raises(SystemExit):
            make_mel_cache(table, empty, out, shard_tracks=N)
    with pytest.raises(InputError, match=r"empty: none of the 9 tracks"):
        make_mel_cache(table, empty, out, shard_tracks=N)
    assert names(tmp_path) == ["empty", *lists]


def test_different_inputs_are_rejected(corpus, copies, caches, tmp_path):
    table, folder = corpus
    for other, settings_, what in (
        (table, {"front_end": FrontEnd(hop=256)}, r"set-00000.h5: .*front_end.hop: 512 -> 256"),
        (table.iloc[:8], {}, r"set-00002.h5: not one of this cache's 2 shards; delete it"),
        (table.assign(subset="test"), {}, r"set-00000.h5: .*shard.split: .* split: "),
        (table, {"shard_tracks": 3}, r"set-00000.h5: .*tracks: 4 -> 3"),
        (table, {"shard_tracks": None}, r"set-00000.h5: seems a shard of set.h5; use the same"),
    ):
        with pytest.raises(InputError, match=what):
            make_mel_cache(other, folder, copies, **{"shard_tracks": N, **settings_})
    with pytest.raises(InputError, match=r"one.h5: already there, in one file; omit --shard-tr"):
        make_mel_cache(table, folder, caches / "one.h5", shard_tracks=N)
    with pytest.raises(InputError, match=r"--shard-tracks: makes 100001 files; use more"):
        many = pd.DataFrame({name: [""] * 100_001 for name in ("track_id", "path", "subset")})
        make_mel_cache(many, folder, tmp_path / "many.h5", shard_tracks=1)


@pytest.mark.parametrize(("before", "after"), [(None, N), (N, None), (N, 2)])
def test_interrupted_cache_with_different_sharding_is_rejected(
    corpus, tmp_path, monkeypatch, before, after
):
    monkeypatch.setattr(mel_cache_writer, "ordered_map", stopped_after(1, []))
    out = tmp_path / "set.h5"
    with pytest.raises(KeyboardInterrupt):
        make_mel_cache(*corpus, out, shard_tracks=before)
    with pytest.raises(InputError, match=r"set.h5.making: already there.*\(shard_tracks: "):
        make_mel_cache(*corpus, out, shard_tracks=after)


# ---------------------------------------------------------------- the script


def test_script_names_the_shard_pattern_when_tracks_fail(corpus, caches, tmp_path, here):
    table, folder = corpus
    split, out = tmp_path / "s.csv", tmp_path / "set.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    command = ("data_prep/2_cache_mels.py", split, "--audio", folder, "--out", out)
    listed = mel_cache.shard_pattern(out).with_suffix(".failures.csv")
    for state in ("complete", "already complete"):
        done = run_in_process(*command, "--shard-tracks", N)
        assert f": {state}, 8 tracks; 1 failed, see {listed} (to try them" in done.out
    ours = content(tmp_path)
    assert len(ours) == 3 and all(ours[name] == content(caches)[name] for name in ours)
