"""Keras without TensorFlow's start messages: `from models.keras_backend import keras`.

TensorFlow prints notes on its build before it reads the variable that would silence it, so the
C library's stderr is redirected during the first import. Errors of Python are still shown.
"""

import contextlib
import logging
import os
import sys

if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3" and sys.stderr is not None:
    sys.stderr.flush()
    _stderr, _null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(_null, 2)
    try:
        import keras

        with contextlib.suppress(ImportError):
            import tensorflow  # noqa: F401  (Keras imports it later, whatever the backend)
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)
        os.close(_null)
else:
    import keras

# TensorFlow warns that functions are compiled repeatedly. This is intended where many networks are
# trained one after another.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = ["keras"]
