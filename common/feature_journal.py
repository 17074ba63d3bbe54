"""Feature vectors of an unfinished extraction, from which the same command continues.

While a feature file NAME.h5 is being made, the folder NAME.h5.making/ contains a journal: the
inputs in the first line, and one line per track with its ID, its stamp, its vector and a checksum.
The file only grows, so killing the process loses only the tracks in progress.
"""

import base64
import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from common import provenance
from common.files import add_suffix, exclusive_folder, write_all


def journal_folder(out: str | Path) -> Path:
    """Return the path of the folder in which the feature file `out` is being made."""
    return add_suffix(Path(out), ".making")


@contextlib.contextmanager
def open_journal(
    out: str | Path, inputs: dict, stamps: Mapping[str, str]
) -> Iterator[tuple[dict[str, np.ndarray], Callable[[str, np.ndarray], None]]]:
    """Yield the vectors stored so far, {track_id: (d,) float32}, and a function that stores one.

    `stamps` are those of all tracks; a vector with another stamp is left out. The folder is locked
    against other processes and, once the feature file has been written, removed. A journal that was
    started with other `inputs` raises `InputError`.
    """
    folder = journal_folder(out)
    with exclusive_folder(folder):
        path = folder / "journal"
        entries, end = _read_entries(path, inputs)
        stored = {track: vector for track, stamp, vector in entries if stamps.get(track) == stamp}
        # Unbuffered, so that a vector is in the file as soon as it has been stored.
        with path.open("ab", buffering=0) as file:
            os.truncate(path, end)

            def write_line(value: object) -> None:
                try:
                    write_all(file, memoryview((json.dumps(value) + "\n").encode()))
                except OSError as error:
                    error.filename = str(path)  # write errors do not name the file
                    raise

            def store(track: str, vector: np.ndarray) -> None:
                text = base64.b64encode(vector.astype("<f4").tobytes()).decode()
                stored[track] = vector
                write_line([track, stamps[track], text, checksum(track, stamps[track], text)])

            if not end:
                write_line(inputs)
            try:
                yield stored, store
            except BaseException:
                if not entries and not stored:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
        shutil.rmtree(folder, ignore_errors=True)


def checksum(track: str, stamp: str, text: str) -> int:
    """Return the checksum of a line, which reveals a damaged disk or copy."""
    return zlib.crc32("\0".join((track, stamp, text)).encode())


def _read_entries(path: Path, inputs: dict) -> tuple[list[tuple[str, str, np.ndarray]], int]:
    """Return the journal's (track_id, stamp, vector) entries and the size in bytes of its lines.

    Lines after the last complete one are left out. The size is 0 if there is no complete line.
    """
    entries: list[tuple[str, str, np.ndarray]] = []
    if not path.exists():
        return entries, 0
    with path.open("rb") as lines:
        try:
            first = lines.readline()
            recorded = json.loads(first)
        except (RecursionError, ValueError):
            return entries, 0
        if not first.endswith(b"\n") or not isinstance(recorded, dict):
            return entries, 0
        provenance.require_same(path.parent, recorded, inputs)
        end = len(first)
        for line in lines:
            try:
                track, stamp, text, expected = json.loads(line)
                if checksum(track, stamp, text) != expected:
                    break
                vector = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
            except (RecursionError, TypeError, ValueError):
                break
            if not line.endswith(b"\n"):
                break
            entries.append((track, stamp, vector.astype(np.float32)))
            end += len(line)
    return entries, end
