"""Several training steps in one compiled function, for JAX.

Keras runs `steps_per_execution` steps of JAX one after another from Python. On an accelerator, a
step of the papers' batch size takes less time than Python needs to start it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from models.keras_backend import keras


class BlockModel(keras.Model):
    """A model that is fitted with blocks of batches, one block per step of Keras.

    The arrays of a block have the axes (batch, steps, ...), so that several devices can divide the
    first one. Where there are several inputs, only the first one has steps; all steps share the
    others. Optimizer, metrics and batch statistics are updated as by single steps.
    """

    def build_metrics(self, y: np.ndarray) -> None:
        """Create the variables of loss and metrics, for targets like those of a batch, `y`.

        Keras would otherwise call the model on a block to do so.
        """
        shape = (size or 1 for size in self.output_shape[1:])  # where the model takes any size
        predictions = keras.ops.zeros((len(y), *shape))
        self.compute_loss(None, y, predictions)
        self.compute_metrics(None, y, predictions)

    def train_step(self, state, data):
        """Run one training step per batch of a block."""
        return _scan(super().train_step, state, data)

    def test_step(self, state, data):
        """Run one validation step per batch of a block."""
        return _scan(super().test_step, state, data)


def _scan(step: Callable, state: Any, block: Any) -> tuple[dict, Any]:
    """Apply a step of Keras to each batch of a block; return the last logs and state."""
    import jax

    structure = jax.tree.structure(state)
    x, *targets = block
    x, *shared = x if isinstance(x, tuple) else (x,)

    def one_step(state, batch):
        x, *targets = batch
        logs, state = step(state, ((x, *shared) if shared else x, *targets))
        return jax.tree.unflatten(structure, jax.tree.leaves(state)), logs

    batches = jax.tree.map(lambda array: jax.numpy.moveaxis(array, 1, 0), (x, *targets))
    state, logs = jax.lax.scan(one_step, state, batches)
    return {name: values[-1] for name, values in logs.items()}, state
