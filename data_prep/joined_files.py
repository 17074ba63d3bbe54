"""Recognising a second file behind the first, as `cat` joins them.

Decoders stop at the end of the first one without a message.
"""

import mmap
import re
from pathlib import Path
from typing import Literal

from data_prep.mpeg_stream import ends_in_frames, skip_tags

# First bytes of a file by the demuxer of ffmpeg. The patterns are so long that they do not occur in
# compressed audio by chance.
_STARTS = {
    "wav": rb"(?:RIFF|RF64)....WAVE",
    "aiff": rb"FORM....AIF[CF]",
    "au": rb"\.snd\0\0..",
    "flac": rb"fLaC[\0\x80]\0\0\x22",
    "caf": rb"caff\0\x01\0\0",
    "mov": rb"ftyp(?!hei|avif|mif1)[\w ]{4}",  # cover pictures in HEIF are no audio
    "matroska": rb"\x1a\x45\xdf\xa3.{5,60}?(?:matroska|webm)",
    "asf": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
    "tta": rb"TTA[12][\x01-\x03]\0",
    "ape": rb"MAC .[\x0e\x0f]",
    # A file consists of blocks that start alike, but has one tag.
    "wv": rb"APETAGEX.*wvpk.{4}[\x02-\x10]\x04",
    "ogg": rb"OggS\0\x02",
}
_OWN_START = {name: re.compile(start, re.DOTALL) for name, start in _STARTS.items()}
_BEHIND_FLAC = ("flac", "wav", "ogg", "mov")
_FRAME = (
    rb"\xff[\xe2-\xe5\xf0-\xf5\xf8-\xfd][\x10-\xeb]"  # MP3 or AAC; too short to be searched for
)
_ANY_START = re.compile(
    rb"(?:.{1,4}ftyp|" + _FRAME + rb"|" + rb"|".join(_STARTS.values()) + rb")", re.DOTALL
)
# Where uncompressed files declare their size without the first 8 bytes, so that they need not be
# searched: (first byte, end, byte order).
_SIZES: dict[bytes, tuple[int, int, Literal["little", "big"]]] = {
    b"RIFF": (4, 8, "little"),
    b"FORM": (4, 8, "big"),
    b"RF64": (20, 28, "little"),
}


def contains_second(path: str | Path, demuxer: str | None, end: int | None = None) -> bool:
    """Return whether another audio file follows the first.

    Parameters
    ----------
    path
        Path of the file.
    demuxer
        Name of the demuxer of ffmpeg for the first file; None if it is not known.
    end
        Offset at which the first file ends; None if only its header may tell.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = skip_tags(data, 0)
        if end is None and (size := _SIZES.get(data[start : start + 4])):
            first, last, order = size
            end = start + 8 + int.from_bytes(data[start + first : start + last], order)
        if end is not None:
            return _ANY_START.match(data, skip_tags(data, min(end, len(data)))) is not None
        if demuxer == "flac":  # the others are not joined to other formats in practice
            found = any(_OWN_START[name].search(data, start + 12) for name in _BEHIND_FLAC)
            return found or ends_in_frames(data)
        own = _OWN_START.get(demuxer or "")
        return bool(own and own.search(data, start + 12))
