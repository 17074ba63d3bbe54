"""Any folder of music, its labels read off the paths by a pattern."""

import re

import pandas as pd

from common.errors import InputError
from data_prep import audio_folder
from data_prep.datasets.catalog import Catalog, Request


def read_folder_paths(request: Request) -> Catalog:
    """Audio files below `root` whose paths fit the pattern; a note counts the others.

    The pattern is the path without its suffix, with a name in braces for each
    label and `{}` for what is none: `{artist}/{album}/{}`, or `{genre}.{}` for
    files like blues.00000.wav.

    Raises
    ------
    InputError
        The pattern names no label, or fits no file.
    """
    labels, expression = _pattern(request.pattern)
    rows, left_out = [], []
    for path in audio_folder.list_audio_files(request.root):
        match = expression.fullmatch(path.rpartition(".")[0])
        if match:
            rows.append({"track_id": path, "path": path, "artist": "", **match.groupdict()})
        else:
            left_out.append(path)
    if not rows:
        raise InputError(
            f"{request.root}: no file fits the pattern {request.pattern!r}, not even "
            f"{left_out[0]!r}; give another --pattern"
        )
    columns = list(dict.fromkeys(["track_id", "path", "artist", *labels]))
    notes = []
    if left_out:
        notes = [
            f"{request.root}: {len(left_out)} files do not fit the pattern, such as "
            f"{left_out[0]!r}: left out"
        ]
    return Catalog(pd.DataFrame(rows, columns=columns), notes)


def _pattern(pattern: str) -> tuple[list[str], re.Pattern]:
    pieces = re.split(r"(\{[^{}]*\})", pattern)
    names = [piece[1:-1] for piece in pieces[1::2]]
    labels = [name for name in names if name]
    reserved = {"track_id", "path", "subset"}
    if not labels or len(set(labels)) < len(labels) or reserved & set(labels):
        raise InputError(f"--pattern {pattern!r}: needs names in braces, each once, none reserved")
    if not all(label.isidentifier() for label in labels):
        raise InputError(f"--pattern {pattern!r}: a name in braces is letters, digits and _")
    pieces[::2] = [re.escape(piece) for piece in pieces[::2]]
    pieces[1::2] = [f"(?P<{name}>[^/]+?)" if name else "[^/]*" for name in names]
    return labels, re.compile("".join(pieces))
