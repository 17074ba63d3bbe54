"""Tests of the synthetic corpus: labels, reproducible audio and files."""

import hashlib
import re

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from data_prep import synthetic_corpus
from data_prep.synthetic_corpus import GENRES, RATE, corpus_table, render_track, write_corpus


@pytest.fixture(scope="module")
def table():
    return corpus_table()


@pytest.fixture(scope="module")
def small():
    return corpus_table(source_artists=2, source_tracks=2, target_artists=1, target_tracks=1)


@pytest.fixture(scope="module")
def waves(table):
    """Render the first track by each of the first 8 target artists, one per genre."""
    first = table[table["part"] == "target"].drop_duplicates("artist")["path"]
    return {path: render_track(path) for path in first[:8]}


def read_files(root):
    """Return the content of all files below `root` except the seed record."""
    files = (p for p in root.rglob("*") if p.is_file() and p.name != "corpus.json")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def test_parts_have_expected_track_counts_and_disjoint_artists(table):
    tracks = table.groupby(["part", "artist"]).size()
    assert tracks["source"].size == 60 and set(tracks["source"]) == {20}
    assert tracks["target"].size == 24 and set(tracks["target"]) == {10}
    assert not set(tracks["source"].index) & set(tracks["target"].index)
    assert table["track_id"].is_unique and (table["track_id"] == table["path"]).all()
    artists = table.drop_duplicates("artist").groupby(["part", "genre"]).size()
    assert set(artists["source"]) == {7, 8} and set(artists["target"]) == {3}
    for row in table.itertuples():
        assert re.fullmatch(r"(source|target)(/[a-z_]+){2}/\d\d_[a-z_]+\.flac", row.path)
        assert set(row.subgenres.split("|")) <= set(GENRES[row.genre]["subgenres"])


def test_small_corpus_is_a_subset_of_a_large_one(table, small):
    assert len(small) == 5
    merged = small.merge(table, how="left", on=list(table.columns), indicator=True)
    assert (merged["_merge"] == "both").all()
    empty = corpus_table(source_artists=0, target_tracks=0)
    assert len(empty) == 0 and list(empty.columns) == list(table.columns)


@pytest.mark.parametrize(
    "counts", [{"source_artists": -1}, {"target_tracks": -1}, {"target_artists": 100_000}]
)
def test_rejects_impossible_counts(counts):
    with pytest.raises(InputError, match="artists"):
        corpus_table(**counts)


def test_audio_is_neither_clipped_nor_silent(waves):
    for path, wave in waves.items():
        assert wave.shape == (661_500,) and wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert 0.1 < abs(wave).max() < 1
        assert (abs(wave) > 0.999 * abs(wave).max()).mean() < 1e-3
        power = np.array([np.mean(w**2) for w in np.split(wave, 60)])  # per half second
        windows = np.convolve(power, np.ones(3) / 3, mode="valid")
        assert 10 * np.log10(windows.min() / power.mean()) > -25, path
    levels = [20 * np.log10(abs(wave).max()) for wave in waves.values()]
    assert max(levels) - min(levels) > 6


def test_seed_determines_audio_and_labels(table, waves):
    path = list(waves)[3]
    np.testing.assert_array_equal(render_track(path), waves[path])
    assert not np.allclose(render_track(path, seed=1), waves[path], atol=1e-3)
    other = corpus_table(seed=1)
    assert (other["path"] == table["path"]).all() and not (other["tags"] == table["tags"]).all()


def test_labels_do_not_change_between_versions(table):
    rows = "\n".join("\t".join(row) for row in table.itertuples(index=False))
    assert hashlib.sha256(rows.encode()).hexdigest()[:16] == "a0bcb4eee67ed711"


def test_tracks_by_one_artist_share_a_style_but_differ_otherwise(table):
    tracks = [synthetic_corpus._draw_track("source", 3, number, 0) for number in range(8)]
    assert all(track.style is tracks[0].style for track in tracks)
    assert len({track.key for track in tracks}) > 1
    assert len({track.recording.noise for track in tracks}) == len(tracks)
    assert len({track.roots for track in tracks}) > 1
    one, other = (render_track(path) for path in table["path"][:2])
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.5


@pytest.mark.parametrize(
    "path", ["", "track.flac", "source/nobody/no_album/00_x.flac", "../{}", "{}x"]
)
def test_rejects_path_outside_the_corpus(table, path):
    with pytest.raises(InputError, match="not a track of the synthetic corpus"):
        render_track(path.format(table["path"][0]))


def test_only_missing_tracks_are_rendered(tmp_path, small):
    small = small[-3:].reset_index(drop=True)
    assert write_corpus(tmp_path, small, workers=1) == len(small)
    samples, rate = soundfile.read(tmp_path / small["path"][0], dtype="float32")
    assert rate == RATE and soundfile.info(tmp_path / small["path"][0]).subtype == "PCM_16"
    np.testing.assert_allclose(samples, render_track(small["path"][0]), atol=2 / 2**15)
    first, second, *rest = (tmp_path / path for path in small["path"])
    before = read_files(tmp_path)
    assert set(before) == set(small["path"])
    first.rename(first.with_name(first.name + ".partial"))  # as left by a killed process
    second.unlink()
    times = [path.stat().st_mtime_ns for path in rest]
    assert write_corpus(tmp_path, small, workers=2) == 2
    assert read_files(tmp_path) == before, "two workers write other bytes than one"
    assert [path.stat().st_mtime_ns for path in rest] == times
    assert write_corpus(tmp_path, small, workers=1) == 0


def test_rejects_other_tracks_and_seeds(tmp_path, small):
    with pytest.raises(InputError, match="not a track of the synthetic corpus"):
        write_corpus(tmp_path, small.assign(path="source/nobody/none/00_x.flac"), seed=1, workers=1)
    assert not read_files(tmp_path)
    with pytest.raises(InputError, match=r"made from other inputs \(seed: 1 -> 2"):
        write_corpus(tmp_path, small, seed=2, workers=1)
