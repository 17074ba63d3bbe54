"""Test codebooks, bags of symbols and band statistics against independent computations."""

import librosa
import numpy as np
import pytest
from sklearn.metrics import pairwise_distances_argmin

from artist_groups import vocabulary
from artist_groups.decibels import band_statistics, to_decibels
from artist_groups.vocabulary import count_symbols, learn_codebook, quantise_frames
from common.errors import InputError
from data_prep.mfcc import MfccSettings, TrackFrames, mfcc_frames
from tests.data_prep.files import write_mel_cache


def make_vectors(count=30, d=4, seed=0):
    """Return track vectors clustered around three distant points, with a scale per coordinate."""
    random = np.random.default_rng(seed)
    centres, scale = 20 * random.normal(size=(3, d)), 10.0 ** np.arange(d)
    return [
        ((centres[n % 3] + random.normal(size=(random.integers(5, 20), d))) * scale).astype(
            np.float32
        )
        for n in range(count)
    ]


# ---------------------------------------------------------------- codebooks


@pytest.mark.parametrize("rows", [7, 4096])
def test_assign_finds_the_nearest_centre(monkeypatch, rows):
    monkeypatch.setattr(vocabulary, "_ROWS", rows)
    vectors = np.concatenate(make_vectors())
    book = learn_codebook(make_vectors(), 8, seed=0)
    expected = pairwise_distances_argmin(vectors / book.scale, book.centres)
    np.testing.assert_array_equal(book.assign(vectors), expected)


def test_learn_codebook_standardises_coordinate_scales():
    book = learn_codebook(make_vectors(), 3, seed=0)
    symbols = [set(book.assign(track)) for track in make_vectors()]
    assert all(len(of_track) == 1 for of_track in symbols)
    assert symbols == symbols[:3] * 10 and len(set.union(*symbols)) == 3


def test_learn_codebook_ignores_a_coordinate_with_only_rounding_errors():
    vectors = np.concatenate(make_vectors(d=2))
    noise = np.float32(5.1993) + np.float32(1e-7) * np.arange(len(vectors), dtype=np.float32)
    with_noise = np.column_stack([vectors, noise]).astype(np.float32)
    assert 0 < with_noise[:, 2].std() < 1e-3
    plain, noisy = (learn_codebook([v], 3, seed=0).assign(v) for v in (vectors, with_noise))
    assert len(set(plain)) == len(set(zip(plain, noisy, strict=True))) == 3


def test_learn_codebook_rejects_unusable_vectors():
    count = sum(map(len, make_vectors(3)))
    with pytest.raises(InputError, match=f"{count} vectors for 500 clusters; use fewer"):
        learn_codebook(make_vectors(3), 500)
    with pytest.raises(InputError, match="NaN or infinite values"):
        learn_codebook([np.full((9, 2), np.nan)], 2)


def test_count_symbols_sums_over_all_tracks_by_an_artist():
    symbols = [np.array([0, 0, 2]), np.array([1]), np.array([2]), np.zeros(0, int)]
    counts, names = count_symbols(symbols, ["b", "a", "b", "a"], 3)
    assert list(names) == ["b", "a"] and counts.tolist() == [[2, 0, 2], [0, 1, 0]]


# ---------------------------------------------------------------- frames of a mel cache


def make_cache(path, mels):
    """Write a mel cache of tracks t0, t1, …, preceded by three frames that belong to no track."""
    length = np.array([len(mel) for mel in mels])
    frames = np.concatenate([np.full((3, 128), np.nan), *mels]).astype(np.float16)
    return write_mel_cache(path, frames, 3 + np.cumsum(length) - length, length)


def make_mels(lengths=(40, 8, 30, 9, 50)):
    """Return noise tracks with digital silence in band 5 and a constant level in band 6."""
    random = np.random.default_rng(0)
    mels = [random.random((length, 128)) * random.random(128) for length in lengths]
    for mel in mels:
        mel[:, 5], mel[:, 6] = 0, 0.7
    return mels


def track_names(count):
    return np.array([f"t{number}" for number in range(count)], object)


@pytest.fixture
def cache(tmp_path):
    return make_cache(tmp_path / "c.h5", make_mels())


@pytest.mark.parametrize(("word", "total"), [("m", 137), ("d", 129)])
def test_quantise_frames_matches_mfccs_computed_for_each_track(cache, tmp_path, word, total):
    frames = TrackFrames.from_cache(cache, track_names(5), vocabulary.MFCC, tmp_path)
    symbols, codebook = quantise_frames(word, frames, 6, seed=0)
    symbols = list(symbols)
    assert codebook.centres.shape == (6, 25) and sum(map(len, symbols)) == total
    for of_track, track in zip(symbols, track_names(5), strict=True):
        if word == "d" and len(cache[track]) < 9:
            assert len(of_track) == 0
            continue
        expected = mfcc_frames(cache[track], settings=MfccSettings(25, word == "d"))[:, -25:]
        np.testing.assert_array_equal(of_track, codebook.assign(expected))


# ---------------------------------------------------------------- decibels


def test_band_statistics_match_statistics_of_concatenated_frames(cache):
    tracks = track_names(5)[[3, 0, 2]]
    mean, std = band_statistics(cache, tracks)
    frames = np.concatenate([cache[track] for track in tracks])
    level = librosa.amplitude_to_db(
        (10.0 ** frames.astype(np.float64) - 1) / 10, ref=1.0, amin=1e-5, top_db=None
    )
    np.testing.assert_allclose(mean, level.mean(axis=0), rtol=1e-9)
    assert mean[5] == -100 and std[5] == std[6] == 1  # constant bands
    others = np.delete(np.arange(128), [5, 6])
    np.testing.assert_allclose(std[others], level.std(axis=0)[others], rtol=1e-9)
    assert mean.dtype == std.dtype == np.float64


@pytest.mark.backend
def test_decibels_layer_standardises_with_band_statistics(cache):
    from artist_groups.group_networks import Decibels  # imported here because Keras loads slowly

    mean, std = band_statistics(cache, track_names(5))
    frames = np.concatenate([cache[track] for track in track_names(5)])
    levels = np.asarray(Decibels(mean, std)(frames[None]))[0]
    np.testing.assert_allclose(levels, (to_decibels(frames, 10.0) - mean) / std, atol=1e-3)
    np.testing.assert_allclose(levels.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.delete(levels, [5, 6], axis=1).std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize(("track", "value"), [(0, np.nan), (2, np.inf), (2, -np.inf), (2, 60000)])
def test_band_statistics_error_names_a_track_with_nonfinite_levels(tmp_path, track, value):
    mels = make_mels()
    mels[track][-1, 7] = value
    cache = make_cache(tmp_path / "c.h5", mels)
    with pytest.raises(InputError, match=rf"c.h5: 't{track}' contains NaN or infinite values"):
        band_statistics(cache, track_names(5))


def test_band_statistics_need_at_least_one_frame(tmp_path):
    cache = make_cache(tmp_path / "c.h5", make_mels((0, 20)))
    with pytest.raises(InputError, match="none of these tracks has a frame"):
        band_statistics(cache, track_names(1))
    with pytest.raises(InputError, match="1 of 3 tracks"):
        band_statistics(cache, track_names(3))
