"""The siamese model: its cosines, its loss and its metric."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.encoder import build_encoder
from models.siamese import HingeLoss, build_siamese, within_margin

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own conversions
FIXED = settings(derandomize=True, deadline=None, max_examples=50)
MEAN, STD = 0.2, 0.25
COSINES = st.tuples(st.integers(1, 7), st.integers(2, 6)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32))
)


def test_one_pass_equals_six_towers(encoder):
    songs = np.random.default_rng(0).random((3, 6, 129, 128), np.float32)
    towers = [
        encoder.predict_on_batch((songs[:, role] - MEAN) / STD).astype(np.float64)
        for role in range(6)
    ]
    anchor, *others = (tower / np.linalg.norm(tower, axis=1, keepdims=True) for tower in towers)
    expected = np.stack([(anchor * other).sum(axis=1) for other in others], axis=1)
    found = build_siamese(encoder, 4, mean=MEAN, std=STD).predict_on_batch(songs)
    assert found.shape == (3, 5)
    assert np.ptp(expected) > 1e-3, "songs too alike to tell one role from another"
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_any_number_of_negatives(encoder):
    songs = np.random.default_rng(0).random((2, 3, 129, 128), np.float32)
    two = build_siamese(encoder, 1, mean=MEAN, std=STD).predict_on_batch(songs)
    assert two.shape == (2, 2)


def test_the_encoder_trains_with_the_model(encoder):
    model = build_siamese(encoder, 4, mean=MEAN, std=STD)
    assert model.get_layer("encoder") is encoder
    assert model.count_params() == encoder.count_params()


def hinge(cosines, margin):
    """Equation 2, song by song and negative by negative."""
    return [
        sum(max(0.0, margin - float(positive) + float(negative)) for negative in negatives)
        for positive, *negatives in cosines
    ]


@FIXED
@given(COSINES, st.floats(0.05, 1.5))
def test_hinge_loss_sums_over_negatives_and_batch(cosines, margin):
    untouched = np.zeros(len(cosines), np.float32)
    loss = float(HingeLoss(margin)(untouched, cosines))
    assert loss == pytest.approx(sum(hinge(cosines, margin)), rel=1e-5, abs=1e-5)


def test_hinge_loss_by_hand():
    cosines = np.array([[0.9, 0.5, 0.6, -1.0, 0.9], [1.0, 0.5, 0.5, 0.5, 0.5]], np.float32)
    assert float(HingeLoss()(np.zeros(2), cosines)) == pytest.approx(0.0 + 0.1 + 0.0 + 0.4)


def test_hinge_loss_survives_its_config():
    again = HingeLoss.from_config(HingeLoss(0.7).get_config())
    assert (again.margin, again.reduction, again.name) == (0.7, "sum", "hinge")


@FIXED
@given(COSINES, st.sampled_from([0.1, 0.4, 1.0]))
def test_within_margin_is_the_share_of_negatives_that_cost(cosines, margin):
    costing = cosines[:, 1:] > cosines[:, :1] - np.float32(margin)
    found = np.asarray(within_margin(margin)(np.zeros(len(cosines)), cosines))
    np.testing.assert_allclose(found, costing.mean(axis=1), rtol=1e-6)


def test_zero_features_give_cosine_zero_and_train_on():
    encoder = build_encoder()
    # A very negative beta: ReLU leaves nothing of any song.
    gamma, _, *statistics = encoder.get_layer("bn5").get_weights()
    encoder.get_layer("bn5").set_weights([gamma, np.full(256, -1e3, np.float32), *statistics])
    model = build_siamese(encoder, 4, mean=MEAN, std=STD)
    songs = np.random.default_rng(0).random((2, 6, 129, 128), np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(songs), 0)
    model.compile(keras.optimizers.SGD(0.1), loss=HingeLoss())
    before = [array.copy() for array in encoder.get_weights()]
    # Every negative costs the margin, 2 songs x 4 negatives x 0.4, and L2 a little.
    penalty = sum(keras.ops.convert_to_numpy(loss) for loss in encoder.losses)
    loss = model.train_on_batch(songs, np.zeros(2, np.float32))
    assert float(loss) == pytest.approx(2 * 4 * 0.4 + penalty, rel=1e-5)
    assert all(np.isfinite(array).all() for array in encoder.get_weights())
    assert any((a != b).any() for a, b in zip(before, encoder.get_weights(), strict=True))


def test_one_silent_song_among_six_trains_on():
    model = build_siamese(build_encoder(), 4, mean=MEAN, std=STD)
    songs = np.random.default_rng(0).random((2, 6, 129, 128), np.float32)
    songs[0, 1] = 0
    model.compile(keras.optimizers.SGD(0.01), loss=HingeLoss())
    assert np.isfinite(float(model.train_on_batch(songs, np.zeros(2, np.float32))))
    assert all(np.isfinite(array).all() for array in model.get_weights())
