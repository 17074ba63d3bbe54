"""Fixtures for the model tests: an encoder, and the golden values."""

import os

import numpy as np
import pytest

import models.keras_backend  # noqa: F401 (must come before any import of TensorFlow)
from tests.training import fixtures

# Only CPU results are bit-reproducible, and two processes could not share one GPU's memory.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@pytest.fixture(scope="session")
def encoder():
    """Return an encoder with random weights and moving statistics; tests must not modify it."""
    return fixtures.make_encoder()


@pytest.fixture(scope="session")
def golden(music_data) -> dict[str, np.ndarray]:
    """Return embeddings of real clips, one array per checkpoint, and the `track_id` of each row."""
    return dict(np.load(music_data / "golden/features.npz"))


@pytest.fixture(scope="session")
def golden_mels(music_data) -> dict[str, np.ndarray]:
    """Return the log-mels (1291, 128), float32, of two clips, keyed by track."""
    return dict(np.load(music_data / "golden/log_mel.npz"))
