"""The songs that are judged: their features beside the labels of a split."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from common import feature_file, provenance
from common.errors import InputError
from common.feature_file import Features
from data_prep import failures, split_csv


@dataclass(frozen=True)
class LabelledTracks:
    """Songs of a split in its order, with their features.

    split : DataFrame of n rows
    split_path : the file that it is from
    features : (n, d) float32
    feature_file : what the feature file says of itself
    feature_path : the feature file
    """

    split: pd.DataFrame
    split_path: Path
    features: np.ndarray
    feature_file: Features
    feature_path: Path

    @property
    def weights(self) -> dict:
        """What made the features: name, model, artists, …; JSON values."""
        return self.feature_file.inputs.get("weights", {})

    @property
    def probabilities(self) -> np.ndarray:
        """(n, classes) float32 of `made.classes`, or `InputError` of a file that holds none."""
        return self.feature_file.select_probabilities(
            self.split["track_id"].to_numpy(object), self.feature_path
        )

    @property
    def digest(self) -> str:
        """Identifies the songs with their labels and subsets."""
        return provenance.digest_rows(self.split.itertuples(index=False))

    def labels(self, column: str) -> np.ndarray:
        """(n,) labels, or `InputError` naming the columns that there are."""
        return split_csv.label_column(self.split, column, self.split_path)

    def select(self, tracks: set[str]) -> "LabelledTracks":
        """Those of these tracks only."""
        kept = self.split["track_id"].isin(tracks).to_numpy()
        return replace(
            self, split=self.split[kept].reset_index(drop=True), features=self.features[kept]
        )

    def subset(self, name: str, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and targets of train, valid or test; there may be none."""
        chosen = self.split["subset"].eq(name).to_numpy()
        return self.features[chosen], targets[chosen]

    def subsets(self, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """`subset` of train, valid and test."""
        return [self.subset(name, targets) for name in split_csv.SUBSETS]


def read_labelled_tracks(features: Path, split: Path, label: str | None = None) -> LabelledTracks:
    """The songs of a split that have features and, if one is named, a `label`.

    Says how many have not.

    Raises
    ------
    InputError
        No such files or column; or a song whose features were never tried.
    """
    made = feature_file.read_features(features)
    table = failures.drop_failed(split_csv.read_split(split), made.failed, features)
    if label is not None:
        table = drop_unlabelled(table, label, split)
    return _of(table, split, made, features)


def drop_unlabelled(table: pd.DataFrame, label: str, split: Path) -> pd.DataFrame:
    """The tracks of a split that have a label; says how many have none."""
    empty = split_csv.label_column(table, label, split) == ""
    if empty.any():
        print(f"{split}: {empty.sum()} tracks without {label} left out")
    return table[~empty].reset_index(drop=True)


def read_training_tracks(features: Path, split: Path, artists: int | None = None) -> LabelledTracks:
    """The training songs of a split's first `artists` (None: all), which all have an artist."""
    made = feature_file.read_features(features)
    table = split_csv.keep_first_artists(split_csv.read_split(split), artists, split)
    table = failures.drop_failed(table, made.failed, features)
    train = split_csv.subset_mask(table, "train", split) & table["artist"].ne("").to_numpy()
    return _of(table[train].reset_index(drop=True), split, made, features)


def _of(table: pd.DataFrame, split: Path, made: Features, features: Path) -> LabelledTracks:
    of_table = made.select(table["track_id"].to_numpy(object), features)
    return LabelledTracks(table, split, of_table, made, features)


def require_same_weights(one: Features, other: Features, names: tuple[Path, Path]) -> None:
    """Raise `InputError` unless the same weights, and LDA, made both; `names` are their files."""
    if any(one.inputs.get(key) != other.inputs.get(key) for key in ("weights", "lda")):
        by = [str(made.inputs.get("weights", {}).get("name", "unknown")) for made in (one, other)]
        by = by if by[0] != by[1] else [by[0], f"another {by[1]}"]
        raise InputError(
            f"{names[0]} is by {by[0]}, {names[1]} by {by[1]}; extract both with the same weights"
        )
