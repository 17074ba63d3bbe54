"""Tests of the front end against golden values, librosa and an independent implementation."""

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import audio, mel
from data_prep.audio import SAMPLE_RATE, AudioError
from data_prep.mel import SEGMENT, FrontEnd, cut_segments, log_mel, log_mel_of_file
from tests.data_prep.files import clip, wav

SHORT = FrontEnd(max_frames=40)
ALL = FrontEnd(max_frames=None)


@pytest.fixture(scope="module")
def music():
    return clip(8.0)


def slaney(hertz):
    """Convert Hz to mels on Slaney's scale: linear to 1000 Hz, then 27 mels per factor of 6.4."""
    hertz = np.asarray(hertz, float)
    above = 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4)
    return np.where(hertz < 1000, 3 * hertz / 200, above)


def reference(waveform):
    """Compute the log-mel spectrogram of ismir2018, section 4, in float64 without librosa."""
    padded = np.concatenate([waveform[512:0:-1], waveform, waveform[-2:-514:-1]]).astype(float)
    starts = range(0, len(padded) - 1023, 512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    magnitude = np.abs(np.fft.rfft([padded[s : s + 1024] * window for s in starts]))
    hertz = np.arange(513) * 22050 / 1024
    fine = np.linspace(0, 11025, 2_000_001)
    edges = np.interp(np.linspace(0, slaney(11025), 130), slaney(fine), fine)
    filters = np.zeros((128, 513))
    for band in range(128):
        low, middle, high = edges[band : band + 3]
        rise, fall = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
        filters[band] = np.clip(np.minimum(rise, fall), 0, None) * 2 / (high - low)
    return np.log10(1 + 10 * magnitude @ filters.T)


def test_log_mel_agrees_with_golden_values(music_data):
    with np.load(music_data / "golden" / "log_mel.npz") as golden:
        assert len(golden.files) == 2
        for name in golden.files:
            actual = log_mel_of_file(music_data / "data" / "gtzan_clips" / name)
            assert actual.shape == golden[name].shape == (1291, 128)
            assert np.abs(actual - golden[name]).max() < 1e-4


def test_log_mel_agrees_with_an_independent_implementation(music):
    actual = log_mel(music, ALL)
    assert actual.dtype == np.float32 and actual.shape == (1 + len(music) // 512, 128)
    assert np.abs(actual - reference(music)).max() < 1e-4


def test_log_mel_agrees_with_librosa(music):
    magnitude = librosa.feature.melspectrogram(
        y=music, sr=SAMPLE_RATE, n_fft=1024, hop_length=512, power=1.0, pad_mode="reflect"
    )
    assert np.abs(log_mel(music, ALL) - np.log10(1 + 10 * magnitude.T)).max() < 1e-5


@given(st.integers(513, 60_000), st.sampled_from([1, 7, 64]))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_log_mel_does_not_depend_on_the_block_size(music, samples, block):
    waveform = music[:samples]
    whole = log_mel(waveform)
    assert len(whole) == 1 + samples // 512
    before, mel._BLOCK = mel._BLOCK, block
    try:
        assert np.abs(log_mel(waveform) - whole).max() < 1e-5
    finally:
        mel._BLOCK = before


def test_max_frames_keeps_the_first_frames(music):
    whole = log_mel(music, ALL)
    assert len(log_mel(music, SHORT)) == 40
    assert np.abs(log_mel(music, SHORT) - whole[:40]).max() < 1e-5
    assert len(log_mel(np.resize(music, 30 * SAMPLE_RATE))) == 1291
    assert len(log_mel(np.resize(music, 30 * SAMPLE_RATE), ALL)) == 1292


@pytest.mark.parametrize(("rate", "suffix"), [(22_050, "wav"), (44_100, "flac"), (8_000, "wav")])
def test_log_mel_of_the_beginning_matches_the_whole_file(tmp_path, rate, suffix):
    """Test that the last frames are correct although the resampling filter extends beyond them."""
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, 7 * rate).astype(np.float32)
    soundfile.write(path, noise, rate)
    front_end = FrontEnd(max_frames=150)
    assert front_end.max_seconds < 4
    from_beginning = log_mel(audio.load_audio(path, front_end.max_seconds), front_end)
    from_all = log_mel(audio.load_audio(path), front_end)
    assert from_beginning.shape == from_all.shape == (150, 128)
    assert np.abs(from_beginning - from_all).max() < 1e-4
    assert np.array_equal(log_mel_of_file(path, front_end), from_beginning)


def test_log_mel_rejects_invalid_shapes():
    for wrong in (np.zeros(512, np.float32), np.zeros((2, 4000), np.float32), np.zeros(0)):
        with pytest.raises(ValueError, match="waveform"):
            log_mel(wrong)
    assert log_mel(np.zeros(513, np.float32)).shape == (2, 128)


def test_log_mel_of_file_requires_at_least_one_segment(tmp_path):
    music, path = clip(4.0), tmp_path / "a.wav"
    path.write_bytes(wav(music[: 128 * 512]))
    assert len(log_mel_of_file(path)) == SEGMENT
    path.write_bytes(wav(music[: 128 * 512 - 1]))
    with pytest.raises(AudioError, match="less than one segment"):
        log_mel_of_file(path)


def test_max_seconds_is_the_length_of_a_clip():
    assert ALL.max_seconds is None and 29.9 < FrontEnd().max_seconds < 30.1


@pytest.mark.parametrize("frames", [0, 128, 129, 1291])
def test_cut_segments_drops_the_remainder(frames):
    spectrogram = np.arange(frames * 4, dtype=np.float32).reshape(frames, 4)
    cut = cut_segments(spectrogram)
    assert cut.shape == (frames // 129, 129, 4) and not cut.flags.owndata
    assert np.array_equal(cut.reshape(-1, 4), spectrogram[: frames // 129 * 129])


def test_front_end_records_leave_out_the_values_of_older_records():
    old = {
        name: value
        for name, value in vars(FrontEnd()).items()
        if name not in ("resampler", "normalise", "sid_model")
    }
    assert FrontEnd.from_dict(old).to_dict() == old
    assert FrontEnd.from_dict(old).resampler == "soxr_hq"
    assert FrontEnd().to_dict() == {**old, "resampler": "kaiser_best_2017"}
    changed = FrontEnd.of(True, "soxr_hq", "peak", "6581")
    assert FrontEnd.from_dict(changed.to_dict()) == changed
    assert changed.to_dict() == {
        **old,
        **{"max_frames": None, "normalise": "peak", "sid_model": "6581"},
    }


def test_normalised_tracks_do_not_depend_on_their_level(tmp_path):
    mels = {}
    for gain in (1.0, 0.25):
        soundfile.write(tmp_path / "a.wav", gain * clip(4.0), SAMPLE_RATE, subtype="FLOAT")
        for normalise in ("none", "peak"):
            front_end = FrontEnd(normalise=normalise)
            mels[normalise, gain] = log_mel_of_file(tmp_path / "a.wav", front_end)
    np.testing.assert_allclose(mels["peak", 1.0], mels["peak", 0.25], atol=1e-5)
    assert np.abs(mels["none", 1.0] - mels["none", 0.25]).max() > 0.1
