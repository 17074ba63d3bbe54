"""The demo corpus: reproducible music whose labels and files can be relied on."""

import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from common.errors import InputError
from data_prep import synthetic_corpus
from data_prep.synthetic_corpus import (
    GENRES,
    RATE,
    SAMPLES,
    corpus_table,
    render_track,
    write_corpus,
)


@pytest.fixture(scope="module")
def table():
    return corpus_table()


@pytest.fixture(scope="module")
def small():
    return corpus_table(source_artists=2, source_tracks=2, target_artists=1, target_tracks=1)


@pytest.fixture(scope="module")
def waves(table):
    """The first song of the first 16 target artists: two of each genre."""
    first = table[table["part"] == "target"].drop_duplicates("artist")["path"]
    return {path: render_track(path) for path in first[:16]}


def files(root):
    """All that was written below `root` but the note of its seed."""
    found = (p for p in root.rglob("*") if p.is_file() and p.name != "corpus.json")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def test_counts_and_disjoint_artists(table):
    songs = table.groupby(["part", "artist"]).size()
    assert songs["source"].size == 60 and set(songs["source"]) == {20}
    assert songs["target"].size == 24 and set(songs["target"]) == {10}
    assert not set(songs["source"].index) & set(songs["target"].index)
    assert table["track_id"].is_unique and (table["track_id"] == table["path"]).all()


def test_genres_are_spread_evenly_over_artists(table):
    artists = table.drop_duplicates("artist").groupby(["part", "genre"]).size().unstack()
    assert set(artists.columns) == set(GENRES)
    assert set(artists.loc["source"]) == {7, 8}
    assert set(artists.loc["target"]) == {3}


def test_each_artist_has_one_genre_and_two_to_four_albums(table):
    albums = table.groupby("artist")["album"].nunique()
    assert albums.between(2, 4).all() and albums.nunique() > 1
    assert (table.groupby("artist")["genre"].nunique() == 1).all()


def test_subgenres_belong_to_the_genre(table):
    for genre, subgenres in set(zip(table["genre"], table["subgenres"], strict=True)):
        names = subgenres.split("|")
        assert 1 <= len(names) <= 2 and set(names) <= set(GENRES[genre].subgenres)
    heard = set(table["subgenres"].str.split("|").explode())
    assert heard == {name for genre in GENRES.values() for name in genre.subgenres}


def test_tags_are_neither_empty_nor_universal(table):
    tags = table["tags"].str.split("|").explode()
    assert 20 <= tags.nunique() <= 35
    for part in ("source", "target"):
        own = tags[table.loc[tags.index, "part"] == part]
        share = own.value_counts() / own.index.nunique()
        assert set(own) == set(tags)
        assert share.between(0.02, 0.7).all(), share
    assert (table["tags"].str.count(r"\|") >= 3).all()
    tempos = table["tags"].str.split("|").apply(lambda t: len({"slow", "medium", "fast"} & set(t)))
    assert (tempos == 1).all()


def test_labels_are_text_and_paths_are_safe(table):
    assert list(table.columns) == [
        "track_id", "path", "part", "artist", "album", "genre", "subgenres", "tags",
    ]  # fmt: skip
    assert not table.isna().any(axis=None) and (table != "").all(axis=None)
    for row in table.itertuples():
        assert re.fullmatch(r"(source|target)(/[a-z_]+){2}/\d\d_[a-z_]+\.flac", row.path)
        assert row.path.startswith(f"{row.part}/{row.artist}/{row.album}/")


def test_a_small_catalog_is_a_subset_of_a_large_one(table, small):
    assert len(small) == 5
    merged = small.merge(table, how="left", on=list(table.columns), indicator=True)
    assert (merged["_merge"] == "both").all()


def test_an_empty_catalog_has_its_columns(table):
    empty = corpus_table(source_artists=0, target_tracks=0)
    assert len(empty) == 0 and list(empty.columns) == list(table.columns)


