"""Tracks as symbols and bands' levels, against the same without streams."""

import json

import h5py
import librosa
import numpy as np
import pytest

from artist_groups import vocabulary
from artist_groups.topics import count_symbols
from artist_groups.vocabulary import VocabularySettings, band_statistics, decibels, first_difference
from common import provenance
from common.errors import InputError
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT, MelCache
from data_prep.mfcc import TrackFrames, mfcc_frames

SETTINGS = VocabularySettings(clusters=6, track_clusters=3, groups=2, seed=0)
ARTISTS = np.array(["a", "b", "a", "c", "b"], object)


def cache(path, mels):
    """Tracks t0, t1, … of these log-mels; some frames of no track lie before them."""
    length = np.array([len(mel) for mel in mels])
    with h5py.File(path, "w") as file:
        file["frames"] = np.concatenate([np.full((3, 128), np.nan), *mels]).astype(np.float16)
        file["start"], file["length"] = 3 + np.cumsum(length) - length, length
        file["track_id"] = [f"t{number}" for number in range(len(mels))]
        for name in ("failed_track_id", "failed_reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())
        file.attrs["format"], file.attrs["mean"], file.attrs["std"] = FORMAT, 0.5, 0.3
        file.attrs["front_end"] = json.dumps(FrontEnd().to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record({"made": "up"}))
    return MelCache(path)


def mels(lengths=(40, 8, 30, 9, 50)):
    """Noise that is silent in band 5 and always as loud in band 6."""
    random = np.random.default_rng(0)
    made = [random.random((length, 128)) * random.random(128) for length in lengths]
    for mel in made:
        mel[:, 5], mel[:, 6] = 0, 0.7
    return made


def names(count):
    return np.array([f"t{number}" for number in range(count)], object)


# ---------------------------------------------------------------- levels


def test_levels_of_bands_are_those_of_all_frames_at_once(tmp_path):
    made = cache(tmp_path / "c.h5", mels())
    tracks = names(5)[[3, 0, 2]]
    mean, std = band_statistics(made, tracks)
    frames = np.concatenate([made[track] for track in tracks])
    level = librosa.amplitude_to_db(
        (10.0 ** frames.astype(np.float64) - 1) / 10, ref=1.0, amin=1e-5, top_db=None
    )
    np.testing.assert_allclose(mean, level.mean(axis=0), rtol=1e-9)
    assert mean[5] == -100 and std[5] == std[6] == 1  # nothing to standardise
    others = np.delete(np.arange(128), [5, 6])
    np.testing.assert_allclose(std[others], level.std(axis=0)[others], rtol=1e-9)
    assert mean.dtype == std.dtype == np.float64


def test_levels_are_what_the_networks_standardise(tmp_path):
    from artist_groups.group_networks import Decibels  # its Keras takes seconds

    made = cache(tmp_path / "c.h5", mels())
    mean, std = band_statistics(made, names(5))
    frames = np.concatenate([made[track] for track in names(5)])
    found = np.asarray(Decibels(mean, std)(frames[None]))[0]
    np.testing.assert_allclose(found, (decibels(frames, 10.0) - mean) / std, atol=1e-3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.delete(found, [5, 6], axis=1).std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 60000])
@pytest.mark.parametrize("track", [0, 2])
def test_a_spoilt_track_is_named(tmp_path, value, track):
    spoilt = mels()
    spoilt[track][-1, 7] = value
    made = cache(tmp_path / "c.h5", spoilt)
    with pytest.raises(InputError, match=rf"c.h5: 't{track}' holds NaN or infinity"):
        band_statistics(made, names(5))


def test_levels_of_no_frame_and_of_unknown_tracks(tmp_path):
    made = cache(tmp_path / "c.h5", mels((0, 20)))
    with pytest.raises(InputError, match="none of these tracks has a frame"):
        band_statistics(made, names(1))
    np.testing.assert_array_equal(band_statistics(made, names(2)), band_statistics(made, ["t1"]))
    with pytest.raises(InputError, match="lacks 1 of 3 tracks"):
        band_statistics(made, names(3))


# ---------------------------------------------------------------- words


@pytest.fixture
def frames(tmp_path):
    made = cache(tmp_path / "c.h5", mels())
    return made, TrackFrames.from_cache(made, names(5), vocabulary.MFCC, tmp_path)


@pytest.mark.parametrize("word", ["m", "d"])
def test_frames_become_symbols_of_their_artists(frames, word):
    made, of_tracks = frames
    groups, codebook = vocabulary.group_by_frames(word, of_tracks, ARTISTS, SETTINGS)
    assert codebook.centres.shape == (6, 25) and list(groups.artists) == ["a", "b", "c"]
    # The same from MFCCs with their differences beside them, of tracks that have these.
    symbols = [np.zeros(0, int)] * 5
    for number, track in enumerate(names(5)):
        if word == "m" or len(made[track]) >= 9:
            both = mfcc_frames(made[track], coefficients=25, deltas=word == "d")
            symbols[number] = codebook.assign(both[:, -25:])
    counts, _ = count_symbols(symbols, ARTISTS, 6)
    assert counts.sum() == (137 if word == "m" else 129)
    again = vocabulary._grouped(word, symbols, ARTISTS, 6, SETTINGS)
    np.testing.assert_array_equal(groups.proportions, again.proportions)
    np.testing.assert_array_equal(groups.topics, again.topics)
    same, _ = vocabulary.group_by_frames(word, of_tracks, ARTISTS, SETTINGS)
    np.testing.assert_array_equal(groups.proportions, same.proportions)


def test_an_artist_of_short_tracks_only_is_in_no_group_by_differences(frames):
    artists = np.array(["a", "short", "a", "c", "b"], object)
    groups, _ = vocabulary.group_by_frames("d", frames[1], artists, SETTINGS)
    assert groups.contains(["short", "a", "b", "c"]).tolist() == [False, True, True, True]
    groups, _ = vocabulary.group_by_frames("m", frames[1], artists, SETTINGS)
    assert groups.contains(["short"]).all()
    assert first_difference(np.ones((8, 25), np.float32)).shape == (0, 25)
    assert first_difference(np.ones((9, 25), np.float32)).shape == (9, 25)


def test_descriptors_make_one_symbol_a_track():
    random = np.random.default_rng(0)
    values = np.repeat(np.eye(3), 4, axis=0) + 0.01 * random.normal(size=(12, 3))
    artists = np.repeat(["a", "b", "c"], 4).astype(object)
    groups, codebook = vocabulary.group_by_descriptors(values, artists, SETTINGS)
    assert codebook.centres.shape == (3, 3)
    found = codebook.assign(values).reshape(3, 4)
    assert (found == found[:, :1]).all() and len(set(found[:, 0])) == 3
    assert groups.proportions.shape == (3, 2) and groups.topics.shape == (2, 3)
    with pytest.raises(InputError, match="12 vectors for 13 clusters; take fewer clusters"):
        vocabulary.group_by_descriptors(values, artists, VocabularySettings(6, 13, 2, 0))


def test_labels_are_symbols_themselves():
    hot = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    groups = vocabulary.group_by_labels(hot, ARTISTS, VocabularySettings(99, 99, 2, 0))
    assert list(groups.artists) == ["a", "c"] and groups.topics.shape == (2, 3)
    assert (groups.proportions.argmax(axis=1)[:1] != groups.proportions.argmax(axis=1)[1:]).all()
    with pytest.raises(InputError, match="the word s: artist groups: 1 artists"):
        vocabulary.group_by_labels(hot[:3], ARTISTS[:3], SETTINGS)
