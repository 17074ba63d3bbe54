"""Test what augmentation changes in a segment, and that inference and levels are left alone."""

import keras
import numpy as np
import pytest

from models.architecture import EQUAL_LEVEL
from models.augmentation import LOWEST_BAND, MAX_ATTENUATION, MAX_MASK, Augmentation
from models.encoder import normalise

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
MEAN = 0.3
SEGMENTS = np.random.default_rng(0).uniform(0.01, 2, (400, 129, 128)).astype(np.float32)


def augmented(*kinds):
    keras.utils.set_random_seed(0)
    layer = Augmentation(kinds, MEAN)
    unchanged = keras.ops.convert_to_numpy(layer(SEGMENTS))
    np.testing.assert_array_equal(unchanged, SEGMENTS)
    return keras.ops.convert_to_numpy(layer(SEGMENTS, training=True))


def test_gain_scales_the_magnitudes_of_each_segment():
    ratio = (10 ** augmented("gain").astype(float) - 1) / (10 ** SEGMENTS.astype(float) - 1)
    level = 20 * np.log10(ratio)
    assert np.ptp(level, axis=(1, 2)).max() < 0.02
    level = level.mean(axis=(1, 2))
    assert level.max() < 0.01 and level.min() > -MAX_ATTENUATION - 0.01
    assert np.histogram(level, 4, (-MAX_ATTENUATION, 0))[0].min() > 60  # of 100


def test_band_limit_silences_the_highest_bands_of_half_of_the_segments():
    changed = augmented("band-limit")
    kept = (changed == SEGMENTS).all(axis=1)  # (segments, bands)
    assert ((changed == 0).all(axis=1) | kept).all()
    limits = kept.sum(axis=1)
    assert (np.diff(kept.astype(int), axis=1) <= 0).all() and limits.min() >= LOWEST_BAND
    assert (limits < 128).mean() == pytest.approx(0.5, abs=0.08)


def test_masks_replace_one_range_of_frames_and_one_of_bands():
    masked = augmented("masks") == np.float32(MEAN)
    frames, bands = masked.all(axis=2), masked.all(axis=1)
    assert (masked == (frames[:, :, None] | bands[:, None])).all()
    for mask in (frames, bands):
        assert (np.abs(np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(int))).sum(axis=1) <= 2).all()
        assert mask.sum(axis=1).max() <= MAX_MASK and mask.any(axis=1).mean() > 0.8


def test_equal_level_removes_the_level():
    levels = np.array([1, 0.5, 0.01])[:, None, None]
    same = np.log10(1 + levels * (10 ** SEGMENTS[:1].astype(float) - 1)).astype(np.float32)
    found = keras.ops.convert_to_numpy(normalise(same, 0.0, 1.0, equal_level=True))
    np.testing.assert_allclose(found[1:], np.repeat(found[:1], 2, axis=0), atol=2e-4)
    assert (10 ** found.astype(float) - 1).mean(axis=(1, 2)) == pytest.approx(EQUAL_LEVEL, rel=1e-3)
    silent = np.zeros((1, 129, 128), np.float32)
    assert (keras.ops.convert_to_numpy(normalise(silent, 0.0, 1.0, equal_level=True)) == 0).all()