@pytest.mark.parametrize(
    "counts", [{"source_artists": -1}, {"target_tracks": -1}, {"target_artists": 100_000}]
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(InputError, match="artists"):
        corpus_table(**counts)


def test_shape_type_and_peak(waves):
    for wave in waves.values():
        assert wave.shape == (SAMPLES,) == (661_500,) and wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert 0.1 < abs(wave).max() < 1
        assert (abs(wave) > 0.999 * abs(wave).max()).mean() < 1e-3  # not clipped


def test_no_window_of_a_second_and_a_half_is_silent(waves):
    for path, wave in waves.items():
        power = np.array([np.mean(w**2) for w in np.split(wave, 60)])  # of half seconds
        windows = np.convolve(power, np.ones(3) / 3, mode="valid")
        assert 10 * np.log10(windows.min() / power.mean()) > -25, path


def test_recordings_differ_in_level(waves):
    levels = [20 * np.log10(abs(wave).max()) for wave in waves.values()]
    assert max(levels) - min(levels) > 6


def test_the_same_seed_gives_the_same_samples_in_any_order(waves):
    for path in list(waves)[:4:-3]:
        np.testing.assert_array_equal(render_track(path), waves[path])


def test_another_seed_gives_other_music_and_labels(table, waves):
    path = next(iter(waves))
    assert not np.allclose(render_track(path, seed=1), waves[path], atol=1e-3)
    other = corpus_table(seed=1)
    assert (other["path"] == table["path"]).all() and not (other["tags"] == table["tags"]).all()
    keys = [[synthetic_corpus._song("source", 0, n, seed).key for n in range(8)] for seed in (0, 1)]
    assert keys[0] != keys[1]


def test_songs_of_an_artist_differ(table):
    paths = table["path"][:3]
    waves = [render_track(path) for path in paths]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(waves[one], waves[two])[0, 1]) < 0.5


def test_songs_of_an_artist_share_a_style_and_differ_in_key_and_recording():
    songs = [synthetic_corpus._song("source", 3, track, 0) for track in range(8)]
    assert all(song.style is songs[0].style for song in songs)
    assert len({song.key for song in songs}) > 1
    assert len({song.recording.noise for song in songs}) == len(songs)
    assert len({song.roots for song in songs}) > 1


def test_albums_share_part_of_their_equalisation():
    songs = [synthetic_corpus._song("source", n, track, 0) for n in range(40) for track in range(8)]
    clean = [song for song in songs if not song.recording.lo_fi]
    eq = pd.DataFrame([song.recording.eq for song in clean])
    albums = pd.Series([song.path.rsplit("/", 1)[0] for song in clean])
    others = albums.sample(frac=1, random_state=0, ignore_index=True)
    within, between = (
        (eq - eq.groupby(groups).transform("mean")).pow(2).mean(axis=None)
        for groups in (albums, others)
    )
    assert within < 0.85 * between


@pytest.mark.parametrize(
    "path",
    [
        "",
        "song.flac",
        "source/nobody/no_album/00_x.flac",
        "../{}",
        "{}x",
    ],
)
def test_a_path_of_no_catalog_is_refused(table, path):
    with pytest.raises(InputError, match="demo corpus"):
        render_track(path.format(table["path"][0]))


def test_written_files_hold_the_rendered_samples(tmp_path, small):
    assert write_corpus(tmp_path, small[:1], workers=1) == 1
    samples, rate = soundfile.read(tmp_path / small["path"][0], dtype="float32")
    assert rate == RATE and soundfile.info(tmp_path / small["path"][0]).subtype == "PCM_16"
    np.testing.assert_allclose(samples, render_track(small["path"][0]), atol=2 / 2**15)


def test_writing_again_makes_only_what_is_missing(tmp_path, small):
    assert write_corpus(tmp_path, small, workers=1) == len(small)
    first, second, *rest = (tmp_path / path for path in small["path"])
    before = files(tmp_path)
    assert set(before) == set(small["path"])
    first.rename(first.with_name(first.name + ".partial"))  # as a killed run leaves it
    second.unlink()
    stamps = [path.stat().st_mtime_ns for path in rest]
    assert write_corpus(tmp_path, small, workers=1) == 2
    assert files(tmp_path) == before
    assert [path.stat().st_mtime_ns for path in rest] == stamps
    assert write_corpus(tmp_path, small, workers=1) == 0


def test_two_workers_write_the_same_bytes_as_one(tmp_path, small):
    assert write_corpus(tmp_path / "one", small, seed=3, workers=1) == len(small)
    assert write_corpus(tmp_path / "two", small, seed=3, workers=2) == len(small)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_an_interrupted_track_leaves_no_file(tmp_path):
    table = pd.DataFrame({"path": ["source/nobody/no_album/00_x.flac"]})
    with pytest.raises(InputError):
        write_corpus(tmp_path, table, workers=1)
    assert list(files(tmp_path)) == []


def test_the_corpus_of_another_seed_is_not_taken_for_this_one(tmp_path, small):
    """The names are the same for every seed."""
    write_corpus(tmp_path, small[:1], seed=1, workers=1)
    with pytest.raises(InputError, match=r"made from other inputs \(seed: 1 -> 2"):
        write_corpus(tmp_path, small[:1], seed=2, workers=1)
