"""Finding all frames of an MPEG audio stream (MP3), whatever length its header declares.

libsndfile stops at the length declared by the first header or, without one, at a guess from the bit
rate of the first frames. If the bit rate varies, a cover picture stands in front or two files were
joined, most of the music may lie beyond. Passed through a pipe, the frames are all decoded.

Source: ISO/IEC 11172-3 section 2.4.2 (frame header); LAME's "Mp3 Info Tag" (length and delay).
"""

import contextlib
import dataclasses
import functools
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SAMPLE_RATES = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_BIT_RATES = {  # kbit/s for the indices 1 to 14, by (MPEG-1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SEARCH = 1 << 20  # bytes searched for a frame after the end of the previous one
_END = 1 << 16  # bytes at the end of a file, more than 16 frames
_MAX_FREE_SIZE = 4096  # bytes of a frame in free format
_IN_A_ROW = 3  # frames that follow one another are no chance,
_IN_A_ROW_AT_START = 16  # unless a file of another format contains small integers
_FREE_PARTS = "has different parts, one of them in MPEG's free format"
_DECODER_DELAY = 529  # samples
_MAX_GAP = 0.01  # fraction of the stream that may be something else than frames


class MpegError(Exception):
    """Raised if a stream cannot be decoded; the message is the reason."""


class MixedPartsError(MpegError):
    """Raised if the layer, the sample rate or the number of channels changes."""


@dataclass(frozen=True)
class _Frame:
    """A frame header: size in bytes, samples per channel, sample rate and number of channels."""

    size: int
    samples: int
    layer: int
    is_free: bool  # in free format, whose frames do not declare their size
    rate: int
    channels: int
    info_offset: int  # where a Xing or Info header would stand

    def is_like(self, other: "_Frame") -> bool:
        """Return whether a stream may contain both frames."""
        if self.is_free and abs(self.size - other.size) > 1:  # one byte of padding
            return False
        return (self.layer, self.rate, self.is_free) == (other.layer, other.rate, other.is_free)


@dataclass
class MpegStream:
    """The parts of a file that contain audio frames.

    Attributes
    ----------
    is_cut
        Whether the last frame is incomplete.
    parts
        (first, end) byte offsets of runs of frames.
    rate
        Sample rate in Hz.
    samples
        Number of samples per channel in all frames, or as declared if that is more.
    skip
        Number of samples at the start that the encoder has added.
    end
        Offset of the end of the last frame.
    is_declared
        Whether the header declares the length of the whole file; libsndfile then reads all of it.
    """

    rate: int
    is_declared: bool = False
    is_cut: bool = False
    parts: list[tuple[int, int]] = field(default_factory=list)
    samples: int = 0
    skip: int = 0
    end: int = 0

    def add(self, first: int, end: int) -> None:
        """Add a part unless it is empty."""
        if end > first:
            self.parts.append((first, end))


def find_frames(path: str | Path, max_seconds: float) -> MpegStream | None:
    """Find the frames of the first `max_seconds` of a file; None if it contains no MPEG audio.

    Raises
    ------
    MixedPartsError
        If the layer, the sample rate or the number of channels changes.
    MpegError
        If a part of the file is damaged, or only one of several parts is in free format.
    OSError
        If the file cannot be read.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, end = skip_tags(data, 0), skip_last_tags(data)
        is_first = _parse(data, start, end) is not None
        position = _next_frame(data, start, end, _IN_A_ROW if is_first else _IN_A_ROW_AT_START)
        if position is None:
            return None
        first = _parse(data, position, end)
        assert first is not None  # as `_next_frame` has found it
        stream = MpegStream(first.rate)
        info = _read_info(data, position, first)
        count = 0
        # libsndfile gives up after 64 KiB of zeros or of an APE tag.
        if info is not None and data[:1] != b"\0" and data[:8] != b"APETAGEX":
            count, size, delay = info
            stream.skip = delay + _DECODER_DELAY if delay else 0
            stream.end = position + size
            is_known = data[position + 36 : position + 40] != b"VBRI"  # to libsndfile
            if is_known and count and size and _next_frame(data, stream.end, end) is None:
                # Some encoders do not count the last frame, or the header itself.
                stream.end += sum(_sizes_in_a_row(data, stream.end, end, _IN_A_ROW))
                stream.is_declared = True
                return stream
            if first.is_free:
                raise MpegError(_FREE_PARTS)
        _walk(data, position, end, stream, first, max_seconds)
        # The header may count its own frame.
        stream.samples = max(stream.samples, (count - 1) * first.samples)
        stream.is_declared = first.is_free  # libsndfile reads such a file, but not from a pipe
        return stream


def _walk(
    data: mmap.mmap, position: int, end: int, stream: MpegStream, first: _Frame, max_seconds: float
) -> None:
    """Add the frames between two offsets to a stream."""
    gaps, wanted = 0, max_seconds * first.rate + stream.skip
    start = begin = position
    while stream.samples < wanted:
        frame = _parse(data, position, end)
        if frame is None or position + frame.size > end:
            stream.is_cut = frame is not None
            stream.add(start, position)
            following = _next_frame(data, position, end)
            if following is None:
                break
            gaps += _gap(data, position, following)
            start = position = following
        elif (frame.is_free or first.is_free) and _is_other_part(data, position, end, first):
            raise MpegError(_FREE_PARTS)
        elif (frame.layer, frame.rate, frame.channels) != (first.layer, first.rate, first.channels):
            raise MixedPartsError(
                "has parts with different sample rates, numbers of channels or MPEG layers"
            )
        elif _read_info(data, position, frame) is not None:
            stream.add(start, position)
            start = position = position + frame.size
        else:
            position += frame.size
            stream.samples += frame.samples
    else:
        stream.add(start, position)
    stream.end = position
    if gaps > _MAX_GAP * (position - begin):
        share = gaps / (position - begin)
        raise MpegError(f"is damaged: {share:.0%} of its bytes between frames are not MPEG audio")


def _is_other_part(data: mmap.mmap, position: int, end: int, first: _Frame) -> bool:
    """Return whether frames unlike the first start; the size of a single one may be wrong."""
    frame = _parse(data, position, end)
    assert frame is not None
    return not frame.is_like(first) and (
        len(_sizes_in_a_row(data, position, end, _IN_A_ROW)) == _IN_A_ROW
    )


@contextlib.contextmanager
def open_pipe(path: str | Path, stream: MpegStream) -> Iterator[int]:
    """Yield the file descriptor of a pipe that delivers the frames of a stream."""
    reading, writing = os.pipe()

    def write() -> None:
        with (
            contextlib.suppress(BrokenPipeError),
            open(path, "rb") as file,
            open(writing, "wb") as pipe,
        ):
            for first, end in stream.parts:
                file.seek(first)
                while first < end:
                    first += pipe.write(file.read(min(end - first, 1 << 16)))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield reading
    finally:
        os.close(reading)
        thread.join()


def _next_frame(data: mmap.mmap, position: int, end: int, in_a_row: int = _IN_A_ROW) -> int | None:
    """Return where the next frames in a row start, after any tags, zeros and other data."""
    position = skip_tags(data, position)
    stop = min(end, position + _SEARCH)
    while (position := data.find(b"\xff", position, stop)) >= 0:
        sizes = _sizes_in_a_row(data, position, end, in_a_row)
        is_end = in_a_row == _IN_A_ROW and position + sum(sizes) == end
        if len(sizes) == in_a_row or (sizes and is_end):
            return position
        position += 1
    return None


def ends_in_frames(data: mmap.mmap) -> bool:
    """Return whether a file of another format ends in MPEG frames."""
    start = max(0, len(data) - _END)
    return _next_frame(data, start, len(data), _IN_A_ROW_AT_START) is not None


def _sizes_in_a_row(data: mmap.mmap, position: int, end: int, count: int) -> list[int]:
    """Return the sizes of up to `count` frames of one kind that follow one another."""
    sizes: list[int] = []
    first = frame = _parse(data, position, end)
    while first and frame and frame.is_like(first) and len(sizes) < count:
        sizes.append(frame.size)
        position += frame.size
        frame = _parse(data, position, end)
    return sizes


def skip_tags(data: mmap.mmap, position: int) -> int:
    """Skip ID3v2, ID3v1 and APE tags and zeros."""
    while True:
        if size := id3_size(data[position : position + 10]):
            position += size
        elif data[position : position + 3] == b"TAG":
            position += 128
        elif data[position : position + 8] == b"APETAGEX" and position + 32 <= len(data):
            size = int.from_bytes(data[position + 12 : position + 16], "little")
            is_header = data[position + 23] & 0x20  # its size does not include itself
            position += 32 + (size if is_header else 0)
        elif data[position : position + 1] == b"\0":
            while data[position : position + 4096].count(0) == 4096:
                position += 4096
            block = data[position : position + 4096]
            position += len(block) - len(block.lstrip(b"\0"))
        else:
            return position


def skip_last_tags(data: mmap.mmap) -> int:
    """Return where the ID3v1, APE and Lyrics3 tags at the end of a file start."""
    end = len(data)
    while True:
        if data[max(end - 128, 0) : end].startswith(b"TAG"):
            end -= 128
        elif data[max(end - 32, 0) : end].startswith(b"APETAGEX"):
            has_header = data[end - 9] & 0x80  # the size does not include it
            end -= int.from_bytes(data[end - 20 : end - 16], "little") + (32 if has_header else 0)
        elif data[end - 9 : end] == b"LYRICS200" and data[end - 15 : end - 9].isdigit():
            end -= int(data[end - 15 : end - 9]) + 15
        else:
            return max(end, 0)


def id3_size(head: bytes) -> int:
    """Return the size of the ID3v2 tag that starts with these ten bytes; 0 if they start none."""
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if head[5] & 0x10 else 10)  # with a footer of ten bytes, if there is one


def _gap(data: mmap.mmap, position: int, following: int) -> int:
    """Return the number of bytes between two frames that belong to no tag."""
    return max(following - skip_tags(data, position), 0)


def _parse(data: mmap.mmap, position: int, end: int) -> _Frame | None:
    """Return the frame at a position, or None if there is none."""
    frame = _parse_header(int.from_bytes(data[position : position + 4], "big"))
    if frame is None or not frame.is_free:
        return frame
    # The next frame has the same header, apart from the padding and the bits after it.
    head, stop = data[position : position + 3], min(position + _MAX_FREE_SIZE, end - 1)
    following = position + 3
    while (following := data.find(head[:2], following + 1, stop)) >= 0:
        if (data[following + 2] ^ head[2]) & 0xFC == 0:
            return dataclasses.replace(frame, size=following - position)
    return None


@functools.lru_cache(maxsize=4096)
def _parse_header(header: int) -> _Frame | None:
    """Return the frame that a 32-bit header describes, or None if it is not valid."""
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    bit_rate, rate, mode = header >> 12 & 15, header >> 10 & 3, header >> 6 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or bit_rate == 15 or rate == 3:
        return None
    mpeg1, padding, mono = version == 3, header >> 9 & 1, mode == 3
    hertz = _SAMPLE_RATES[version][rate]
    samples = 384 if layer == 1 else 576 if layer == 3 and not mpeg1 else 1152
    slot = 4 if layer == 1 else 1
    bits = _BIT_RATES[mpeg1, layer][bit_rate - 1] * 1000 if bit_rate else 0
    size = (samples // 8 * bits // hertz // slot + padding) * slot
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return _Frame(size, samples, layer, not bit_rate, hertz, 1 if mono else 2, 4 + side)


def _read_info(data: mmap.mmap, position: int, frame: _Frame) -> tuple[int, int, int] | None:
    """Return a Xing, Info or VBRI header's frames, bytes and encoder delay; zero if not stated."""
    if data[position + 36 : position + 40] == b"VBRI":
        size, frames = (
            int.from_bytes(data[position + 46 + 4 * n : position + 50 + 4 * n], "big")
            for n in range(2)
        )
        return frames, size, 0
    start = position + frame.info_offset
    if data[start : start + 4] not in (b"Xing", b"Info"):
        return None
    flags = data[start + 7]
    values = [0, 0]
    offset = start + 8
    for bit in range(2):
        if flags >> bit & 1:
            values[bit] = int.from_bytes(data[offset : offset + 4], "big")
            offset += 4
    offset += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    delay = 0
    if data[offset : offset + 4] in (b"LAME", b"Lavf", b"Lavc"):
        delay = int.from_bytes(data[offset + 21 : offset + 24], "big") >> 12
    return values[0], values[1], delay
