"""The High Voltage SID Collection (HVSC): music of the Commodore 64 by its composers.

Version 83 is a free download of 80 MB from https://www.hvsc.c64.org. A tune is a program that plays
music; step 2 renders it with sidplayfp. The tunes belong to their authors, so neither tunes nor
their audio are published with this package.

In an unpacked collection, the artist is the deepest folder below MUSICIANS that is not named
Worktunes. These tunes are left out, and each reason is counted: damaged or unreadable files, RSID
tunes (which need a whole C64; tunes in BASIC are among them), tunes that need another player, tunes
for several chips, tunes by several authors or an unknown one, files outside an artist's folder, and
music data that is stored twice: by two artists, all of it, and by one, all but the first.

A folder may also contain a list of its tunes, `tunes.csv`, with the columns path, artist, set
(train or unseen) and labels. It is used as it is. If it lists no unseen tunes, all of its tunes are
unseen except those to train on, and the column set may be missing.
"""

from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath

import pandas as pd

from common import cli
from common.errors import InputError
from data_prep import audio, psid
from data_prep.datasets import catalog, csv_list
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request
from data_prep.split_methods import TRACKS_PER_ARTIST

INFO = DatasetInfo(
    title="High Voltage SID Collection",
    licence="the tunes belong to their authors; the collection is a free download",
    citation="The HVSC Crew, High Voltage SID Collection, version 83",
    homepage="https://www.hvsc.c64.org (80 MB)",
)

LIST = "tunes.csv"
COLLECTION = ("MUSICIANS", "C64Music/MUSICIANS")  # folders, one of which an unpacked one has
HEADER_FIELDS = ("chip", "clock", "decade")  # labels in the header of each tune
LABELS = ("country", *HEADER_FIELDS)

# Artists with at least TRACKS_PER_ARTIST tunes are for training, those with fewer for evaluation.
_FEWEST = 8  # tunes of an artist: 5 to enrol and 3 to test
_EXAMPLES = 3  # sets in a note
_UNKNOWN = {"?": "", "?0s": ""}  # in tunes.csv


def read_sid(request: Request, name: str) -> Catalog:
    """Return the tunes of the artists to train on ("train") or of other artists ("unseen").

    In an unpacked collection, the former are artists with 20 tunes or more, and the latter those
    with 8 to 19. The subset of all unseen tunes is test. `track_id` is the path without its suffix.
    """
    if (request.root / LIST).exists():
        found = _read_list(request, name)
    else:
        found = _read_collection(request.root, name)
    return replace(found, table=found.table.assign(subset="test")) if name == "unseen" else found


def _read_list(request: Request, name: str) -> Catalog:
    path = request.root / LIST
    found = csv_list.read_csv_list(replace(request, metadata=path))
    table, notes = _select_set(found.table, name, path)
    named = table["artist"].ne("")
    if not named.any():
        raise InputError(f"{path}: names no artist; add a column artist")
    remedy = "name each tune's artist"
    table, dropped = catalog.drop_tracks(
        table, named, path, "without an artist", name="path", remedy=remedy
    )
    notes += dropped
    labels = [label for label in LABELS if label in table.columns]
    table = table.drop(columns="set").replace({label: _UNKNOWN for label in labels})
    return Catalog(table, [*found.notes, *notes], found.missing)


def _select_set(table: pd.DataFrame, name: str, path: Path) -> tuple[pd.DataFrame, list[str]]:
    if "set" not in table.columns:
        if name == "train":
            raise InputError(f"{path}: has no column set; name each tune's set, train or unseen")
        return table.assign(set=name), [f"{path}: has no column set: all tunes are unseen"]
    in_set, other, notes = table["set"].eq(name), f"of another set than {name!r}", []
    if name == "unseen" and not in_set.any():
        in_set, other = table["set"].ne("train"), "of the set 'train'"
        names = ", ".join(map(repr, table.loc[in_set, "set"].unique()[:_EXAMPLES]))
        if names:
            notes = [f"{path}: has no set 'unseen': the tunes of the set {names} are unseen"]
    remedy = "give another list"
    table, dropped = catalog.drop_tracks(table, in_set, path, other, name="path", remedy=remedy)
    return table, [*notes, *dropped]


