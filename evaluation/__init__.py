"""Metrics, written as pure functions of arrays, and result files."""
