"""The page headers of Ogg files (RFC 3533), which show whether libsndfile reads a file whole.

If several streams follow one another, libsndfile takes the length of the last one for that of the
file, and decodes only the first.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

_FIRST_PAGE, _LAST_PAGE = 2, 4  # flags of the first and the last page of a stream
_READABLE = (b"\x01vorbis", b"OpusHead")  # by libsndfile


@dataclass(frozen=True)
class OggPages:
    """What the pages of a file say.

    Attributes
    ----------
    links : number of streams, or groups of parallel streams, that follow one another
    is_whole : whether the last page of each stream is there, and complete
    is_readable : whether libsndfile reads the codec of the first stream, Vorbis or Opus
    is_mixed : whether the codecs of a link are not those of the first; ffmpeg skips such links
    end : offset of the end of the last page
    """

    links: int
    is_whole: bool
    is_readable: bool
    is_mixed: bool
    end: int


def read_pages(path: str | Path) -> OggPages:
    """Read the headers of all pages of an Ogg file."""
    links: list[set[bytes]] = []  # first bytes of the streams' headers, which name their codecs
    open_streams: set[bytes] = set()  # serial numbers of the streams whose last page is to come
    in_header, end = False, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        codec = data[27 + data[26] : 35 + data[26]] if len(data) > 26 else b""
        position = data.find(b"OggS\0")  # there may be tags in front of any page
        while position >= 0 and position + 27 <= len(data):
            flags, serial = data[position + 5], data[position + 14 : position + 18]
            segments = data[position + 26]
            if is_first := bool(flags & _FIRST_PAGE):
                if not in_header:
                    links.append(set())
                links[-1].add(data[position + 27 + segments : position + 32 + segments])
                open_streams.add(serial)
            if flags & _LAST_PAGE:
                open_streams.discard(serial)
            in_header = is_first
            end = position + 27 + segments + sum(data[position + 27 : position + 27 + segments])
            position = data.find(b"OggS\0", end)
        is_whole = end <= len(data) and not open_streams
        is_mixed = any(link != links[0] for link in links)
        return OggPages(len(links), is_whole, codec.startswith(_READABLE), is_mixed, end)
