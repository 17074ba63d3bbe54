"""Running a program that renders music, and reading a limited amount of what it writes."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import NamedTuple

# Variables that lead to the user's settings, which could change the sound.
_SETTINGS_FOLDERS = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_OTHER_SETTINGS = ("HVSC_BASE",)


class RenderingError(Exception):
    """Raised if a piece of music is not rendered; the message is the reason."""


class Output(NamedTuple):
    """What a program wrote to its standard output and to its standard error."""

    content: bytes
    status: int | None  # None if the program had more to write, and was ended
    messages: list[str]


def read_output(command: Sequence[str], limit: int, seconds: float) -> Output:
    """Run a program without the user's settings, and return up to `limit` bytes of its output.

    The program writes to a pipe, so that endless output ends up in no file, and so that it is ended
    if this process is. If it takes longer than `seconds`, it is ended, and `RenderingError` raised.
    """
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            cwd=home,
            env=_environment(home),
        ) as process:
            assert process.stdout is not None
            late = threading.Event()

            def end() -> None:
                late.set()  # first, so that it is set when the pipe ends
                process.kill()

            timer = threading.Timer(seconds, end)
            timer.start()
            try:
                content = process.stdout.read(limit + 1)
                status = None if len(content) > limit else process.wait()
            finally:
                timer.cancel()
                process.kill()  # does nothing if it has ended
        if late.is_set():
            raise RenderingError(f"is not rendered within {seconds:.0f} s; leave it out")
        messages.seek(0)
        lines = messages.read().decode(errors="replace").splitlines()
    return Output(content[:limit], status, lines)


def _environment(home: str) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if name not in _OTHER_SETTINGS}
    return inherited | dict.fromkeys(_SETTINGS_FOLDERS, home)
