"""Test the encoder against the layer table in the paper."""

import keras
import numpy as np
import pytest

from models.encoder import build_encoder, normalise
from tests.training.fixtures import make_encoder

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself


def test_layers_match_the_paper(encoder):
    shapes = {layer.name: layer.output.shape[1:] for layer in encoder.layers}
    outputs = [(129, 128), (32, 128), (8, 128), (2, 128), (1, 256)]
    assert [shapes[f"conv{n}"] for n in range(1, 6)] == outputs
    assert [shapes[f"pool{n}"][0] for n in range(1, 5)] == [32, 8, 2, 1]
    kinds = [type(layer).__name__ for layer in encoder.layers]
    block = ["Conv1D", "BatchNormalization", "ReLU", "MaxPooling1D"]
    assert kinds == ["InputLayer", *block * 4, *block[:3], "Dropout", "GlobalAveragePooling1D"]
    for n in range(1, 6):
        assert encoder.get_layer(f"conv{n}").padding == "same"
        norm = encoder.get_layer(f"bn{n}")
        assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)


def test_shapes_and_parameter_count_match_a_manual_count(encoder):
    convolutions = 3 * (4 * 128 * 128 + 128) + (2 * 128 * 128 + 128) + (1 * 128 * 256 + 256)
    gammas_and_betas = 2 * (4 * 128 + 256)
    assert (encoder.input_shape, encoder.output_shape) == ((None, 129, 128), (None, 256))
    assert encoder.count_params() == convolutions + 2 * gammas_and_betas == 265_984
    trainable = sum(np.prod(variable.shape) for variable in encoder.trainable_weights)
    assert trainable == convolutions + gammas_and_betas


@pytest.mark.backend
def test_statistics_encoder_maps_mean_and_deviation_over_time():
    encoder = make_encoder(kind="statistics")
    shapes = {layer.name: layer.output.shape[1:] for layer in encoder.layers}
    outputs = [(129, 128), (32, 128), (8, 128), (8, 128), (8, 256)]
    assert [shapes[f"conv{n}"] for n in range(1, 6)] == outputs
    segments = np.random.default_rng(0).normal(size=(3, 129, 128)).astype(np.float32)
    frames = keras.Model(encoder.input, encoder.get_layer("relu5").output)(segments)
    frames = keras.ops.convert_to_numpy(frames)
    deviation = np.sqrt(frames.var(axis=1, dtype=np.float64) + 1e-6)
    statistics = np.concatenate([frames.mean(axis=1), deviation], axis=1)
    kernel, bias = encoder.get_layer("feature").get_weights()
    gamma, beta, mean, variance = encoder.get_layer("bn_statistics").get_weights()
    expected = (gamma * (statistics - mean) / np.sqrt(variance + 1e-3) + beta) @ kernel + bias
    found = keras.ops.convert_to_numpy(encoder(segments))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.backend
def test_kernels_are_he_uniform_with_an_l2_penalty():
    encoder = build_encoder()
    kernels = [encoder.get_layer(f"conv{n}").get_weights()[0] for n in range(1, 6)]
    for kernel in kernels:
        limit = np.sqrt(6 / np.prod(kernel.shape[:2]))
        assert 0.98 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)
    penalty = sum(keras.ops.convert_to_numpy(loss) for loss in encoder.losses)
    assert penalty == pytest.approx(1e-5 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)


@pytest.mark.backend
def test_dropout_is_off_by_default():
    segments = np.random.default_rng(0).random((4, 129, 128), np.float32)

    def run_twice(encoder):
        passes = (encoder(segments, training=True) for _ in range(2))
        return [keras.ops.convert_to_numpy(features) for features in passes]

    first, second = run_twice(build_encoder())
    np.testing.assert_array_equal(first, second)
    first, second = run_twice(build_encoder(dropout=0.5))
    assert 0.3 < np.mean((first == 0) != (second == 0)) / np.mean((first > 0) | (second > 0)) < 1


@pytest.mark.backend
def test_mixed_precision_computes_in_bfloat16_with_float32_weights(encoder):
    mixed = build_encoder(precision="mixed")
    names = [layer.name for layer in mixed.layers if layer.name not in ("segment", "feature")]
    assert {mixed.get_layer(name).compute_dtype for name in names} == {"bfloat16"}
    assert {variable.dtype for variable in mixed.variables} == {"float32"}
    assert {layer.compute_dtype for layer in encoder.layers} == {"float32"}

    mixed.set_weights(encoder.get_weights())
    segments = np.random.default_rng(0).random((4, 129, 128), np.float32)
    output, expected = (one.predict_on_batch(segments) for one in (mixed, encoder))
    assert output.dtype == np.float32
    error = np.abs(output - expected).max() / np.abs(expected).max()
    assert 1e-4 < error < 0.03, "not bfloat16, or not the same network"


@pytest.mark.backend
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_normalisation_subtracts_the_mean_and_divides_by_the_std(dtype):
    mels = np.random.default_rng(0).normal(0.3, 0.2, (3, 129, 128)).astype(dtype)
    expected = (mels.astype(np.float64) - 0.22620339) / 0.25794547
    output = keras.ops.convert_to_numpy(normalise(mels, 0.22620339, 0.25794547))
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected, atol=1e-6)
