"""The inputs recorded for a training run and copied into its weights and feature files."""

from pathlib import Path

import numpy as np
import pandas as pd

from common import provenance
from data_prep.mel_cache import MelCache


def training_inputs(
    folder: Path,
    model: str,
    split: pd.DataFrame,
    cache: MelCache,
    settings: dict,
    start_from: dict | None = None,
) -> dict:
    """Return the inputs of a training run as JSON values.

    Parameters
    ----------
    folder
        Run folder, whose name is used as the name of the weights.
    settings
        Settings that determine the result, such as `TrainingConfig.record()`.
    start_from
        Provenance of the weights to fine-tune, if any.
    """
    inputs = {
        "name": folder.name,
        "model": model,
        "artists": None if model == "tag" else split["artist"].nunique(),
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
        "settings": settings,
    }
    return inputs if start_from is None else {**inputs, "start_from": start_from}


def training_artists(split: pd.DataFrame) -> np.ndarray:
    """Return the sorted names of the training artists, with shape (artists,)."""
    names = split.loc[split["subset"].eq("train"), "artist"]
    return np.array(sorted(set(names) - {""}), object)
