"""Any music folder, with labels read from the files' tags or from their paths."""

import contextlib
import os
import re
import unicodedata
from functools import partial
from pathlib import Path
from typing import Any

import mutagen
import mutagen.apev2
import pandas as pd
import soundfile

from common import cli
from common.errors import InputError
from common.parallel import ordered_map
from data_prep import audio, ffmpeg
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(title="Any folder of music", licence="that of your music")

LABELS = ("artist", "album", "genre", "title")

_MAX_LENGTH = 200  # characters per label
_MAX_GENRES = 10  # genres per file
_TIMEOUT = 30.0  # seconds allowed for reading the tags in one file

# mutagen's common name for each tag, followed by the names used in the formats for which it has
# no common names: ID3 in WAV and AIFF, APEv2, and ASF (.wma).
_TAG_NAMES = {
    "artist": ("artist", "TPE1", "Author"),
    "albumartist": ("albumartist", "album artist", "TPE2", "WM/AlbumArtist"),
    "album": ("album", "TALB", "WM/AlbumTitle"),
    "genre": ("genre", "TCON", "WM/Genre"),
    "title": ("title", "TIT2", "Title"),
}


def read_folder(request: Request) -> Catalog:
    """Return all audio files below `request.root`, labelled from their tags or their paths.

    If there is a pattern, it describes the path without its suffix, with each label's name in
    braces and `{}` for anything else: `{artist}/{album}/{}`, or `{genre}.{}` for files such as
    blues.00000.wav. Files that do not match are left out.

    Otherwise, the labels are read from the files' tags. `artist` is the track artist, falling back
    to the album artist and, unless `request.labels` is "tags", to the first folder in
    `Artist/Album/track.mp3`; `album` falls back to the second folder. Multiple genres are
    separated by `|`.
    """
    paths = audio.list_audio_files(request.root)
    if request.pattern:
        return _read_paths(request.root, request.pattern, paths)
    hint = "; --labels tags leaves out the former"
    return read_tags(request.root, paths, request.labels, request.workers, hint)


def read_tags(
    root: Path, paths: list[str], source: str = "any", workers: int = 1, hint: str = ""
) -> Catalog:
    """Return the tracks at the given paths below `root`, labelled as described in `read_folder`.

    `source` is "tags" to leave folder names out, or "any". The hint ends the note that counts the
    artists named after a folder.
    """
    outcomes = ordered_map(partial(_read_labels, root), paths, workers=workers, patience=_TIMEOUT)
    rows, unreadable, untagged = [], [], []
    with contextlib.closing(outcomes):
        for outcome in cli.progress_bar(outcomes, total=len(paths), desc="tags", unit="file"):
            labels = outcome.result or dict.fromkeys(LABELS, "")
            if outcome.error is not None:
                unreadable.append(outcome.item)
            elif not any(labels.values()):
                untagged.append(outcome.item)
            rows.append({"track_id": outcome.item, "path": outcome.item, **labels})
    table = pd.DataFrame(rows, columns=["track_id", "path", *LABELS])
    # Missing artists and albums are filled in from the first two folders.
    without_tag = table["artist"].eq("")
    folders = table["path"].map(lambda path: [*map(_clean, path.split("/")[:-1]), "", ""])
    fallbacks = () if source == "tags" else ("artist", "album")
    for position, label in enumerate(fallbacks):
        table[label] = table[label].where(table[label].ne(""), folders.str[position])
    from_folder = int((without_tag & table["artist"].ne("")).sum())
    without_artist = table["path"][table["artist"].eq("")].tolist()
    total = f"of {len(table)} files"
    fallbacks_text = ", neither in their tags nor as a folder" if fallbacks else " in their tags"
    notes = [
        f"{len(paths)} {total} {what}, such as {paths[0]!r}"
        for paths, what in (
            (unreadable, "have tags that cannot be read"),
            (untagged, "have no tags"),
            (without_artist, "have no artist" + fallbacks_text),
        )
        if paths
    ]
    if from_folder:
        notes.append(
            f"{from_folder} {total} have their artist from the folder's name and "
            f"{int((~without_tag).sum())} from tags{hint}"
        )
    return Catalog(table, notes)


