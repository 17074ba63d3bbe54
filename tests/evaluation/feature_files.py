"""Feature files and splits with synthetic artists, for the tests of several packages."""

from pathlib import Path

import numpy as np
import pandas as pd

from common import feature_file
from data_prep import split_csv

SONGS = 6  # tracks per artist: three train, one valid, two test


def make_artists(names: str, seed: int = 0, *, d: int = 4, spread: float = 0.5):
    """Return (split table, features (n, d)); artists are letters, each with its own Gaussian."""
    random = np.random.default_rng(seed)
    centres = {name: np.random.default_rng([ord(name), seed]).normal(size=d) for name in names}
    rows = [(name, track) for name in names for track in range(SONGS)]
    features = [centres[name] + spread * random.normal(size=d) for name, _ in rows]
    ids = [f"{name}{track}" for name, track in rows]
    table = pd.DataFrame(
        {
            "track_id": ids,
            "path": ids,
            "subset": [("train", "train", "train", "valid", "test", "test")[s] for _, s in rows],
            "artist": [name for name, _ in rows],
            "genre": ["rock" if ord(name) % 2 else "folk" for name, _ in rows],
            "tags": ["loud|fast" if ord(name) % 2 else "fast" * (s % 2) for name, s in rows],
        }
    )
    return table, np.array(features, np.float32)


def write_files(
    folder: Path,
    name: str,
    table: pd.DataFrame,
    features: np.ndarray,
    *,
    model: str = "basic",
    failed: tuple[str, ...] = (),
    trained_on: tuple[str, ...] = (),
    run: str | None = None,
    seed: int | None = None,
    classes: tuple[str, ...] = (),
    probabilities: np.ndarray | None = None,
) -> tuple[Path, Path]:
    """Write NAME.h5 and NAME.csv with provenance that names `model`, and return their paths."""
    extracted = ~table["track_id"].isin(failed).to_numpy()
    weights = {"name": run or f"{model}_run", "model": model, "artists": 3, "sha256": model}
    weights |= {"seed": seed}
    contents = feature_file.Features(
        features[extracted],
        table["track_id"].to_numpy(object)[extracted],
        dict.fromkeys(failed, "is silent"),
        {"weights": weights, "input": name},
        trained_on,
        classes,
        None if probabilities is None else probabilities[extracted],
    )
    feature_file.write_features(folder / f"{name}.h5", contents)
    split_csv.write_split(table, folder / f"{name}.csv", {"inputs": {}})
    return folder / f"{name}.h5", folder / f"{name}.csv"


def make_probabilities(table: pd.DataFrame, label: str, seed: int = 0, skill: float = 1.0) -> dict:
    """Return `classes` and `probabilities` for `write_files`; a higher `skill` is more accurate."""
    classes = sorted(set(table[label]))
    random = np.random.default_rng(seed).gumbel(size=(len(table), len(classes)))
    logits = random + skill * (table[label].to_numpy()[:, None] == np.array(classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {"classes": tuple(classes), "probabilities": probabilities.astype(np.float32)}
