"""Test what augmentation changes in a segment, and that the level can be removed."""

import keras
import librosa
import numpy as np
import pytest

from models.architecture import EQUAL_LEVEL
from models.augmentation import (
    LOWEST_BAND,
    MAX_ATTENUATION,
    MAX_MASK,
    ChangeLevels,
    Mask,
    Transpose,
    transposition_matrices,
)
from models.encoder import normalise

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
SEGMENTS = np.random.default_rng(0).uniform(0.01, 2, (400, 129, 128)).astype(np.float32)


def augmented(make_layer, *arguments):
    keras.utils.set_random_seed(0)
    layer = make_layer(*arguments)
    unchanged = keras.ops.convert_to_numpy(layer(SEGMENTS))
    np.testing.assert_array_equal(unchanged, SEGMENTS)
    return keras.ops.convert_to_numpy(layer(SEGMENTS, training=True))


def test_gain_scales_the_magnitudes_of_each_segment():
    changed = augmented(ChangeLevels, True, False).astype(float)
    ratio = (10**changed - 1) / (10 ** SEGMENTS.astype(float) - 1)
    level = 20 * np.log10(ratio)
    assert np.ptp(level, axis=(1, 2)).max() < 0.02
    level = level.mean(axis=(1, 2))
    assert level.max() < 0.01 and level.min() > -MAX_ATTENUATION - 0.01
    assert np.histogram(level, 4, (-MAX_ATTENUATION, 0))[0].min() > 60  # of 100


def test_band_limit_silences_the_highest_bands_of_half_of_the_segments():
    changed = augmented(ChangeLevels, False, True)
    kept = (changed == SEGMENTS).all(axis=1)  # (segments, bands)
    assert ((changed == 0).all(axis=1) | kept).all()
    limits = kept.sum(axis=1)
    assert (np.diff(kept.astype(int), axis=1) <= 0).all() and limits.min() >= LOWEST_BAND
    assert (limits < 128).mean() == pytest.approx(0.5, abs=0.08)


def test_masks_replace_one_range_of_frames_and_one_of_bands():
    masked = augmented(Mask) == 0
    frames, bands = masked.all(axis=2), masked.all(axis=1)
    assert (masked == (frames[:, :, None] | bands[:, None])).all()
    for mask in (frames, bands):
        assert (np.abs(np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(int))).sum(axis=1) <= 2).all()
        assert mask.sum(axis=1).max() <= MAX_MASK and mask.any(axis=1).mean() > 0.8


def test_transposition_moves_bands_by_the_interval():
    frequencies = librosa.mel_frequencies(130, fmin=0, fmax=11025)[1:-1]
    bands = np.arange(128)
    intervals = np.array([-2, 0, 1.5])
    for semitones, matrix in zip(intervals, transposition_matrices(intervals), strict=True):
        # The frequencies of the sources, between those of the bands.
        found = np.interp(bands @ matrix, bands, frequencies)
        expected = frequencies / 2 ** (semitones / 12)
        inside = (expected > frequencies[0]) & (expected < frequencies[-1])
        np.testing.assert_allclose(found[inside], expected[inside], rtol=2e-3)
        assert inside.mean() > 0.95 and (matrix.sum(axis=0) == pytest.approx(1))
        assert np.allclose(matrix, np.eye(128), atol=1e-6) == (semitones == 0)


def test_each_segment_is_transposed_by_an_interval_of_its_own():
    changed = augmented(Transpose)
    matrices = transposition_matrices(np.linspace(-2, 2, 41))
    of_intervals = SEGMENTS[:, 0] @ matrices  # (intervals, segments, bands)
    difference = np.abs(of_intervals - changed[:, 0]).max(axis=2)
    assert difference.min(axis=0).max() < 1e-4
    counts = np.bincount(difference.argmin(axis=0), minlength=41)
    assert counts.min() > 0 and counts.max() < 30  # of 400 segments
    np.testing.assert_allclose(changed, SEGMENTS @ matrices[difference.argmin(axis=0)], atol=1e-4)


def test_equal_level_removes_the_level():
    levels = np.array([1, 0.5, 0.01])[:, None, None]
    same = np.log10(1 + levels * (10 ** SEGMENTS[:1].astype(float) - 1)).astype(np.float32)
    found = keras.ops.convert_to_numpy(normalise(same, 0.0, 1.0, equal_level=True))
    np.testing.assert_allclose(found[1:], np.repeat(found[:1], 2, axis=0), atol=2e-4)
    assert (10 ** found.astype(float) - 1).mean(axis=(1, 2)) == pytest.approx(EQUAL_LEVEL, rel=1e-3)
    silent = np.zeros((1, 129, 128), np.float32)
    assert (keras.ops.convert_to_numpy(normalise(silent, 0.0, 1.0, equal_level=True)) == 0).all()


@pytest.mark.parametrize("kinds", [(), ("gain",), ("band-limit",), ("transpose",), ("masks",)])
def test_normalise_applies_the_named_changes_in_training_only(kinds):
    keras.utils.set_random_seed(0)
    segment = keras.Input(SEGMENTS.shape[1:])
    model = keras.Model(segment, normalise(segment, 0.3, 2.0, equal_level=False, augment=kinds))
    plain = (SEGMENTS[:8] - 0.3) / 2
    found = keras.ops.convert_to_numpy(model(SEGMENTS[:8], training=False))
    np.testing.assert_allclose(found, plain, atol=1e-6)
    trained = keras.ops.convert_to_numpy(model(SEGMENTS[:8], training=True))
    assert np.allclose(trained, plain, atol=1e-6) == (not kinds)


def test_masks_do_not_change_the_level_of_the_rest():
    """The level is removed before bands and frames are masked."""
    keras.utils.set_random_seed(0)
    segment = keras.Input(SEGMENTS.shape[1:])
    output = normalise(segment, 0.3, 2.0, equal_level=True, augment=("masks",))
    model = keras.Model(segment, output)
    plain, masked = (
        keras.ops.convert_to_numpy(model(SEGMENTS[:8], training=training))
        for training in (False, True)
    )
    assert (masked == 0).mean() > 0.05
    np.testing.assert_allclose(masked[masked != 0], plain[masked != 0], atol=1e-6)
