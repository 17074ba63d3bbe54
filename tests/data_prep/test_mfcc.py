"""Tests of MFCC frames against librosa and the formula, on a synthetic track."""

import librosa
import numpy as np
import pytest
import scipy.fft

from common.errors import InputError
from data_prep.audio import SAMPLE_RATE
from data_prep.failures import SILENT
from data_prep.mel import FrontEnd, log_mel
from data_prep.mel_cache import MelCache
from data_prep.mfcc import MfccSettings, TrackFrames, mfcc_frames
from tests.data_prep.files import clip
from tests.training import fixtures

ALL = FrontEnd(max_frames=None)


@pytest.fixture(scope="module")
def music():
    return clip(6.0)


@pytest.fixture(scope="module")
def mel(music):
    return log_mel(music, ALL)


def test_mfcc_frames_agree_with_librosa(music, mel):
    magnitude = librosa.feature.melspectrogram(
        y=music, sr=SAMPLE_RATE, n_fft=1024, hop_length=512, power=1.0, pad_mode="reflect"
    )
    decibels = librosa.amplitude_to_db(magnitude, ref=1.0, amin=1e-5, top_db=80.0)
    expected = librosa.feature.mfcc(S=decibels, n_mfcc=20).T
    actual = mfcc_frames(mel, ALL)
    assert actual.dtype == np.float32 and actual.shape == (len(mel), 20)
    assert np.abs(actual - expected).max() < 0.05
    both = mfcc_frames(mel, ALL, MfccSettings(deltas=True))
    np.testing.assert_array_equal(both[:, :20], actual)
    assert np.abs(both[:, 20:] - librosa.feature.delta(expected.T).T).max() < 0.02


def test_mfcc_frames_agree_with_the_formula(mel):
    """Compare with 20 log10 of the mel magnitude within 80 dB, and an orthonormal DCT-II."""
    level = 20 * np.log10(np.maximum((10.0 ** mel.astype(float) - 1) / 10, 1e-5))
    expected = scipy.fft.dct(np.maximum(level, level.max() - 80), norm="ortho")[:, :13]
    assert np.abs(mfcc_frames(mel, settings=MfccSettings(13)) - expected).max() < 0.05


def test_mfcc_frames_from_float16_are_close(mel):
    difference = mfcc_frames(mel.astype(np.float16)) - mfcc_frames(mel)
    assert np.abs(difference).mean() < 0.5


def test_level_range_drops_quiet_frames(mel):
    quiet = log_mel(0.001 * clip(2.0), ALL)
    both = np.concatenate([mel, quiet, np.zeros((5, 128), np.float32)])
    kept = mfcc_frames(both, settings=MfccSettings(level_range=40.0))
    every = mfcc_frames(both)
    assert len(every) == len(both) and 0 < len(kept) <= len(mel)
    loud = every[: len(mel)]
    np.testing.assert_array_equal(kept, loud[np.isin(loud[:, 0], kept[:, 0])])
    most = mfcc_frames(both, settings=MfccSettings(level_range=1000.0))
    assert len(most) == len(both) - 5  # silence is always dropped
    wide = mfcc_frames(both, settings=MfccSettings(level_range=40.0, deltas=True))
    assert wide.shape == (len(kept), 40)


def test_silent_track_has_frames_only_without_a_level_range():
    silent = np.zeros((30, 128), np.float16)
    frames = mfcc_frames(silent)
    assert np.isfinite(frames).all() and (frames == frames[0]).all()
    assert mfcc_frames(silent, settings=MfccSettings(level_range=30.0)).shape == (0, 20)
    assert mfcc_frames(silent[:0]).shape == (0, 20)


def test_mfcc_frames_reject_short_tracks_and_nan(mel):
    with pytest.raises(InputError, match="8 frames, but deltas need 9"):
        mfcc_frames(mel[:8], settings=MfccSettings(deltas=True))
    with pytest.raises(InputError, match="NaN"):
        mfcc_frames(np.full((20, 128), np.nan, np.float32))


# ---------------------------------------------------------------- tracks from a cache


def test_from_cache_concatenates_track_frames(small_corpus, tmp_path):
    cache = MelCache(small_corpus[2])
    tracks = cache.track_id[[5, 0, 3]]
    for settings in (MfccSettings(), MfccSettings(13, deltas=True, level_range=20.0)):
        actual = TrackFrames.from_cache(cache, tracks, settings, tmp_path)
        assert list(actual.track_id) == list(tracks) and not actual.failed
        assert actual.frames.dtype == np.float32 and actual.frames.shape[1] == settings.dimensions
        assert actual.start[-1] == len(actual.frames)
        for track, frames in zip(tracks, actual, strict=True):
            np.testing.assert_array_equal(
                frames, mfcc_frames(cache[track], cache.front_end, settings)
            )
        assert list(tmp_path.iterdir()) == []  # the frame file is unnamed


def test_from_cache_lists_silent_tracks_and_names_invalid_ones(tmp_path):
    cache = fixtures.write_cache(tmp_path / "cache.h5", nan_track=2)
    cache.frames = np.array(cache.frames)
    cache.frames[cache.start[1] :][: cache.length[1]] = 0
    loud = MfccSettings(level_range=40.0)
    actual = TrackFrames.from_cache(cache, np.array(["t1", "t0"], object), loud, tmp_path)
    assert actual.failed == {"t1": SILENT} and list(actual.track_id) == ["t0"]
    with pytest.raises(InputError, match="none of 1 tracks has a frame that is loud enough"):
        TrackFrames.from_cache(cache, np.array(["t1"], object), loud, tmp_path)
    with pytest.raises(InputError, match=r"cache.h5: 't2': log-mel: contains NaN"):
        TrackFrames.from_cache(cache, np.array(["t0", "t2"], object), MfccSettings(), tmp_path)
    with pytest.raises(InputError, match="1 of 2 tracks are missing, the first 'x'"):
        TrackFrames.from_cache(cache, np.array(["t0", "x"], object), MfccSettings(), tmp_path)
