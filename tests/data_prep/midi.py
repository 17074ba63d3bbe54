"""MIDI files that the tests assemble themselves, and the means to play them."""

import shutil
import struct
from pathlib import Path

import pytest

FONT = next(iter(sorted(Path("/usr/share/sounds/sf2").glob("TimGM6mb.sf2"))), None)
needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or FONT is None,
    reason="fluidsynth or the sound font TimGM6mb is not installed",
)


def midi(*notes: int, program: int = 0, start: int = 0, channel: int = 0) -> bytes:
    """Return a MIDI file that plays notes of one second, from a number of seconds on."""
    # Deltas of 96 ticks, 48 of which are a beat of half a second, need one byte each.
    change, on, off = 0xC0 + channel, 0x90 + channel, 0x80 + channel
    events = bytes([0, change, program])
    events += bytes([96, change, program]) * start
    events += b"".join(bytes([0, on, note, 100, 96, off, note, 0]) for note in notes)
    track = events + b"\0\xff\x2f\0"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 48)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track