def _read_paths(root: Path, pattern: str, paths: list[str]) -> Catalog:
    expression = _compile_pattern(pattern)
    rows, unmatched = [], []
    for path in paths:
        match = expression.fullmatch(path.rpartition(".")[0])
        if match:
            rows.append({"track_id": path, "path": path, "artist": "", **match.groupdict()})
        else:
            unmatched.append(path)
    if not rows:
        raise InputError(
            f"{root}: no file matches the pattern {pattern!r}, for example {unmatched[0]!r} does "
            "not; give another --pattern"
        )
    many = f"{root}: {len(unmatched)} files do not match the pattern, such as "
    notes = [f"{many}{unmatched[0]!r}: left out"] if unmatched else []
    return Catalog(pd.DataFrame(rows), notes)


def _read_labels(root: Path, path: str) -> dict[str, str]:
    """Return {label: text} for one file, '' where a tag is missing; runs in a worker process."""
    tags = _read_tags(os.path.join(root, path))
    if not tags:
        return dict.fromkeys(LABELS, "")
    values = {name: _tag_values(tags, name) for name in _TAG_NAMES}
    labels = {label: next(iter(values[label]), "") for label in LABELS}
    labels["artist"] = labels["artist"] or next(iter(values["albumartist"]), "")
    return labels | {"genre": "|".join(values["genre"][:_MAX_GENRES])}


def _read_tags(path: str) -> Any:
    """Return a file's tags as a mapping, from the first reader that finds any; or None.

    mutagen knows most formats, but neither APEv2 tags in MP3 files nor the INFO chunk of WAV files,
    which libsndfile reads, nor Matroska.
    """
    file = mutagen.File(path, easy=True)
    if file is not None and file.tags:
        return file.tags
    with contextlib.suppress(mutagen.MutagenError):
        return mutagen.apev2.APEv2(path)
    with contextlib.suppress(soundfile.LibsndfileError, TypeError):
        with soundfile.SoundFile(path) as wav:
            found = wav.copy_metadata()
        if found:
            return {name: [value] for name, value in found.items()}
    demuxer = ffmpeg.find_demuxer(path)
    if demuxer and ffmpeg.is_installed():
        with contextlib.suppress(ffmpeg.FfmpegError):
            return {name: [value] for name, value in ffmpeg.read_tags(path, demuxer).items()}
    return None


def _tag_values(tags, name: str) -> list[str]:
    """Return a tag's distinct cleaned values, using the first of its names that has any."""
    for tag_name in _TAG_NAMES[name]:
        values = tags.get(tag_name)
        if values is None:
            continue
        # ID3 frames store values in `text`; genre frames also decode numbers such as (17).
        values = getattr(values, "genres", None) or getattr(values, "text", values)
        cleaned = [_clean(str(value)) for value in values]
        if any(cleaned):
            return list(dict.fromkeys(value for value in cleaned if value))
    return []


def _clean(text: str) -> str:
    """Return the text as one printable line in Unicode composed form (NFC)."""
    text = unicodedata.normalize("NFC", text[: 10 * _MAX_LENGTH])
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join(text.split())[:_MAX_LENGTH].strip()


def _compile_pattern(pattern: str) -> re.Pattern:
    pieces = re.split(r"(\{[^{}]*\})", pattern)
    names = [piece[1:-1] for piece in pieces[1::2]]
    labels = [name for name in names if name]
    reserved = {"track_id", "path", "subset"} & set(labels)
    if not labels or len(set(labels)) < len(labels) or reserved:
        raise InputError(
            f"--pattern {pattern!r}: needs distinct labels in braces, other than track_id, path "
            "and subset"
        )
    if not all(label.isidentifier() for label in labels):
        raise InputError(f"--pattern {pattern!r}: a label consists of letters, digits and _ only")
    pieces[::2] = [re.escape(piece) for piece in pieces[::2]]
    pieces[1::2] = [f"(?P<{name}>[^/]+?)" if name else "[^/]*" for name in names]
    return re.compile("".join(pieces))


DATASETS = {"folder": (read_folder, INFO)}
