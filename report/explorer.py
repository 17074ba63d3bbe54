"""The page of tracks: one HTML file that shows tracks on maps and plays them.

It opens from disk without server or network. The file contains plotly.js, which draws the maps,
and the tracks as JSON.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from common.errors import InputError
from common.files import atomic_write
from data_prep import split_csv
from evaluation.feature_checks import check_features
from evaluation.similarity import nearest_neighbours
from report.formatting import read_template, render_template

# The page may load only itself and audio files. plotly.js compiles its WebGL commands with the
# Function constructor and adds style rules; names of tracks never reach either.
POLICY = (
    "default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
)


def write_explorer(
    path: str | Path,
    tracks: pd.DataFrame,
    maps: Mapping[str, tuple[np.ndarray, np.ndarray]],
    audio: str | Path | None,
    title: str,
    *,
    labels: Sequence[str] = ("genre",),
    neighbours: int = 10,
) -> None:
    """Write the page of tracks as one HTML file at `path`.

    Parameters
    ----------
    tracks
        Rows of a split, with the columns `labels`. Labels may be missing.
    maps
        One or two {name: (features, plane)}: features (n, d) of the tracks in their order, and
        their positions (n, 2), such as from `evaluation.projection.tsne`.
    audio
        Folder that the tracks' paths are relative to; None for a page without audio.
    labels
        Columns to colour and filter by, besides artist and subset. Labels separated by `|`,
        such as tags, are filtered one by one.
    neighbours
        Number of nearest tracks, by cosine similarity, listed for each track.

    Raises
    ------
    InputError
        No maps or more than two; features or positions that are not finite, or not one per track;
        a missing column; a missing audio folder, or a path that leaves it.
    """
    path, source = Path(path), "explorer"
    split_csv.check_split(tracks, source)
    if not 1 <= len(maps) <= 2:
        raise InputError(f"{source}: {len(maps)} sets of features; give one or two")
    neighbours = min(neighbours, len(tracks) - 1)
    columns = []
    for name in dict.fromkeys(("artist", "subset", *labels)):
        values = pd.Series(split_csv.label_column(tracks, name, source)).replace("", None)
        codes, classes = pd.factorize(values, sort=True)  # -1 for a missing label
        columns.append({"name": name, "classes": classes.tolist(), "codes": codes.tolist()})
    data = {
        "track_id": tracks["track_id"].tolist(),
        "path": tracks["path"].tolist(),
        "columns": columns,
        "audio": None if audio is None else folder_url(Path(audio), path),
        "neighbours": neighbours,
        "maps": [_map(name, *arrays, len(tracks), neighbours) for name, arrays in maps.items()],
    }
    library, script = get_plotlyjs(), read_template("explorer.js")
    page = render_template(
        "explorer.html",
        title=title,
        policy=POLICY.format(hashes=f"{_csp_hash(library)} {_csp_hash(script)}"),
        style=read_template("explorer.css"),
        data=data,
        library=Markup(library),
        script=script,
    )
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def folder_url(folder: Path, page: Path) -> str:
    """Return the URL of a folder, ending in /, relative to a page if possible.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: audio folder not found; give the folder of this split's audio")
    folder, page = (Path(os.path.abspath(path)) for path in (folder, page))
    try:
        relative = PurePath(os.path.relpath(folder, page.parent))
    except ValueError:  # on another Windows drive
        return folder.as_uri() + "/"
    return "".join(quote(os.fsencode(part), safe="") + "/" for part in relative.parts) or "./"


def _map(name: str, features: np.ndarray, plane: np.ndarray, tracks: int, count: int) -> dict:
    """Positions in the unit square and nearest tracks, for the page."""
    plane = np.asarray(plane, np.float64)
    if len(features) != tracks or plane.shape != (tracks, 2):
        raise InputError(
            f"explorer: {name}: features of {len(features)} tracks and positions of shape "
            f"{plane.shape} for {tracks} tracks; give those of the split"
        )
    bad = np.flatnonzero(~np.isfinite(plane).all(axis=1))
    if bad.size:
        raise InputError(
            f"explorer: {name}: {bad.size} of {tracks} positions are NaN or infinity, first in "
            f"row {bad[0]}; project the features again"
        )
    low, high = plane.min(axis=0), plane.max(axis=0)
    # Both axes have the same scale, so that distances stay comparable.
    plane = (plane - (low + high) / 2) / ((high - low).max() or 1) + 0.5
    features = check_features(features, "explorer")
    order, cosine = np.empty((2, tracks, 0))
    if count:
        order, cosine = nearest_neighbours(features, k=count)
    x, y = plane.round(5).T.tolist()
    return {
        "name": name,
        "x": x,
        "y": y,
        "nearest": order.ravel().tolist(),
        "cosine": cosine.round(4).ravel().tolist(),
    }


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
