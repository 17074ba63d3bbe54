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
from data_prep import split_csv
from evaluation.feature_checks import check_features
from evaluation.retrieval import nearest_neighbours
from report.formatting import read_template, write_page


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
        Rows of a split that has the columns `labels`, or of a catalog's table, without subsets.
        Individual labels may be missing. The column `title`, if any, names the tracks.
    maps
        One or two maps, as {name: (features, plane)}: features (n, d) and positions (n, 2), both
        in the order of `tracks`. `evaluation.projection.fit_tsne` computes suitable positions.
    audio
        Folder that the track paths are relative to; None for a page without audio.
    source
        File of the split, for error messages.
    labels
        Columns by which to colour and filter tracks, besides artist and subset; at first, the page
        shows the colours of the first one with a value. Labels separated by `|`, such as tags, can
        be filtered individually.
    neighbours
        Number of nearest tracks, by cosine similarity, to list for each track.
    """
    path = Path(path)
    subset = [name for name in ("subset",) if name in tracks.columns]
    split_csv.check_split(tracks, source, ("track_id", "path", "artist", *subset))
    if not 1 <= len(maps) <= 2:
        raise InputError(f"explorer: {len(maps)} sets of features; give one or two")
    neighbours = min(neighbours, len(tracks) - 1)
    columns = {}
    for name in dict.fromkeys(("artist", *subset, *labels)):
        values = pd.Series(split_csv.label_column(tracks, name, source)).replace("", None)
        codes, classes = pd.factorize(values, sort=True)  # -1 for a missing label
        columns[name] = {"name": name, "classes": classes.tolist(), "codes": codes.tolist()}
    colour = next((name for name in labels if columns[name]["classes"]), "artist")
    data = {
        "track_id": tracks["track_id"].tolist(),
        "path": tracks["path"].tolist(),
        "title": tracks["title"].fillna("").tolist() if "title" in tracks.columns else None,
        "columns": list(columns.values()),
        "colour": list(columns).index(colour),
        "audio": None if audio is None else _folder_url(Path(audio), path),
        "neighbours": neighbours,
        "maps": [_map(name, *arrays, len(tracks), neighbours) for name, arrays in maps.items()],
    }
    scripts = {"library": Markup(get_plotlyjs()), "script": read_template("explorer.js")}
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts.values()]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    write_page(path, "explorer", title=title, hashes=Markup(hashes), data=data, **scripts)


def _folder_url(folder: Path, page: Path) -> str:
    """Return a folder URL that ends in /, relative to a page if possible."""
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
    plane, features = np.asarray(plane, np.float64), check_features(features, "explorer")
    if len(features) != tracks or plane.shape != (tracks, 2) or not np.isfinite(plane).all():
        raise InputError(
            f"explorer: {name}: features of {len(features)} tracks and positions of shape "
            f"{plane.shape} for {tracks} tracks; give those of the split, without NaN or infinity"
        )
    low, high = plane.min(axis=0), plane.max(axis=0)
    # Both axes are scaled by the same factor, so that distances remain comparable.
    plane = (plane - (low + high) / 2) / ((high - low).max() or 1) + 0.5
    order, cosine = np.empty((2, tracks, 0))
    if count:
        order, cosine = nearest_neighbours(features, k=count)
    x, y = plane.round(5).T.tolist()
    nearest = {"nearest": order.ravel().tolist(), "cosine": cosine.round(4).ravel().tolist()}
    return {"name": name, "x": x, "y": y, **nearest}
