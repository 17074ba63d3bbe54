"""The fixtures of tests/models, for the tests of this room."""

from tests.models.conftest import encoder, golden, golden_mels

__all__ = ["encoder", "golden", "golden_mels"]
