"""Real encoders, with which the tests make files of every kind that people have."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", "{wav}")


@dataclass(frozen=True)
class Encoding:
    """A way to encode a WAV file.

    Attributes
    ----------
    suffix : suffix of the file
    command : program and arguments; {wav} and {out} stand for the files
    to_pipe : whether the program writes to a pipe, so that it cannot correct the header
    lossless : whether all samples are kept
    """

    suffix: str
    command: tuple[str, ...]
    to_pipe: bool = False
    lossless: bool = False

    def encode(self, wav: Path, out: Path) -> Path:
        """Encode a WAV file as `out`; skip the test if the encoder is not installed."""
        if shutil.which(self.command[0]) is None:
            pytest.skip(f"{self.command[0]} is not installed")
        command = [part.format(wav=wav, out=out) for part in self.command]
        with open(wav, "rb") as source:
            done = subprocess.run(command, capture_output=True, stdin=source)
        assert done.returncode == 0, done.stderr.decode()
        if self.to_pipe:
            out.write_bytes(done.stdout)
        return out


def _ffmpeg(suffix: str, *options: str, **settings: bool) -> Encoding:
    end = "pipe:1" if settings.get("to_pipe") else "{out}"
    return Encoding(suffix, (*FFMPEG, *options, end), **settings)


ENCODINGS = {
    "cbr mp3": Encoding("mp3", ("lame", "-S", "-b", "128", "{wav}", "{out}")),
    "vbr mp3": Encoding("mp3", ("lame", "-S", "-V2", "{wav}", "{out}")),
    "vbr mp3 from a pipe": Encoding("mp3", ("lame", "-S", "-V2", "-", "-"), to_pipe=True),
    "vbr mp3 without header": Encoding("mp3", ("lame", "-S", "-t", "-V4", "{wav}", "{out}")),
    "abr mp3 without header": Encoding(
        "mp3", ("lame", "-S", "-t", "--abr", "128", "{wav}", "{out}")
    ),
    "mp3 of ffmpeg without header": _ffmpeg("mp3", "-q:a", "3", "-write_xing", "0"),
    "flac": _ffmpeg("flac", lossless=True),
    "flac without length": _ffmpeg("flac", "-f", "flac", to_pipe=True, lossless=True),
    "ogg flac": Encoding(
        "ogg", ("flac", "-s", "-f", "--ogg", "-o", "{out}", "{wav}"), lossless=True
    ),
    "vorbis": Encoding("ogg", ("oggenc", "-Q", "-o", "{out}", "{wav}")),
    "opus": Encoding("opus", ("opusenc", "--quiet", "{wav}", "{out}")),
    "m4a": _ffmpeg("m4a", "-b:a", "128k"),
    "webm": _ffmpeg("webm", "-c:a", "libopus"),
    "wma": _ffmpeg("wma"),
    "alac in caf": _ffmpeg("caf", "-c:a", "alac", lossless=True),
    "caf from a pipe": _ffmpeg("caf", "-f", "caf", to_pipe=True, lossless=True),
    "wavpack": _ffmpeg("wv", lossless=True),
}
