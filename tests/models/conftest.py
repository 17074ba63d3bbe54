"""Fixtures for models: one encoder, and the golden values."""

import os

import numpy as np
import pytest

import models.keras_backend  # noqa: F401 (before anything else imports TensorFlow)
from tests.training import fixtures

# Only the CPU computes the same bits twice, and two processes could not share one GPU's memory.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@pytest.fixture(scope="session")
def encoder():
    """An encoder with random weights and moving statistics, for tests that do not change it."""
    return fixtures.make_encoder()


@pytest.fixture(scope="session")
def golden(music_data) -> dict[str, np.ndarray]:
    """Embeddings of real clips, one array per checkpoint, and the `track_id` of their rows."""
    return dict(np.load(music_data / "golden/features.npz"))


@pytest.fixture(scope="session")
def golden_mels(music_data) -> dict[str, np.ndarray]:
    """Log-mels (1291, 128) float32 of two clips, by track."""
    return dict(np.load(music_data / "golden/log_mel.npz"))
