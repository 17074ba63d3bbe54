"""What a training says that it was made from; its weights and features will tell it."""

from pathlib import Path

import numpy as np
import pandas as pd

from common import provenance
from data_prep.mel_cache import MelCache


def training_inputs(
    run: Path,
    model: str,
    split: pd.DataFrame,
    cache: MelCache,
    settings: dict,
    start_from: dict | None = None,
) -> dict:
    """The inputs of a training, JSON values.

    Parameters
    ----------
    start_from
        The provenance of the weights that it goes on from.
    """
    inputs = {
        "name": run.name,
        "model": model,
        "artists": None if model == "tag" else split["artist"].nunique(),
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
        "settings": settings,
    }
    return inputs if start_from is None else {**inputs, "start_from": start_from}


def training_artists(split: pd.DataFrame) -> np.ndarray:
    """(artists,) str, sorted: whose songs a model hears in training on this split."""
    names = split.loc[split["subset"].eq("train"), "artist"]
    return np.array(sorted(set(names) - {""}), object)
