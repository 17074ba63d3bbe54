"""Errors, files, provenance, parallel maps and the command line, shared by all packages."""
