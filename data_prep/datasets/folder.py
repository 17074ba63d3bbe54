"""Any music folder, with labels read from the files' tags or from their paths."""

import contextlib
import os
import re
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
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

INFO = DatasetInfo(title="Any folder of music", licence="that of your music")

LABELS = ("artist", "album", "genre", "title")

_MAX_LENGTH = 200  # characters per label
_MAX_READ = 10 * _MAX_LENGTH  # characters of a tag that are read
_MAX_INFO = 2**20  # bytes of a WAV file's tags
_MAX_GENRES = 10  # genres per file
_FFPROBE = ("matroska", "caf")  # demuxers; starting ffprobe for each untagged file would be slow
_TIMEOUT = 30.0  # seconds allowed for reading the tags in one file

# mutagen's common name for each tag, followed by the names used in the formats for which it has
# no common names: ID3 in WAV and AIFF, the INFO chunk of WAV, APEv2, and ASF (.wma).
_TAG_NAMES = {
    "artist": ("artist", "TPE1", "IART", "Author", "artists"),
    "albumartist": ("albumartist", "album artist", "album_artist", "TPE2", "WM/AlbumArtist"),
    "album": ("album", "TALB", "IPRD", "WM/AlbumTitle"),
    "genre": ("genre", "TCON", "IGNR", "WM/Genre"),
    "title": ("title", "TIT2", "INAM", "Title"),
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
    rows, unreadable, untagged, several, cut = [], [], [], [], []
    with contextlib.closing(outcomes):
        for outcome in cli.progress_bar(outcomes, total=len(paths), desc="tags", unit="file"):
            labels, artists, is_cut = outcome.result or (dict.fromkeys(LABELS, ""), 0, False)
            if outcome.error is not None:
                unreadable.append(outcome.item)
            elif not any(labels.values()):
                untagged.append(outcome.item)
            if artists > 1:
                several.append(outcome.item)
            if is_cut:
                cut.append(outcome.item)
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
            (untagged, "have no artist, album, genre or title in their tags"),
            (several, "name several artists, of whom the first is used"),
            (cut, f"have labels of over {_MAX_LENGTH} characters or {_MAX_GENRES} genres, now cut"),
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


def _read_labels(root: Path, path: str) -> tuple[dict[str, str], int, bool]:
    """Return one file's {label: text}, its number of artists, and whether a label had to be cut.

    A label is '' if its tag is missing. Each comes from the first reader that finds it; the readers
    after the one that finds an artist are not asked. Runs in a worker process.
    """
    file, failure = os.path.join(root, path), None
    values: dict[str, list[str]] = {name: [] for name in _TAG_NAMES}
    for read in (_read_mutagen, _read_ape, _read_info, _read_libsndfile, _read_ffprobe):
        try:
            tags = read(file)
        except mutagen.MutagenError as error:  # such as an RF64 file, which others can read
            failure = error
            continue
        for name in _TAG_NAMES if tags else ():
            values[name] = values[name] or _tag_values(tags, name)
        if values["artist"] or values["albumartist"]:
            break
    if failure is not None and not any(values.values()):
        raise failure
    values["artist"] = values["artist"] or values["albumartist"]
    labels = {label: "".join(values[label][:1])[:_MAX_LENGTH].strip() for label in LABELS}
    genres = [genre[:_MAX_LENGTH].strip() for genre in values["genre"][:_MAX_GENRES]]
    used = [*(text for label in LABELS for text in values[label][:1]), *values["genre"]]
    is_cut = len(values["genre"]) > _MAX_GENRES or any(len(text) > _MAX_LENGTH for text in used)
    return labels | {"genre": "|".join(genres)}, len(values["artist"]), is_cut


def _read_mutagen(path: str) -> Any:
    """Return the tags of most formats."""
    file = mutagen.File(path, easy=True)
    return None if file is None else file.tags


def _read_ape(path: str) -> Any:
    """Return the APEv2 tags at the end of a file, such as of an MP3 file."""
    with contextlib.suppress(mutagen.apev2.APENoHeaderError):
        return mutagen.apev2.APEv2(path)
    return None


def _read_info(path: str) -> dict[str, list[str]]:
    """Return the INFO chunk of a WAV file. Its text is UTF-8 or, failing that, Windows-1252."""
    tags = {}
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return {}
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            size += size % 2
            if head[:4] != b"LIST" or size > _MAX_INFO:
                file.seek(size, os.SEEK_CUR)
                continue
            body = file.read(size)
            position = 4 if body[:4] == b"INFO" else size
            while position + 8 < len(body):
                name, start = body[position : position + 4], position + 8
                end = start + int.from_bytes(body[position + 4 : start], "little")
                tags[name.decode("latin-1")] = [_decode(body[start:end].partition(b"\0")[0])]
                position = end + end % 2
    return tags


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _read_libsndfile(path: str) -> dict[str, list[str]]:
    """Return the tags that libsndfile reads, as of AIFF without ID3, CAF and RF64."""
    try:
        with soundfile.SoundFile(path) as file:
            return {name: [value] for name, value in file.copy_metadata().items()}
    except (soundfile.LibsndfileError, TypeError):
        return {}


def _read_ffprobe(path: str) -> dict[str, list[str]]:
    """Return the tags of the formats that only ffprobe reads, if it is installed."""
    demuxer = ffmpeg.find_demuxer(path)
    if demuxer in _FFPROBE and ffmpeg.is_installed():
        with contextlib.suppress(ffmpeg.FfmpegError):
            return {name: [value] for name, value in ffmpeg.read_tags(path, demuxer).items()}
    return {}


def _tag_values(tags, name: str) -> list[str]:
    """Return a tag's distinct cleaned values, using the first of its names that has any."""
    for tag_name in _TAG_NAMES[name]:
        values = tags.get(tag_name)
        if values is None:
            continue
        # ID3 frames store values in `text`; genre frames also decode numbers such as (17).
        values = getattr(values, "genres", None) or getattr(values, "text", values)
        cleaned = [catalog.clean_text(str(value)[:_MAX_READ]) for value in values]
        if any(cleaned):
            return list(dict.fromkeys(value for value in cleaned if value))
    return []


def _clean(text: str) -> str:
    """Return the beginning of a label as one printable line."""
    return catalog.clean_text(text[:_MAX_READ])[:_MAX_LENGTH].strip()


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
