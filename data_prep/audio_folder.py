"""Listing the audio files in a folder as tracks."""

import os
from pathlib import Path

import soundfile

from common import provenance
from common.errors import InputError
from data_prep.audio import FFMPEG_SUFFIXES

# Formats that have no header or that rarely contain music are left out.
SUFFIXES = (
    FFMPEG_SUFFIXES
    | {".oga", ".opus", ".aif", ".aifc"}
    | {f".{name.lower()}" for name in soundfile.available_formats()}
    - {".raw", ".mat4", ".mat5", ".sd2"}
)


def list_audio_files(folder: str | Path) -> list[str]:
    """Return the sorted relative paths, with `/` separators, of all audio files below a folder.

    Audio files are recognised by their suffix. Hidden files and folders are skipped, and
    links to folders are not followed.

    Raises
    ------
    InputError
        If the path is not a folder, the folder contains no audio files, or a file name is
        not UTF-8.
    OSError
        If a subfolder cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    paths = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        paths += [
            (relative / name).as_posix()
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    if not paths:
        raise InputError(f"{folder}: contains no audio files ({', '.join(sorted(SUFFIXES))})")
    for path in paths:
        if path.encode(errors="ignore").decode() != path:
            raise InputError(f"{folder}: the name {path!r} is not UTF-8; rename it")
    return sorted(paths)


def _raise(error: OSError) -> None:
    raise error


def digest_files(folder: str | Path, paths: list[str]) -> str:
    """Return a digest of file names, sizes and modification times."""

    def describe(path: str) -> str:
        try:
            status = (Path(folder) / path).stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            return "gone"

    return provenance.digest_rows((path, describe(path)) for path in paths)
