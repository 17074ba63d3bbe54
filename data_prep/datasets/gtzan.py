"""GTZAN with its fault-filtered, artist-disjoint split: 930 clips in 10 genres.

The three lists name clips as `genre/genre.000NN.wav`. Audio distributions differ in format
(.wav, .au, .mp3) and folder layout, so clips are identified by file name alone. In one
distribution, jazz.00054 cannot be decoded.
"""

from pathlib import Path, PurePosixPath

import pandas as pd

from data_prep import audio, split_csv
from data_prep.datasets import catalog
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

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

# Supported audio formats. Of several copies of a clip, the one whose format comes first is used.
_SUFFIXES = (".wav", ".au", ".mp3")


def read_gtzan(request: Request) -> Catalog:
    """Return the clips in the split that exist anywhere below `request.root`.

    A complete copy has 443 clips for train, 197 for valid and 290 for test. The artists are
    unknown.
    """
    lists = zip(
        catalog.fetch_lists(INFO, request.metadata).values(), split_csv.SUBSETS, strict=True
    )
    table = pd.concat([_read_list(path, subset) for path, subset in lists], ignore_index=True)
    paths, notes = _find_clips(request.root)
    table["path"] = [paths.get(track, "") for track in table["track_id"]]
    remedy = "give the folder of GTZAN's audio"
    has_path = table["path"] != ""
    available, missing = catalog.drop_tracks(
        table, has_path, request.root, "missing", remedy=remedy
    )
    columns = ["track_id", "path", "artist", "genre", "subset"]
    return Catalog(available[columns], notes + missing, len(table) - len(available))


def _read_list(path: Path, subset: str) -> pd.DataFrame:
    names = [PurePosixPath(line).stem for line in catalog.read_lines(path)]
    genres = [name.partition(".")[0] for name in names]
    return pd.DataFrame({"track_id": names, "artist": "", "genre": genres, "subset": subset})


def _find_clips(root: Path) -> tuple[dict[str, str], list[str]]:
    """Return {name without suffix: path below `root`}, and a note about any repeated names."""
    files = [(PurePosixPath(path).suffix.lower(), path) for path in audio.list_audio_files(root)]
    ranked = sorted(
        (_SUFFIXES.index(suffix), path) for suffix, path in files if suffix in _SUFFIXES
    )
    paths: dict[str, str] = {}
    repeated = []
    for _, path in ranked:
        first = paths.setdefault(PurePosixPath(path).stem, path)
        if first != path:
            repeated.append(f"{path!r} and {first!r}")
    many = f"{root}: {len(repeated)} files have the same name as another, such as "
    return paths, [f"{many}{repeated[0]}: left out"] if repeated else []


DATASETS = {"gtzan": (read_gtzan, INFO)}
