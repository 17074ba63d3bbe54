"""The track explorer: a single HTML page that shows tracks on maps and plays them.

The page opens from disk without a server or network connection. It contains plotly.js, which
draws the maps, and the track data as JSON.
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

# The page may load nothing but audio files. The unsafe-* exceptions are needed because plotly.js
# compiles its WebGL commands with the Function constructor and adds style rules; track names reach
# neither.
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
    source: str | Path = "explorer",
    labels: Sequence[str] = ("genre",),
    neighbours: int = 10,
) -> None:
    """Write the track explorer as a single HTML file to `path`.

    Parameters
    ----------
    tracks
        Rows of a split that has the columns `labels`. Individual labels may be missing.
    maps
        One or two maps, as {name: (features, plane)}: features (n, d) and positions (n, 2), both
        in the order of `tracks`. `evaluation.projection.fit_tsne` computes suitable positions.
    audio
        Folder that the track paths are relative to; None for a page without audio.
    source
        File of the split, for error messages.
    labels
        Columns by which to colour and filter tracks, besides artist and subset. Labels separated
        by `|`, such as tags, can be filtered individually.
    neighbours
        Number of nearest tracks, by cosine similarity, to list for each track.

    Raises
    ------
    InputError
        If there are no maps or more than two, if features or positions are not finite or do not
        match the number of tracks, if a column or the audio folder is missing, or if a track path
        leads outside the audio folder.
    """
    path = Path(path)
    split_csv.check_split(tracks, source)
    if not 1 <= len(maps) <= 2:
        raise InputError(f"explorer: {len(maps)} sets of features; give one or two")
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
    """Return a folder URL that ends in /, relative to a page if possible.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: audio folder not found; give the folder of this split's audio")
    folder, page = (Path(os.path.abspath(path)) for path in (folder, page))
    try:
        relative = PurePath(os.path.relpath(folder, page.parent))
    except ValueError:  # the folder and the page are on different Windows drives
        return folder.as_uri() + "/"
    return "".join(quote(os.fsencode(part), safe="") + "/" for part in relative.parts) or "./"


def _map(name: str, features: np.ndarray, plane: np.ndarray, tracks: int, count: int) -> dict:
    """Return the page data of a map: positions in the unit square, and nearest tracks."""
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
    # Both axes are scaled by the same factor, so that distances remain comparable.
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
