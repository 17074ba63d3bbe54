"""GTZAN in its fault-filtered split: 930 clips of 10 genres, artist-disjoint.

The three lists name clips as `genre/genre.000NN.wav`. Distributions of the audio differ in
format (.wav, .au, .mp3) and in folders, so that a clip is identified by its name alone. In
one of them, jazz.00054 cannot be decoded.
"""

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from common.errors import InputError
from data_prep import audio_folder, published_splits, split_csv
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request, drop_tracks, read_lines

INFO = DatasetInfo(
    title="GTZAN, fault-filtered",
    licence="lists MIT; audio for research only",
    citation='G. Tzanetakis and P. Cook, "Musical Genre Classification of Audio Signals", IEEE '
    "Transactions on Speech and Audio Processing 10(5), 2002; split: C. Kereliuk, B. L. Sturm and "
    'J. Larsen, "Deep Learning and Music Adversaries", IEEE Transactions on Multimedia 17(11), '
    "2015",
    homepage="http://marsyas.info/downloads/datasets.html",
    lists=tuple(f"GTZAN_split/{subset}_filtered.txt" for subset in split_csv.SUBSETS),
    metadata="a folder with the published lists (default: download them)",
)

# Formats of the audio. If a clip exists more than once, the first of these formats is used.
_SUFFIXES = (".wav", ".au", ".mp3")

_LINE = re.compile(r"([a-z]+)/(\1\.[0-9]{5})\.wav")


def read_gtzan(request: Request) -> Catalog:
    """Return the clips of the split that exist below `request.root`, in any folder.

    If all clips exist, 443/197/290 are for train, valid and test. The artists are unknown.

    Raises
    ------
    InputError
        None of the clips exists, or a list is not the published one.
    """
    paths = (published_splits.published_split(name, request.metadata) for name in INFO.lists)
    return gtzan_catalog(dict(zip(split_csv.SUBSETS, paths, strict=True)), request)


def gtzan_catalog(lists: dict[str, Path], request: Request) -> Catalog:
    """Return the catalog of {subset: path of its list}."""
    table = _read_lists(lists)
    paths, notes = _find_clips(request.root)
    table["path"] = [paths.get(track, "") for track in table["track_id"]]
    available, missing = drop_tracks(
        table,
        table["path"] != "",
        request.root,
        "missing",
        remedy="give the folder of GTZAN's audio",
    )
    columns = ["track_id", "path", "artist", "genre", "subset"]
    return Catalog(available[columns], notes + missing, len(table) - len(available))


def _read_lists(lists: dict[str, Path]) -> pd.DataFrame:
    subset_of: dict[str, str] = {}
    rows = []
    for subset, path in lists.items():
        for line in read_lines(path):
            match = _LINE.fullmatch(line)
            if not match:
                raise InputError(
                    f"{path}: {line!r} is not genre/genre.00000.wav; download it again"
                )
            genre, track = match.groups()
            if track in subset_of:
                raise InputError(
                    f"{path}: {track!r} is also listed in {subset_of[track]}; download the lists "
                    "again"
                )
            subset_of[track] = subset
            rows.append((track, "", genre, subset))
    if not rows:
        raise InputError(f"{path}: lists no track; download it again")
    return pd.DataFrame(rows, columns=["track_id", "artist", "genre", "subset"])


def _find_clips(root: Path) -> tuple[dict[str, str], list[str]]:
    """Return {name without suffix: path below `root`}, and a note on repeated names."""
    files = []
    for path in audio_folder.list_audio_files(root):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix in _SUFFIXES:
            files.append((_SUFFIXES.index(suffix), path))
    paths: dict[str, str] = {}
    repeated = []
    for _, path in sorted(files):
        first = paths.setdefault(PurePosixPath(path).stem, path)
        if first != path:
            repeated.append(f"{path!r} and {first!r}")
    if not repeated:
        return paths, []
    return paths, [
        f"{root}: {len(repeated)} files have the same name as another, such as {repeated[0]}: "
        "left out"
    ]
