"""A folder of audio files as a list of tracks."""

import os
from pathlib import Path

import soundfile

from common import provenance
from common.errors import InputError
from data_prep.audio import FFMPEG_SUFFIXES

# Less the formats without a header of their own, and those that rarely hold music.
SUFFIXES = (
    FFMPEG_SUFFIXES
    | {".oga", ".opus", ".aif", ".aifc"}
    | {f".{name.lower()}" for name in soundfile.available_formats()}
    - {".raw", ".mat4", ".mat5", ".sd2"}
)


def list_audio_files(folder: str | Path) -> list[str]:
    """Paths of all audio files below `folder`, relative to it with `/`, sorted.

    Audio is told by the suffix; hidden files and folders are passed over, and
    so are links to folders, which could lead in a circle.

    Raises
    ------
    InputError
        Not a folder, or no audio file in it, or a name that no UTF-8 file can hold.
    OSError
        A folder below it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    found = []
    for place, below, names in os.walk(folder, onerror=_fail):
        below[:] = [name for name in below if not name.startswith(".")]
        here = Path(place).relative_to(folder)
        found += [
            (here / name).as_posix()
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    if not found:
        raise InputError(f"{folder}: holds no audio files ({', '.join(sorted(SUFFIXES))})")
    for path in found:
        if path.encode(errors="ignore").decode() != path:
            raise InputError(f"{folder}: the name {path!r} is not UTF-8; rename it")
    return sorted(found)


def _fail(error: OSError) -> None:
    raise error


def digest_files(folder: str | Path, paths: list[str]) -> str:
    """Identifies the files by name, size and time of change, without reading them."""

    def state(path: str) -> str:
        try:
            found = (Path(folder) / path).stat()
            return f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            return "gone"

    return provenance.digest_rows((path, state(path)) for path in paths)
