"""Keras without TensorFlow's start-up messages: `from models.keras_backend import keras`.

TensorFlow prints build information before it reads the environment variable that would silence it,
so stderr is dropped during the first import, unless TF_CPP_MIN_LOG_LEVEL is set.
"""

import contextlib
import logging
import os

from common.errors import InputError
from common.stderr import drop_lines

BACKENDS = ("tensorflow", "jax", "torch")


# PyTorch's OpenMP threads wait actively by default. If another process needs the core, training
# then slows down to a quarter.
if os.environ.get("KERAS_BACKEND") == "torch":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# TensorFlow uses oneDNN by default only on processors with AVX-512. With AVX2, training takes a
# seventh less time with it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# By default, JAX reserves only three quarters of the memory of a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")

quiet = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
try:
    with drop_lines(b"") if quiet else contextlib.nullcontext():
        import keras

        with contextlib.suppress(ImportError):
            import tensorflow  # noqa: F401  (Keras imports it later with any backend)
except (ImportError, ValueError) as error:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if isinstance(error, ImportError) and error.name == "keras":
        raise InputError(
            "Keras is not installed; run make install, or use an .onnx file from export.py"
        ) from error
    raise InputError(
        f"KERAS_BACKEND={backend}: cannot import it ({error}); use tensorflow, jax or torch, and "
        "install its requirements file"
    ) from error

# OpenVINO computes in bfloat16 on CPUs that support it, which changes features by almost 1 %.
if keras.backend.backend() not in BACKENDS:
    raise InputError(
        f"KERAS_BACKEND={keras.backend.backend()}: not supported, since its numbers differ; use "
        f"{', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}"
    )

# TensorFlow warns when functions are compiled repeatedly, which is expected here because many
# networks are trained one after another.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = ["BACKENDS", "keras"]
