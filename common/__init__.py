"""What every room and script shares: errors, whole files, provenance, the command line."""
