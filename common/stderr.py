"""Messages that libraries in C write to the process's stderr, past Python."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

_lock = threading.Lock()
_users = 0  # threads between `drop_lines`' start and end
_real = -1  # file descriptor of stderr
_held: IO[bytes] | None = None  # takes its place


@contextlib.contextmanager
def drop_lines(start: bytes) -> Iterator[None]:
    """Drop the lines that begin with `start` from stderr, and delay all others until the end."""
    _begin()
    try:
        yield
    finally:
        _end(start)


def _begin() -> None:
    global _users, _real, _held
    with _lock:
        _users += 1
        if _users > 1:
            return
        with contextlib.suppress(OSError, AttributeError, ValueError):
            sys.stderr.flush()
        with contextlib.suppress(OSError):  # a process may have no stderr
            _real = os.dup(2)
            _held = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `_end`)
            os.dup2(_held.fileno(), 2)


def _end(start: bytes) -> None:
    global _users, _held
    with _lock:
        _users -= 1
        if _users or _held is None:
            return
        os.dup2(_real, 2)
        os.close(_real)
        _held.seek(0)
        others = b"".join(line for line in _held if not line.startswith(start))
        _held.close()
        _held = None
        if others:
            os.write(2, others)
