"""Tunes of the Commodore 64 in the formats PSID and RSID (.sid): their headers and music data."""

import re
from dataclasses import dataclass
from pathlib import Path

MAGIC = (b"PSID", b"RSID")

_MEMORY = 1 << 16  # bytes of the C64
_OFFSETS = {1: 0x76, 2: 0x7C, 3: 0x7C, 4: 0x7C}  # where the music data start, by version
_MAX_SONGS = 256
# Values of two bits of the flags. Tunes for both chips, or for both clocks, are called ANY.
_CLOCKS = ("", "PAL", "NTSC", "ANY")
_CHIPS = ("", "6581", "8580", "ANY")
# Unknown digits are written as question marks: `198?`, `19??`.
_DECADE = re.compile(r"(19|20)[0-9](?=[0-9?])")
_SEVERAL = re.compile("[&,/+;]")  # between two authors


class PsidError(Exception):
    """Raised if a file is not a whole tune; the message is the reason."""


@dataclass(frozen=True)
class Tune:
    """The header of a tune, and its data.

    Attributes
    ----------
    is_rsid : whether the tune needs a whole C64, with its ROMs if it is in BASIC
    songs : number of songs in the file
    title, author, released : texts; `released` is the year and the publisher
    clock : PAL, NTSC or ANY; '' if unknown
    chip : 6581, 8580 or ANY; '' if unknown
    chips : number of SID chips
    needs_other_player : whether the tune has no player of its own (Compute's Sidplayer), or has
        digital samples in the format of the program PlaySID
    data : music data and program, without the address that they are loaded to
    """

    is_rsid: bool
    songs: int
    title: str
    author: str
    released: str
    clock: str
    chip: str
    chips: int
    needs_other_player: bool
    data: bytes

    @property
    def decade(self) -> str:
        """Return the decade of the release, such as 1980s; '' if unknown."""
        match = _DECADE.match(self.released)
        return f"{match.group()}0s" if match else ""

    @property
    def is_by_one_author(self) -> bool:
        """Return whether the header names one author, not several and not an unknown one."""
        is_known = bool(self.author) and not self.author.startswith("<?>")
        return is_known and not _SEVERAL.search(self.author)


def is_tune(path: str | Path) -> bool:
    """Return whether a file starts like a tune."""
    with open(path, "rb") as file:
        return file.read(4) in MAGIC


def read_tune(path: str | Path) -> Tune:
    """Read a tune.

    Raises
    ------
    PsidError
        If the file is not a tune, or contradicts its header, as some truncated tunes do.

    Examples
    --------
    >>> read_tune("MUSICIANS/H/Hubbard_Rob/Commando.sid").author  # doctest: +SKIP
    'Rob Hubbard'
    """
    with open(path, "rb") as file:
        content = file.read(_OFFSETS[2] + 2 + _MEMORY + 1)
    if content[:4] not in MAGIC:
        raise PsidError("is not a PSID or RSID tune; replace it or leave it out")

    def number(position: int) -> int:
        return int.from_bytes(content[position : position + 2], "big")

    def text(position: int) -> str:
        return content[position : position + 32].partition(b"\0")[0].decode("latin-1").strip()

    version = number(4)
    if version not in _OFFSETS:
        raise _damaged(f"its version is {version}, not 1 to 4")
    offset = _OFFSETS[version]
    if number(6) != offset:
        raise _damaged(f"its music data start at byte {number(6)}, not {offset}")
    # An address of zero means that the data start with the address, as in files of the C64.
    address, start = number(8), offset
    if not address:
        address, start = int.from_bytes(content[offset : offset + 2], "little"), offset + 2
    data = content[start:]
    if not data:
        raise _damaged("it ends before the music data")
    if address + len(data) > _MEMORY:
        raise _damaged("its music data do not fit in the memory of a C64")
    is_rsid = content.startswith(b"RSID")  # these may start in BASIC
    start_address = number(10) or address
    if not is_rsid and not address <= start_address < address + len(data):
        raise _damaged(f"its program starts at {start_address:#06x}, outside its data")
    if not 1 <= number(14) <= _MAX_SONGS:
        raise _damaged(f"it declares {number(14)} songs, not 1 to {_MAX_SONGS}")
    flags = number(0x76) if version > 1 else 0
    return Tune(
        is_rsid=is_rsid,
        songs=number(14),
        title=text(0x16),
        author=text(0x36),
        released=text(0x56),
        clock=_CLOCKS[flags >> 2 & 3],
        chip=_CHIPS[flags >> 4 & 3],
        # Version 3 added the address of a second chip, and version 4 that of a third.
        chips=1 + sum(map(bool, content[0x7A : 0x78 + version])),
        # In RSID tunes, the second bit stands for BASIC.
        needs_other_player=bool(flags & (1 if is_rsid else 3)),
        data=data,
    )


def _damaged(problem: str) -> PsidError:
    return PsidError(f"is damaged: {problem}; download or copy it again")
