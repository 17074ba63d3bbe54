"""What happens between steps and epochs, where a whole training would not show it."""

import io
import math

import keras
import numpy as np
import pytest
from tqdm import tqdm

from training import callbacks
from training.devices import Devices

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own conversions


@pytest.fixture
def model():
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    made.compile(keras.optimizers.SGD(0.1), loss="mse")
    return made


def test_decay_over_many_epochs_is_that_of_all_their_steps(model):
    """Factors close to 1, in a rate of float32, over epochs of unequal length."""
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


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training_from_another_thread(loss, model, monkeypatch):
    stop = callbacks.StopAtNaN()
    stop.set_model(model)

    def sync():
        pytest.fail("took the weights away from JAX, which is computing with them")

    # What Keras' own `self.model` of a callback does.
    monkeypatch.setattr(model, "jax_state_sync", sync, raising=False)
    stop.on_train_batch_end(3, {"loss": 1.0})
    assert not model.stop_training
    stop.on_train_batch_end(5, {"loss": loss})
    stop.on_train_batch_end(4, {"loss": 2.0})
    assert model.stop_training


class Songs:
    """10 songs in 3 batches."""

    in_epoch = 10

    def __len__(self):
        return 3


def test_bar_counts_the_songs_of_all_epochs_in_whatever_order_they_are_told(monkeypatch, tmp_path):
    drawn = io.StringIO()

    def visible(*, shown, **settings):
        assert shown
        return tqdm(file=drawn, mininterval=0, **settings)

    # Where nobody watches, the real one draws nothing and counts nothing.
    monkeypatch.setattr(callbacks.cli, "progress", visible)
    bar = callbacks.ProgressCallback(tmp_path, 2, [Songs()] * 4, Devices())
    counted = []
    for epoch in (2, 3):
        bar.on_epoch_begin(epoch)
        for batch in (0, 2, 1):
            bar.on_train_batch_end(batch, {"loss": 1.23456, "learning_rate": 0.1})
            counted.append(bar._bar.n)
        bar.on_epoch_end(epoch, {"loss": 1.23456, "learning_rate": 0.1})
    bar.close()
    assert counted == [23, 30, 30, 33, 40, 40] and bar._bar.n == 40
    assert f"{tmp_path} 4/4" in drawn.getvalue() and "loss=1.235" in drawn.getvalue()
    assert "learning_rate" not in drawn.getvalue()


def test_numbers_are_read_from_variables(model):
    model.optimizer.learning_rate.assign(0.25)
    assert callbacks._number(model.optimizer.learning_rate) == 0.25
    assert isinstance(callbacks._number(keras.Variable(np.float32(2))), float)
