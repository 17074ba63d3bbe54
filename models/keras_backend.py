"""Keras, for every module of this room that has a network: `from models.quiet_keras import keras`.

TensorFlow greets the terminal with notes on its own build before it reads the variable
that would quiet it, so its first import happens with the C library's stderr turned away.
Python's errors still show.
"""

import contextlib
import logging
import os
import sys

if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3" and sys.stderr is not None:
    sys.stderr.flush()
    _stderr, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(_nowhere, 2)
    try:
        import keras

        with contextlib.suppress(ImportError):
            import tensorflow  # noqa: F401  (Keras' data adapters would, whatever the backend)
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)
        os.close(_nowhere)
else:
    import keras

# It warns that functions are compiled again and again, as they are on purpose where many networks
# are trained one after another.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = ["keras"]
