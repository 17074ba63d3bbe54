"""The songs explorer: one page, of one file, that shows songs on a map and plays them.

It opens from a disk, with no server and no network. The page itself is in `templates/`; what it
draws with, plotly.js, is put into it, and so are the songs, as JSON that nothing interprets.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import ArrayLike
from plotly.offline import get_plotlyjs

from common.errors import InputError
from common.files import atomic_write
from data_prep import split_csv
from evaluation.feature_checks import check_features
from evaluation.similarity import nearest_neighbours
from report.formatting import read_template, render_template

# What the page may load: itself, and audio files. plotly.js makes its WebGL commands with the
# Function constructor, and its style rules in the page; neither is ever given a song's name.
POLICY = (
    "default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
)


def write_explorer(
    path: str | Path,
    songs: pd.DataFrame,
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]],
    audio: str | Path | None,
    title: str,
    *,
    labels: Sequence[str] = ("genre",),
    neighbours: int = 10,
) -> None:
    """Write the explorer of n songs as one HTML file, whole.

    Parameters
    ----------
    path : path of the page
    songs : DataFrame
        The rows of a split: `track_id, path, subset, artist` and the `labels`. A song
        without a label is shown as of none.
    maps : {name: (features, plane)}
        One or two sets of features of these songs, in their order: (n, d) float, finite,
        and their places, (n, 2) float, such as `evaluation.projection.fit_tsne` gives.
    audio : folder that the songs' paths are relative to, or None: the page plays nothing
    title : str
    labels : columns to colour and filter by, besides artist and subset
        Of several with `|` between them, such as tags, each is a filter; a colour they share.
    neighbours : int
        How many nearest songs, by cosine, are listed with each; fewer where there are none.

    Raises
    ------
    InputError
        No map or more than two; features or places of other songs, or not finite; a column
        that is not there; no such folder of audio, or a path that leaves it.
    """
    path = Path(path)
    split_csv.check_split(songs, "explorer")
    if not 1 <= len(maps) <= 2:
        raise InputError(f"explorer: {len(maps)} sets of features; give one or two")
    count = min(neighbours, len(songs) - 1)
    data = {
        "track_id": songs["track_id"].tolist(),
        "path": songs["path"].tolist(),
        "columns": [_column(songs, name) for name in dict.fromkeys(("artist", "subset", *labels))],
        "audio": None if audio is None else folder_url(Path(audio), path),
        "neighbours": count,
        "maps": [_map(name, *of_one, len(songs), count) for name, of_one in maps.items()],
    }
    page = _page(title, data)
    with atomic_write(path) as aside:
        aside.write_text(page, encoding="utf-8", newline="\n")


def folder_url(folder: Path, page: Path) -> str:
    """The URL, ending in /, of a folder as seen from a page: relative where it can be.

    Raises
    ------
    InputError
        No such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of audio; give the one the split is of")
    folder, page = (Path(os.path.abspath(given)) for given in (folder, page))
    try:
        relative = PurePath(os.path.relpath(folder, page.parent))
    except ValueError:  # another drive of Windows
        return folder.as_uri() + "/"
    return "".join(quote(os.fsencode(part), safe="") + "/" for part in relative.parts) or "./"


def _column(songs: pd.DataFrame, name: str) -> dict:
    """A column as its sorted values, and the number of each song's; -1 of a song without."""
    values = pd.Series(split_csv.label_column(songs, name, "explorer")).replace("", None)
    codes, classes = pd.factorize(values, sort=True)
    return {"name": name, "classes": list(map(str, classes)), "codes": codes.tolist()}


def _map(name: str, features: ArrayLike, plane: ArrayLike, songs: int, count: int) -> dict:
    plane = np.asarray(plane, np.float64)
    if len(features) != songs or plane.shape != (songs, 2):
        raise InputError(
            f"explorer: {name}: features of {len(features)} songs and places of shape "
            f"{plane.shape} for {songs} songs; give those of the split"
        )
    bad = np.flatnonzero(~np.isfinite(plane).all(axis=1))
    if bad.size:
        raise InputError(
            f"explorer: {name}: {bad.size} of {songs} places are NaN or infinity, the first is "
            f"row {bad[0]}; project the features again"
        )
    # Into the middle of the unit square, both axes by the same factor: units of t-SNE say nothing.
    low, high = plane.min(axis=0), plane.max(axis=0)
    plane = (plane - (low + high) / 2) / ((high - low).max() or 1) + 0.5
    features = check_features(features, "explorer")
    order, cosine = nearest_neighbours(features, k=count) if count else np.empty((2, songs, 0))
    x, y = plane.round(5).T.tolist()
    return {
        "name": name,
        "x": x,
        "y": y,
        "nearest": order.ravel().tolist(),
        "cosine": cosine.round(4).ravel().tolist(),
    }


def _page(title: str, data: dict) -> str:
    library, script = get_plotlyjs(), read_template("explorer.js")
    return render_template(
        "explorer.html",
        title=title,
        policy=POLICY.format(hashes=" ".join(map(_hash, (library, script)))),
        style=read_template("explorer.css"),
        data=Markup(to_island(data)),
        library=Markup(library),
        script=script,
    )


def to_island(data: object) -> str:
    """`data` as JSON that can stand in a script element: ASCII, in which no tag opens or ends."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
