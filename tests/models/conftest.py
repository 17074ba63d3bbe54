"""What the tests of the models share: one encoder, and the golden values."""

import numpy as np
import pytest

import models  # noqa: F401 (quiets TensorFlow before anything imports it)
from models.encoder import build_encoder


@pytest.fixture(scope="session")
def encoder():
    """A random encoder as if trained: its normalisations scale, shift and have statistics."""
    made = build_encoder()
    rng = np.random.default_rng(7)
    arrays = []
    for variable in made.weights:
        if variable.name in ("gamma", "moving_variance"):
            arrays.append(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("bias", "beta", "moving_mean"):
            arrays.append(rng.normal(0, 0.2, variable.shape))
        else:
            arrays.append(rng.normal(0, np.prod(variable.shape[:-1]) ** -0.5, variable.shape))
    made.set_weights([array.astype(np.float32) for array in arrays])
    return made


@pytest.fixture(scope="session")
def golden(music_data) -> dict[str, np.ndarray]:
    """Song features, one array per checkpoint, and the `track_id` that their rows belong to."""
    return dict(np.load(music_data / "golden/features.npz"))


@pytest.fixture(scope="session")
def golden_mels(music_data) -> dict[str, np.ndarray]:
    """Log-mels (1291, 128) float32 of two clips, by track."""
    return dict(np.load(music_data / "golden/log_mel.npz"))
