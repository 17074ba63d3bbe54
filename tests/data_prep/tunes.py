"""Tunes of the Commodore 64 that the tests assemble themselves."""

import shutil
import struct
from pathlib import Path

import pytest

needs_sidplayfp = pytest.mark.skipif(
    shutil.which("sidplayfp") is None, reason="sidplayfp is not installed"
)
HERTZ = (440, 880)  # pitch of the first and of the second song

_ADDRESS = 0x1000
_CLOCK = 985_248  # Hz, of a PAL C64, by which the pitch is counted


def program() -> bytes:
    """Return a 6502 program that plays one voice: a triangle with the pitch of the song.

    A C64 calls it once with the number of the song in the accumulator, and then 50 times a second
    at its last byte, where it does nothing.
    """
    pitches = [round(hertz * 2**24 / _CLOCK) for hertz in HERTZ]
    registers = {24: 15, 5: 0, 6: 0xF0, 4: 0x11}  # volume, attack, sustain, triangle and gate
    sets = b"".join(
        bytes([0xA9, value, 0x8D, register, 0xD4]) for register, value in registers.items()
    )
    start = len(sets) + 1 + 6 + 6 + 1  # the code before the pitches
    low, high = (_ADDRESS + start + place for place in (0, len(pitches)))
    code = b"\xaa" + sets  # TAX, and LDA value, STA register of the SID
    for table, register in ((low, 0), (high, 1)):
        code += b"\xbd" + struct.pack("<H", table) + bytes([0x8D, register, 0xD4])  # LDA table,X
    code += b"\x60"  # RTS
    code += bytes(pitch & 255 for pitch in pitches) + bytes(pitch >> 8 for pitch in pitches)
    return code + b"\x60"


def tune(
    *,
    magic: bytes = b"PSID",
    version: int = 2,
    offset: int | None = None,
    init: int = _ADDRESS,
    songs: int = 2,
    start: int = 1,
    title: str = "A Tune",
    author: str = "Some Body",
    released: str = "1987 Some Company",
    flags: int = 0x14,  # PAL, 6581
    chips: bytes = b"\0\0",
    data: bytes | None = None,
) -> bytes:
    """Return a tune with the given header fields; `data` is the program by default."""
    data = program() if data is None else data
    size = 0x76 if version == 1 else 0x7C
    play = _ADDRESS + len(program()) - 1
    numbers = version, size if offset is None else offset, 0, init, play, songs, start
    head = magic + struct.pack(">7HI", *numbers, 0)
    for text in (title, author, released):
        head += text.encode("latin-1").ljust(32, b"\0")
    head += struct.pack(">HBB", flags, 0, 0) + chips
    return head[:size] + struct.pack("<H", _ADDRESS) + data


def write_tunes(folder: Path, count: int, **fields) -> None:
    """Write tunes 00.sid, 01.sid and so on, whose music data differ from all others'."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        data = program() + f"{folder} {number}".encode()
        (folder / f"{number:02}.sid").write_bytes(tune(data=data, **fields))
