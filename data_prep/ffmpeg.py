"""Decoding with the programs ffmpeg and ffprobe what libsndfile cannot read.

The demuxer is chosen here, by the first bytes of the file, because ffmpeg by itself would also
follow playlists and URLs in a file from the net.
"""

import json
import mmap
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mutagen.asf
import numpy as np

from data_prep.mpeg_stream import skip_last_tags, skip_tags

_MAX_SECONDS_TO_PROBE = 60  # a stuck ffprobe is ended
_BLOCK = 1 << 18  # samples over all channels
_MAX_CHANNELS = 64

# Demuxers of ffmpeg by (offset, first bytes).
_MAGIC = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b".snd", "au"),
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"caff", "caf"),
    (0, b"wvpk", "wv"),
    (0, b"TTA1", "tta"),
    (0, b"MAC ", "ape"),
    (8, b"WAVE", "wav"),
    (8, b"AIFC", "aiff"),
    (8, b"AIFF", "aiff"),
    (0, b"ADIF", "aac"),
)
# Demuxers whose files declare how long they are; the others' lengths are guesses of ffprobe.
_DECLARING = frozenset({"mov", "matroska", "asf", "flac", "caf", "wv", "tta", "ape", "wav", "aiff"})


class FfmpegError(Exception):
    """Raised if ffmpeg cannot decode a file; the message is the reason."""


@dataclass(frozen=True)
class Stream:
    """The first audio stream of a file."""

    demuxer: str
    rate: int  # Hz
    channels: int
    seconds: float | None  # declared by the file; None if it declares no length


def is_installed() -> bool:
    """Return whether ffmpeg and ffprobe are on the path."""
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def find_demuxer(path: str | Path) -> str | None:
    """Return the name of the demuxer for a file, by its content; None if it is not known."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = skip_tags(data, 0) if data[:3] in (b"ID3", b"APE", b"TAG") else 0
        head = data[start : start + 16]
    for offset, magic, demuxer in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return demuxer
    if head[:1] == b"\xff" and len(head) > 1:
        if head[1] & 0xF6 == 0xF0:  # the layer bits are zero in AAC
            return "aac"
        if head[1] & 0xE0 == 0xE0:
            return "mp3"
    return None


def probe(path: str | Path, demuxer: str) -> Stream:
    """Read the parameters of the first audio stream of a file."""
    entries = "stream=sample_rate,channels,duration:stream_tags=DURATION:format=duration,nb_streams"
    found = _run_ffprobe(_audio_url(path, demuxer), demuxer, entries)
    streams = found.get("streams") or []
    if not streams:
        raise FfmpegError("contains no audio stream; remove it from the list")
    stream, container = streams[0], found.get("format", {})
    seconds = None
    if demuxer == "asf":  # ffprobe reports the length of what is there
        with suppress(mutagen.MutagenError):
            seconds = mutagen.asf.ASF(path).info.length or None  # type: ignore[attr-defined]
    elif demuxer in _DECLARING:
        declared = [stream.get("duration"), _seconds(stream.get("tags", {}).get("DURATION"))]
        if container.get("nb_streams") == 1:
            declared.append(container.get("duration"))
        seconds = next((float(value) for value in declared if value not in (None, "N/A")), None)
    channels = int(stream.get("channels", 0))
    if not 1 <= channels <= _MAX_CHANNELS:
        raise FfmpegError(f"declares {channels} channels; export it again")
    return Stream(demuxer, int(stream.get("sample_rate", 0)), channels, seconds)


def read_tags(path: str | Path, demuxer: str) -> dict[str, str]:
    """Return the tags of a file and of its first audio stream, with names in lower case."""
    found = _run_ffprobe(f"file:{path}", demuxer, "format_tags:stream_tags")
    streams = found.get("streams") or [{}]
    tags = streams[0].get("tags", {}) | found.get("format", {}).get("tags", {})
    return {name.lower().replace("album_artist", "albumartist"): tags[name] for name in tags}


def _run_ffprobe(url: str, demuxer: str, entries: str) -> dict:
    """Return ffprobe's entries about a file and its first audio stream."""
    command = ["ffprobe", *_input(url, demuxer), "-show_entries", entries, "-of", "json"]
    command += ["-select_streams", "a:0"]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_MAX_SECONDS_TO_PROBE
        )
    except subprocess.TimeoutExpired as error:
        raise FfmpegError("is damaged (ffprobe does not end); download or copy it again") from error
    if b"moov atom not found" in done.stderr:  # it stands at the end
        raise FfmpegError("is damaged or truncated: it has no index; download or copy it again")
    if done.returncode != 0:
        raise FfmpegError(
            f"cannot be read by ffmpeg ({_last_line(done.stderr)}); convert it to WAV, FLAC or MP3"
        )
    return json.loads(done.stdout or b"{}")


def decode(path: str | Path, stream: Stream, max_seconds: float) -> Iterator[np.ndarray]:
    """Yield the samples of a file's first audio stream as (n, channels) float32 blocks.

    Raises
    ------
    FfmpegError
        If ffmpeg fails.
    """
    source = _input(_audio_url(path, stream.demuxer), stream.demuxer)
    command = ["ffmpeg", "-nostdin", *source, "-map", "0:a:0"]
    command += ["-t", f"{max_seconds:.6f}", "-f", "f32le", "-c:a", "pcm_f32le"]
    command += ["-ar", str(stream.rate), "-ac", str(stream.channels), "pipe:1"]
    width = 4 * stream.channels
    # Messages go to a file, since a full pipe that nobody reads would stop ffmpeg.
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        ) as process:
            assert process.stdout is not None
            try:
                while block := process.stdout.read(max(_BLOCK // stream.channels, 1) * width):
                    whole = len(block) // width * width
                    yield np.frombuffer(block[:whole], "<f4").reshape(-1, stream.channels)
                status = process.wait()
            finally:
                process.kill()  # does nothing if it has ended
        messages.seek(0)
        errors = messages.read()
    # Without a declared length, a message is the only sign of a truncated file. In Ogg files with
    # several streams, ffmpeg reports the change from one to the next.
    if status != 0 or (errors and stream.seconds is None and stream.demuxer != "ogg"):
        raise FfmpegError(
            f"is damaged or truncated (ffmpeg: {_last_line(errors)}); download or copy it again"
        )


def _input(url: str, demuxer: str) -> list[str]:
    """Return the arguments that open a file as data of one format, and nothing else."""
    return ["-v", "error", "-protocol_whitelist", "file,subfile", "-f", demuxer, "-i", url]


def _audio_url(path: str | Path, demuxer: str) -> str:
    """Return the URL of a file; without the tags of AAC, which ffmpeg takes for damaged audio."""
    if demuxer != "aac":
        return f"file:{path}"
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return f"subfile,,start,{skip_tags(data, 0)},end,{skip_last_tags(data)},,:file:{path}"


def _last_line(messages: bytes) -> str:
    """Return the last message, without the address or file that it starts with."""
    lines = messages.decode(errors="replace").strip().splitlines()
    return lines[-1].rpartition(": ")[2].rpartition("] ")[2][:150] if lines else "without a message"


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a Matroska duration such as 00:00:17.008000000."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None
