"""What the tests of the models share: one encoder, and the golden values."""

import os

import numpy as np
import pytest

import models.keras_backend  # noqa: F401 (before anything else imports TensorFlow)
from tests.training import fixtures

# Only the CPU gives the same bits twice; and two processes could not both have the whole GPU.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@pytest.fixture(scope="session")
def encoder():
    """A random encoder as if trained, for all tests that do not change it."""
    return fixtures.make_encoder()


@pytest.fixture(scope="session")
def golden(music_data) -> dict[str, np.ndarray]:
    """Song features, one array per checkpoint, and the `track_id` that their rows belong to."""
    return dict(np.load(music_data / "golden/features.npz"))


@pytest.fixture(scope="session")
def golden_mels(music_data) -> dict[str, np.ndarray]:
    """Log-mels (1291, 128) float32 of two clips, by track."""
    return dict(np.load(music_data / "golden/log_mel.npz"))
