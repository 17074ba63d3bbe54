"""Fixtures from tests/models, reused by the training tests."""

from tests.models.conftest import encoder, golden, golden_mels

__all__ = ["encoder", "golden", "golden_mels"]
