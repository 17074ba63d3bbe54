"""Tests of the resampler against an independent implementation of the same filter."""

import numpy as np
import pytest
import resampy
import scipy.signal

from data_prep.mel import log_mel
from data_prep.resampling import RESAMPLERS, resample
from tests.data_prep.files import clip

RATE = 22_050
# The parameters of resampy's `kaiser_best` before version 0.3.
KAISER_BEST_2017 = {
    "filter": "sinc_window",
    "num_zeros": 64,
    "precision": 9,
    "rolloff": 0.9475937167399596,
    "window": lambda n: scipy.signal.windows.kaiser(n, 14.769656459379492),
}


def noisy_clip(seconds: float = 6.0) -> np.ndarray:
    """Return music with noise, so that every frequency band has energy."""
    music = clip(seconds)
    return music + np.random.default_rng(0).normal(0, 0.02, len(music)).astype(np.float32)


@pytest.mark.parametrize(
    "rate", [44_100, 48_000, 32_000, 16_000, 96_000, 11_025, 8_000, 88_200, 192_000, 22_051, 37_800]
)
def test_resample_equals_the_filter_of_2017(rate):
    waveform = noisy_clip()
    expected = resampy.resample(waveform, rate, RATE, **KAISER_BEST_2017)
    resampled = resample(waveform, rate, RATE)
    assert resampled.dtype == np.float32
    # librosa appended a zero if the length was no whole number.
    assert len(resampled) == -(-len(waveform) * RATE // rate)
    assert not resampled[len(expected) :].any()
    np.testing.assert_allclose(resampled[: len(expected)], expected, atol=5e-6)
    np.testing.assert_allclose(
        log_mel(resampled)[:-1], log_mel(expected)[: len(log_mel(resampled)) - 1], atol=1e-4
    )


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("length", [1, 2, 100, 1000])
def test_resample_returns_the_length_of_the_same_duration(resampler, length):
    for rate in (44_100, 48_000, 8_000, 22_050, 22_051):
        resampled = resample(np.ones(length, np.float32), rate, RATE, resampler)
        assert abs(len(resampled) - length * RATE / rate) <= 1 and np.isfinite(resampled).all()


def test_resamplers_differ_only_near_the_highest_frequency():
    waveform = np.random.default_rng(0).normal(size=10 * 44_100).astype(np.float32)
    spectra = {
        name: scipy.signal.welch(resample(waveform, 44_100, RATE, name), RATE, nperseg=2048)
        for name in RESAMPLERS
    }
    frequency, authors = spectra["kaiser_best_2017"]
    difference = 10 * np.log10(spectra["soxr_hq"][1] / authors)
    assert np.abs(difference[(frequency > 50) & (frequency < 9_500)]).max() < 0.1
    near = (frequency > 10_350) & (frequency < 10_450)
    assert 2 < difference[near].mean() < 6


def test_resample_refuses_unknown_names():
    with pytest.raises(ValueError, match="expected one of kaiser_best_2017, soxr_hq"):
        resample(np.ones(9, np.float32), 44_100, RATE, "sinc")
