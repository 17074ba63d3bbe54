"""Test the cosines, loss and metric of the siamese model."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.encoder import build_encoder
from models.siamese import HingeLoss, build_siamese, within_margin

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
FIXED = settings(derandomize=True, deadline=None, max_examples=50)
MEAN, STD = 0.2, 0.25
COSINES = st.tuples(st.integers(1, 7), st.integers(2, 6)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32))
)


@pytest.mark.parametrize("negatives", [1, 4])
def test_single_pass_matches_towers_with_shared_weights(negatives, encoder):
    roles = 2 + negatives
    segments = np.random.default_rng(0).random((3, roles, 129, 128), np.float32)
    towers = [
        encoder.predict_on_batch((segments[:, role] - MEAN) / STD).astype(np.float64)
        for role in range(roles)
    ]
    anchor, *others = (tower / np.linalg.norm(tower, axis=1, keepdims=True) for tower in towers)
    expected = np.stack([(anchor * other).sum(axis=1) for other in others], axis=1)
    model = build_siamese(encoder, negatives, mean=MEAN, std=STD)
    assert model.get_layer("encoder") is encoder
    assert np.ptp(expected) > 1e-3, "segments are too similar to distinguish the roles"
    np.testing.assert_allclose(model.predict_on_batch(segments), expected, atol=1e-5)


def hinge(cosines, margin):
    """Compute equation 2 directly, for each anchor."""
    return [
        sum(max(0.0, margin - float(positive) + float(negative)) for negative in negatives)
        for positive, *negatives in cosines
    ]


@FIXED
@given(COSINES, st.floats(0.05, 1.5))
def test_hinge_loss_sums_over_negatives_and_batch(cosines, margin):
    loss = float(HingeLoss(margin)(np.zeros(len(cosines), np.float32), cosines))
    assert loss == pytest.approx(sum(hinge(cosines, margin)), rel=1e-5, abs=1e-5)


@FIXED
@given(COSINES, st.sampled_from([0.1, 0.4, 1.0]))
def test_within_margin_is_the_fraction_of_negatives_with_non_zero_loss(cosines, margin):
    inside = cosines[:, 1:] > cosines[:, :1] - np.float32(margin)
    fraction = np.asarray(within_margin(margin)(np.zeros(len(cosines)), cosines))
    np.testing.assert_allclose(fraction, inside.mean(axis=1), rtol=1e-6)


def test_zero_embeddings_have_cosine_zero_and_finite_gradients():
    encoder = build_encoder()
    # With a very negative beta, ReLU returns zero for every segment.
    gamma, _, *statistics = encoder.get_layer("bn5").get_weights()
    encoder.get_layer("bn5").set_weights([gamma, np.full(256, -1e3, np.float32), *statistics])
    model = build_siamese(encoder, 4, mean=MEAN, std=STD)
    segments = np.random.default_rng(0).random((2, 6, 129, 128), np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(segments), 0)
    model.compile(keras.optimizers.SGD(0.1), loss=HingeLoss(0.4))
    before = [array.copy() for array in encoder.get_weights()]
    # Each negative contributes the margin to the loss: 2 anchors x 4 negatives x 0.4, plus L2.
    penalty = sum(keras.ops.convert_to_numpy(loss) for loss in encoder.losses)
    loss = model.train_on_batch(segments, np.zeros(2, np.float32))
    assert float(loss) == pytest.approx(2 * 4 * 0.4 + penalty, rel=1e-5)
    assert all(np.isfinite(array).all() for array in encoder.get_weights())
    assert any((a != b).any() for a, b in zip(before, encoder.get_weights(), strict=True))