def _read_collection(root: Path, name: str) -> Catalog:
    folder = next((root / each for each in COLLECTION if (root / each).is_dir()), None)
    if folder is None:
        raise InputError(
            f"{root}: has neither {LIST} nor a folder MUSICIANS; unpack the collection there"
        )
    paths = [path for path in audio.list_audio_files(folder) if path.lower().endswith(".sid")]
    rows = [
        _describe(folder / path, path) | {"path": (folder.relative_to(root) / path).as_posix()}
        for path in cli.progress_bar(paths, desc="tunes", unit="tune")
    ]
    table = pd.DataFrame(rows)
    notes = []
    for problem in (
        "damaged or unreadable",
        "RSID tunes",
        "for another player",
        "for several chips",
        "by several authors or an unknown one",
        "outside an artist's folder",
    ):
        table, dropped = _drop(table, table["problem"].ne(problem), folder, problem)
        notes += dropped
    artists = table.groupby("data")["artist"].transform("nunique")
    table, shared = _drop(table, artists.eq(1), folder, "the same as another artist's")
    copies = ~table["data"].duplicated()
    table, repeated = _drop(table, copies, folder, "the same as another of their artist's")
    tunes = table.groupby("artist")["path"].transform("size")
    many = tunes.ge(TRACKS_PER_ARTIST)
    selected, kind = {
        "train": (many, f"by artists with fewer than {TRACKS_PER_ARTIST}"),
        "unseen": (
            ~many & tunes.ge(_FEWEST),
            f"by artists with fewer than {_FEWEST} or with {TRACKS_PER_ARTIST} or more",
        ),
    }[name]
    table, others = _drop(table, selected, folder, kind)
    table = table.drop(columns=["problem", "data"])
    table.insert(0, "track_id", table["path"].str.slice(stop=-len(".sid")))
    return Catalog(table, [*notes, *shared, *repeated, *others])


def _drop(
    table: pd.DataFrame, keep: pd.Series, folder: Path, problem: str
) -> tuple[pd.DataFrame, list[str]]:
    remedy = "give a whole collection"
    return catalog.drop_tracks(table, keep, folder, problem, name="path", remedy=remedy)


def _describe(file: Path, path: str) -> dict[str, str]:
    """Return a tune's labels, the first reason to leave it out, and a digest of its music."""
    row = dict.fromkeys(
        ("path", "artist", "title", "released", *HEADER_FIELDS, "problem", "data"), ""
    )
    try:
        tune = psid.read_tune(file)
    except (psid.PsidError, OSError):
        return row | {"problem": "damaged or unreadable"}
    # The first folder is the artist's initial.
    folders = [name for name in PurePosixPath(path).parts[1:-1] if name != "Worktunes"]
    reasons = {
        "RSID tunes": tune.is_rsid,
        "for another player": tune.needs_other_player,
        "for several chips": tune.chips > 1,
        "by several authors or an unknown one": not tune.is_by_one_author,
        "outside an artist's folder": not folders,
    }
    return row | {
        "artist": catalog.clean_text("+".join(folders)),
        "title": catalog.clean_text(tune.title),
        "released": catalog.clean_text(tune.released),
        "decade": tune.decade,
        "chip": tune.chip,
        "clock": tune.clock,
        "problem": next((reason for reason, applies in reasons.items() if applies), ""),
        "data": sha256(tune.data).hexdigest(),
    }


DATASETS = {
    "sid": (partial(read_sid, name="train"), INFO),
    "sid_unseen": (partial(read_sid, name="unseen"), INFO),
}
