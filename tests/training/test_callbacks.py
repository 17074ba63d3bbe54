"""Test properties of the callbacks that a complete training run would not reveal."""

import io
import math

import keras
import numpy as np
import pytest
from tqdm import tqdm

from training import callbacks
from training.devices import Devices

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    return model


def test_decay_per_epoch_accumulates_to_the_decay_per_step(model):
    """Test factors close to 1, a float32 learning rate and epochs of different lengths."""
    decay, steps = callbacks.LearningRateDecay(), 0
    decay.set_model(model)
    for epoch in range(200):
        decay.on_epoch_begin(epoch)
        steps += 5000 + epoch
        model.optimizer.iterations.assign(steps)
        decay.on_epoch_end(epoch)
    rate = keras.ops.convert_to_numpy(model.optimizer.learning_rate)
    assert steps > 900_000
    assert rate == pytest.approx(0.1 / (1 + 1e-6 * steps), rel=1e-5)


def test_cosine_schedule_falls_from_the_initial_rate_towards_zero(model):
    decay, rates = callbacks.CosineDecay(0.3, 4), []
    decay.set_model(model)
    for epoch in (0, 1, 2, 3, 1):  # a resumed run begins at any epoch
        decay.on_epoch_begin(epoch)
        decay.on_epoch_end(epoch, logs := {"loss": 1.0})
        assert logs["learning_rate"] == keras.ops.convert_to_numpy(model.optimizer.learning_rate)
        rates.append(logs["learning_rate"])
    half = 0.15 / np.sqrt(2)
    expected = [0.3, 0.15 + half, 0.15, 0.15 - half, 0.15 + half]
    assert rates == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_non_finite_loss_stops_training_without_fetching_weights(loss, model, monkeypatch):
    stop = callbacks.StopAtNaN()
    stop.set_model(model)

    def sync():
        pytest.fail("fetched the weights while JAX computes with them")

    # Accessing `self.model` in a Keras callback calls this method with JAX.
    monkeypatch.setattr(model, "jax_state_sync", sync, raising=False)
    stop.on_train_batch_end(3, {"loss": 1.0})
    assert not model.stop_training
    stop.on_train_batch_end(5, {"loss": loss})
    stop.on_train_batch_end(4, {"loss": 2.0})
    assert model.stop_training


class TenTracks:
    """Stand-in for `Batches`, with 10 tracks per epoch."""

    in_epoch = 10


def test_progress_bar_counts_tracks_when_batches_arrive_out_of_order(monkeypatch, tmp_path):
    drawn = io.StringIO()

    def visible(*, shown, **settings):
        assert shown
        return tqdm(file=drawn, mininterval=0, **settings)

    # Without a terminal, the real progress bar neither draws nor counts.
    monkeypatch.setattr(callbacks.cli, "progress_bar", visible)
    bar = callbacks.ProgressCallback(tmp_path, 2, [TenTracks()] * 4, Devices())
    bar.set_params({"steps": 3})
    counted = []
    for epoch in (2, 3):
        bar.on_epoch_begin(epoch)
        for batch in (0, 2, 1):
            logs = {"loss": 1.23456, "learning_rate": 0.1, callbacks.NONFINITE: 0}
            bar.on_train_batch_end(batch, logs)
            counted.append(bar._bar.n)
        bar.on_epoch_end(epoch, {"loss": 1.23456, "learning_rate": 0.1})
    bar.close()
    assert counted == [23, 30, 30, 33, 40, 40] and bar._bar.n == 40
    assert f"{tmp_path} 4/4" in drawn.getvalue() and "loss=1.235" in drawn.getvalue()
    assert "learning_rate" not in drawn.getvalue()
    assert callbacks.NONFINITE not in drawn.getvalue()
