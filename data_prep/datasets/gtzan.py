"""GTZAN, fault-filtered: 930 clips of 10 genres, artist-disjoint (Kereliuk, Sturm, Larsen 2015).

The three lists name `genre/genre.000NN.wav`. Distributions of the audio differ
in format (.wav, .au, .mp3) and in folders, so that a clip is told by its name
alone. In one of them jazz.00054 cannot be decoded.
"""

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from common.errors import InputError
from data_prep import audio_folder, published_splits, split_csv
from data_prep.datasets.catalog import Catalog, Request, keep_listed, read_lines

# Those that the audio comes in; of a clip that is there twice the first of these is taken.
_SUFFIXES = (".wav", ".au", ".mp3")

_LINE = re.compile(r"([a-z]+)/(\1\.[0-9]{5})\.wav")


def read_gtzan(request: Request) -> Catalog:
    """The split's clips that are below `root`, in any folder: 443/197/290 if all are.

    Raises
    ------
    InputError
        None of them is there, or a list is not what it should be.
    """
    lists = {
        subset: published_splits.published_split(
            f"GTZAN_split/{subset}_filtered.txt", request.metadata
        )
        for subset in split_csv.SUBSETS
    }
    return gtzan_catalog(lists, request)


def gtzan_catalog(lists: dict[str, Path], request: Request) -> Catalog:
    """`read` from {subset: its list}; columns are those of a split and `genre`."""
    table = _listed(lists)
    paths, twice = _clips(request.root)
    table["path"] = [paths.get(track, "") for track in table["track_id"]]
    table, absent = keep_listed(
        table,
        table["path"] != "",
        request.root,
        "not there",
        remedy="give the folder of GTZAN's audio",
    )
    return Catalog(table[["track_id", "path", "artist", "genre", "subset"]], twice + absent)


def _listed(lists: dict[str, Path]) -> pd.DataFrame:
    subset_of = {}
    rows = []
    for subset, path in lists.items():
        for line in read_lines(path):
            match = _LINE.fullmatch(line)
            if not match:
                raise InputError(f"{path}: {line!r} is not genre/genre.00000.wav; get it again")
            genre, track = match.groups()
            if track in subset_of:
                raise InputError(
                    f"{path}: {track!r} is listed in {subset_of[track]} already; get the lists "
                    "again"
                )
            subset_of[track] = subset
            rows.append((track, "", genre, subset))
    if not rows:
        raise InputError(f"{path}: lists no track; get it again")
    return pd.DataFrame(rows, columns=["track_id", "artist", "genre", "subset"])


def _clips(root: Path) -> tuple[dict[str, str], list[str]]:
    """{name without suffix: path below `root`}, and a note on names that are there twice."""
    found = []
    for path in audio_folder.list_audio_files(root):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix in _SUFFIXES:
            found.append((_SUFFIXES.index(suffix), path))
    paths, passed_over = {}, []
    for _, path in sorted(found):
        taken = paths.setdefault(PurePosixPath(path).stem, path)
        if taken != path:
            passed_over.append(f"{path!r} beside {taken!r}")
    if not passed_over:
        return paths, []
    return paths, [
        f"{root}: {len(passed_over)} files have the name of another, such as {passed_over[0]}: "
        "left out"
    ]
