"""Utilities shared by all packages: errors, files, provenance, parallel maps and the CLI."""

from importlib.util import find_spec

# Every script imports this package first, so that without the dependencies it ends with this line.
if not all(map(find_spec, ("numpy", "h5py", "tqdm"))):
    raise SystemExit(
        "error: the dependencies are missing; run `make install`, then use .venv/bin/python"
    )
