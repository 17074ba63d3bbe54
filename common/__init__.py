"""Utilities shared by all packages: errors, files, provenance, parallel maps and the CLI."""
