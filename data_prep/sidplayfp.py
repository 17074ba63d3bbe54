"""Rendering tunes of the Commodore 64 with the program sidplayfp."""

import math
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy as np

RATE = 44_100  # Hz; at lower rates, sidplayfp's fast output contains aliases
# "natural" is the chip that the tune is written for.
MODELS = {"natural": (), "6581": ("-mof",), "8580": ("-mnf",)}

_TIMEOUT = 120.0  # seconds; 30 s of music take one on a free core
_MORE = 10 * RATE  # samples; sidplayfp rounds the length up, to two seconds
_HEADER = 44  # bytes of a WAV file's header


class SidplayfpError(Exception):
    """Raised if sidplayfp does not render a tune; the message is the reason."""


def is_installed() -> bool:
    """Return whether sidplayfp is on the path."""
    return shutil.which("sidplayfp") is not None


def render(path: str | Path, seconds: float, model: str) -> np.ndarray:
    """Return the beginning of a tune's default song: at least these seconds, as (n,) int16.

    Every rendering gives the same bytes. sidplayfp writes to a pipe, so that its output, which some
    tunes make endless, ends up in no file, and so that it is ended if this process is.
    """
    whole = math.ceil(seconds)
    # Without --delay=0, sidplayfp starts each tune after a random delay.
    command = ["sidplayfp", "--resid", "-rif", "--delay=0", "-q2", f"-t{whole}", f"-f{RATE}", "-m"]
    command += [*MODELS[model], "-w-", os.path.abspath(path)]
    limit = _HEADER + 2 * (whole * RATE + _MORE)
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            cwd=home,
            env=_environment(home),
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(_TIMEOUT, process.kill)
            timer.start()
            try:
                content = process.stdout.read(limit + 1)
                status = None if len(content) > limit else process.wait()
            finally:
                is_late = not timer.is_alive()
                timer.cancel()
                process.kill()  # does nothing if it has ended
        messages.seek(0)
        lines = messages.read().decode(errors="replace").splitlines()
    if is_late:
        raise SidplayfpError(f"is not rendered within {_TIMEOUT:.0f} s; leave it out")
    if status is None:
        raise SidplayfpError(f"makes sidplayfp write more than {whole} s; leave it out")
    if status != 0 or content[:4] != b"RIFF" or content[36:40] != b"data":
        reason = next((line for line in lines if "error" in line.lower()), "without a message")
        raise SidplayfpError(f"cannot be rendered (sidplayfp: {reason[:150]}); leave it out")
    samples = np.frombuffer(content[_HEADER : len(content) // 2 * 2], "<i2")
    if len(samples) < whole * RATE:
        raise SidplayfpError(f"is rendered to {len(samples) / RATE:.1f} of {whole} s; leave it out")
    return samples


def _environment(home: str) -> dict[str, str]:
    """Return an environment without the user's settings of sidplayfp, which change the sound."""
    folders = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), home)
    inherited = {name: text for name, text in os.environ.items() if name != "HVSC_BASE"}
    return inherited | folders
