"""Any folder of music: artist, album, genre and title from the tags within the files."""

import contextlib
import os
import unicodedata
from functools import partial
from pathlib import Path

import mutagen
import pandas as pd

from common import cli
from common.parallel import ordered_map
from data_prep import audio_folder
from data_prep.datasets.catalog import Catalog, Request

LABELS = ("artist", "album", "genre", "title")

_LONGEST = 200  # characters of a value
_MOST = 10  # genres of a file
_PATIENCE = 30.0  # seconds for the tags of one file

# mutagen's own name, then those of the formats that it has no common names for: ID3 within WAV
# and AIFF, APEv2, ASF (.wma).
_SPELLINGS = {
    "artist": ("artist", "TPE1", "Author"),
    "albumartist": ("albumartist", "album artist", "TPE2", "WM/AlbumArtist"),
    "album": ("album", "TALB", "WM/AlbumTitle"),
    "genre": ("genre", "TCON", "WM/Genre"),
    "title": ("title", "TIT2", "Title"),
}


def read_folder_tags(request: Request) -> Catalog:
    """All audio files below `root`; `track_id` is the path.

    `artist` is that of the song, that of its album where it names none, and the
    first folder of `Artist/Album/song.mp3` where the file has neither; `album`
    is the second folder where no tag names it. Several genres have `|` between them.

    Raises
    ------
    InputError
        `root` is no folder or holds no audio.
    """
    paths = audio_folder.list_audio_files(request.root)
    outcomes = ordered_map(
        partial(_labels, request.root), paths, workers=request.workers, patience=_PATIENCE
    )
    rows, unread, untagged = [], [], []
    with contextlib.closing(outcomes):
        for outcome in cli.progress_bar(outcomes, total=len(paths), desc="tags", unit="file"):
            labels = outcome.result or dict.fromkeys(LABELS, "")
            if outcome.error is not None:
                unread.append(outcome.item)
            elif not any(labels.values()):
                untagged.append(outcome.item)
            rows.append({"track_id": outcome.item, "path": outcome.item, **labels})
    table = pd.DataFrame(rows, columns=["track_id", "path", *LABELS])
    from_path = _fill_in(table)
    return Catalog(table, _notes(table, unread, untagged, from_path))


def _labels(root: Path, path: str) -> dict[str, str]:
    """{label: text} of one file, '' for what its tags do not say; in a worker process."""
    audio = mutagen.File(os.path.join(root, path), easy=True)
    tags = None if audio is None else audio.tags
    if not tags:
        return dict.fromkeys(LABELS, "")
    first = {name: next(iter(_values(tags, name)), "") for name in _SPELLINGS}
    return {
        "artist": first["artist"] or first["albumartist"],
        "album": first["album"],
        "genre": "|".join(_values(tags, "genre")[:_MOST]),
        "title": first["title"],
    }


def _values(tags, name: str) -> list[str]:
    """The different values of a tag, cleaned, under the first spelling that has any."""
    for spelling in _SPELLINGS[name]:
        found = tags.get(spelling)
        if found is None:
            continue
        # An ID3 frame holds them as `text`; that of genres has also read what is written (17).
        found = getattr(found, "genres", None) or getattr(found, "text", found)
        cleaned = [_clean(str(value)) for value in found]
        if any(cleaned):
            return list(dict.fromkeys(value for value in cleaned if value))
    return []


def _clean(text: str) -> str:
    """One line of printable text; the same name has the same characters, whoever typed it."""
    text = unicodedata.normalize("NFC", text[: 10 * _LONGEST])
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join(text.split())[:_LONGEST].strip()


def _fill_in(table: pd.DataFrame) -> int:
    """Take absent artists and albums from `Artist/Album/song.mp3`; return how many artists."""
    folders = table["path"].str.split("/").map(lambda parts: [_clean(p) for p in parts[:-1]])
    named = {
        "artist": folders.map(lambda names: names[0] if names else ""),
        "album": folders.map(lambda names: names[1] if len(names) > 1 else ""),
    }
    from_path = int((table["artist"].eq("") & named["artist"].ne("")).sum())
    for label, names in named.items():
        table[label] = table[label].where(table[label].ne(""), names)
    return from_path


def _notes(
    table: pd.DataFrame, unread: list[str], untagged: list[str], from_path: int
) -> list[str]:
    of_all = f"of {len(table)} files"
    nameless = table["path"][table["artist"].eq("")].tolist()
    notes = [
        f"{len(paths)} {of_all} {what}, such as {paths[0]!r}"
        for paths, what in (
            (unread, "have tags that cannot be read"),
            (untagged, "have no tags"),
            (nameless, "have no artist, neither in tags nor as a folder"),
        )
        if paths
    ]
    if from_path:
        notes.append(f"{from_path} {of_all} have their artist from the folder's name")
    return notes
