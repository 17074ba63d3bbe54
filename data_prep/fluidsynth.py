"""Rendering MIDI files with the program FluidSynth, all channels as a piano, without drums."""

import os
import re
import shutil
from pathlib import Path

import numpy as np

from common.errors import InputError
from data_prep import rendering
from data_prep.rendering import RenderingError

RATE = 44_100  # Hz; at lower rates, the fonts' samples would contain aliases

# Without a file of commands, FluidSynth reads those of the user and of the system.
_PIANO, _INSTRUMENTS = Path(__file__).with_suffix(".cfg"), os.devnull
_TIMEOUT = 120.0  # seconds; 30 s of music take less than one on a free core
_FRAME = 4  # bytes of a sample of both channels
_REFUSED = re.compile("not a SoundFont|Failed to load the SoundFont")  # of a font
_SILENT = 10 ** (-60 / 20)


def is_installed() -> bool:
    """Return whether fluidsynth is on the path."""
    return shutil.which("fluidsynth") is not None


def render(
    path: str | Path, font: str | Path, seconds: float, *, instruments: bool = False
) -> np.ndarray:
    """Return the beginning of a MIDI file as (n,) float32, played with a sound font.

    With `instruments`, each channel has the instrument that the file names. There are neither
    reverberation nor chorus, and every rendering gives the same bytes. Raises `InputError` if the
    font cannot be read, and `RenderingError` if the file cannot be rendered.
    """
    commands = str(_INSTRUMENTS if instruments else _PIANO)
    command = ["fluidsynth", "-n", "-i", "-q", "-f", commands, "-R", "0", "-C", "0"]
    # Larger blocks take a tenth of the context switches; the sound is the same.
    command += ["-z", "1024"]
    # Of a font of 500 MB, only the samples of the piano are loaded.
    command += ["-o", "synth.dynamic-sample-loading=1", "-r", str(RATE), "-T", "raw", "-O", "s16"]
    command += ["-F", "-", os.path.abspath(font), os.path.abspath(path)]
    limit = int(seconds * RATE) * _FRAME
    content, status, messages = rendering.read_output(command, limit, _TIMEOUT)
    for message in messages:
        if Path(font).name in message and _REFUSED.search(message):
            # FluidSynth then plays the system's default font, with exit status 0.
            raise InputError(f"{font}: cannot be read (fluidsynth: {message[:150]}); replace it")
    samples = np.frombuffer(content[: len(content) // _FRAME * _FRAME], np.int16)
    waveform = samples.reshape(-1, 2).mean(axis=1, dtype=np.float32) / 2**15
    if status or not len(waveform) or np.abs(waveform).max() < _SILENT:
        # A damaged file is often played as silence, with an error message.
        silent = f"silent for the first {len(waveform) / RATE:.0f} s"
        reason = next(iter(messages), silent)[:150]
        raise RenderingError(f"cannot be rendered (fluidsynth: {reason}); leave it out")
    return waveform
