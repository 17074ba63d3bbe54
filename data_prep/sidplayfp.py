"""Rendering tunes of the Commodore 64 with the program sidplayfp."""

import math
import os
import shutil
from pathlib import Path

import numpy as np

from data_prep import rendering
from data_prep.rendering import RenderingError

RATE = 44_100  # Hz; at lower rates, sidplayfp's fast output contains aliases
# "natural" is the chip that the tune is written for.
MODELS = {"natural": (), "6581": ("-mof",), "8580": ("-mnf",)}

_TIMEOUT = 120.0  # seconds; 30 s of music take one on a free core
_MORE = 10 * RATE  # samples; sidplayfp rounds the length up, to two seconds
_HEADER = 44  # bytes of a WAV file's header


def is_installed() -> bool:
    """Return whether sidplayfp is on the path."""
    return shutil.which("sidplayfp") is not None


def render(path: str | Path, seconds: float, model: str) -> np.ndarray:
    """Return the beginning of a tune's default song: at least these seconds, as (n,) int16.

    Every rendering gives the same bytes.
    """
    whole = math.ceil(seconds)
    # Without --delay=0, sidplayfp starts each tune after a random delay. Its default emulation and
    # resampling attenuate the treble.
    command = ["sidplayfp", "--resid", "-rif", "--delay=0", "-q2", f"-t{whole}", f"-f{RATE}", "-m"]
    command += [*MODELS[model], "-w-", os.path.abspath(path)]
    limit = _HEADER + 2 * (whole * RATE + _MORE)
    content, status, messages = rendering.read_output(command, limit, _TIMEOUT)
    if status is None:
        raise RenderingError(f"makes sidplayfp write more than {whole} s; leave it out")
    if status != 0 or content[:4] != b"RIFF" or content[36:40] != b"data":
        reason = next((line for line in messages if "error" in line.lower()), "without a message")
        reason = reason.removeprefix("sidplayfp: ")[:150]
        raise RenderingError(f"cannot be rendered (sidplayfp: {reason}); leave it out")
    samples = np.frombuffer(content[_HEADER : len(content) // 2 * 2], "<i2")
    if len(samples) < whole * RATE:
        raise RenderingError(f"is rendered to {len(samples) / RATE:.1f} of {whole} s; leave it out")
    return samples
