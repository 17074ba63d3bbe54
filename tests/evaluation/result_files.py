"""Result files in the format of `evaluate.py --json`, for the tests of several packages."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from evaluation.results import read_results

RESULT = {
    "protocol": "retrieval",
    "metric": "map",
    "value": 0.5432,
    "spread": None,
    "trials": None,
    "n_songs": 930,
    "dataset": "gtzan",
    "label": "genre",
    "features": "siamese_5000",
    "model": "siamese",
    "artists": 5000,
    "made_from": {"features": "sha256"},
}
LINEAR = {"protocol": "linear", "metric": "accuracy", "spread": 0.01, "trials": 10}
KNN = {"protocol": "knn", "metric": "accuracy"}


def result_writer(folder: Path) -> Callable[..., pd.DataFrame]:
    """Return a function that writes modified copies of `RESULT` and reads the folder back."""

    def read_after(*changes: dict) -> pd.DataFrame:
        for i, change in enumerate(changes):
            (folder / f"{i}.json").write_text(json.dumps(RESULT | change), encoding="utf-8")
        return read_results(folder)

    return read_after
