"""Tracks listed in a split, joined with their features and labels, as input to the protocols."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from common import feature_file, provenance
from common.errors import InputError
from common.feature_file import Features
from common.parallel import available_cores
from data_prep import split_csv, split_methods
from data_prep.datasets import folder
from data_prep.datasets.catalog import Catalog, drop_tracks, find_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledTracks:
    """The tracks of a split, in the order of the split, with their features."""

    split: pd.DataFrame  # one row per track
    split_path: Path  # that of the feature file if the labels are from the tags of audio files
    features: np.ndarray  # (n, d) float32
    feature_file: Features  # contents of the whole feature file, with its provenance
    feature_path: Path

    @property
    def weights(self) -> dict:
        """Provenance of the weights that produced the features."""
        return self.feature_file.inputs.get("weights", {})

    @property
    def digest(self) -> str:
        """Hash that identifies the tracks together with their labels and subsets."""
        return provenance.digest_rows(self.split.itertuples(index=False))

    def labels(self, column: str) -> np.ndarray:
        """Return the labels (n,) in a column; if it is missing, `InputError` lists the columns."""
        return split_csv.label_column(self.split, column, self.split_path)

    def select(self, track_ids: set[str]) -> "LabelledTracks":
        """Return only the tracks whose IDs are in `track_ids`."""
        selected = self.split["track_id"].isin(track_ids).to_numpy()
        return replace(
            self,
            split=self.split[selected].reset_index(drop=True),
            features=self.features[selected],
        )

    def subsets(self, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (features, targets) for train, valid and test; a subset may be empty."""
        masks = [self.split["subset"].eq(name).to_numpy() for name in split_csv.SUBSETS]
        return [(self.features[mask], targets[mask]) for mask in masks]


def read_labelled_tracks(features: Path, split: Path, label: str | None = None) -> LabelledTracks:
    """Read the tracks of a split that have features and, if `label` is given, a label.

    Tracks whose extraction failed are left out; tracks that were never extracted are an error.
    """
    contents = feature_file.read_features(features)
    table = split_csv.read_usable_tracks(split, contents.failed, features)
    if label is not None:
        table = drop_unlabelled(table, label, split)
    return _join(table, split, contents, features)


def read_tagged_tracks(features: Sequence[Path], audio: Path) -> list[LabelledTracks]:
    """Read all tracks of the first feature file, labelled from the tags of their audio files.

    The track ids are paths relative to the folder `audio`. Returns the same tracks once for each
    feature file; their table has no column `subset`.
    """
    contents = [feature_file.read_features(path) for path in features]
    catalog = read_track_tags(contents[0].track_id, audio, features[0], available_cores())
    for note in catalog.notes:
        logger.info(note)
    if contents[0].failed:
        logger.info("%s: %d tracks failed and are not shown", features[0], len(contents[0].failed))
    return [
        _join(catalog.table, features[0], one, path)
        for one, path in zip(contents, features, strict=True)
    ]


def read_track_tags(
    track_ids: Sequence[str] | np.ndarray, audio: Path, source: Path, workers: int = 1
) -> Catalog:
    """Return the tracks of the feature file `source` that are in the folder `audio`, labelled.

    The track ids are paths relative to that folder.
    """
    tracks = pd.DataFrame({"track_id": track_ids, "path": track_ids})
    split_csv.check_split(tracks, source, tracks.columns)
    if not audio.is_dir():
        raise InputError(f"{audio}: no such folder; give the folder of the tracks with --audio")
    remedy = "give the folder that they were extracted from"
    exists = find_files(audio, tracks["path"])
    tracks, notes = drop_tracks(tracks, exists, audio, "not in this folder", remedy=remedy)
    catalog = folder.read_tags(audio, tracks["path"].tolist(), workers=workers)
    tracks, placeholders = split_methods.clear_not_artists(catalog.table)
    return Catalog(tracks, [*notes, *catalog.notes, *placeholders])


def drop_unlabelled(table: pd.DataFrame, label: str, split: Path) -> pd.DataFrame:
    """Return the tracks of a split that have a label, and log how many are left out."""
    empty = split_csv.label_column(table, label, split) == ""
    if empty.any():
        if empty.all():
            problem = f"no track has a value of {label}"
            raise InputError(f"{split}: {problem}; name another column with --label")
        logger.info("%s: %d tracks without %s left out", split, empty.sum(), label)
    return table[~empty].reset_index(drop=True)


def read_training_tracks(
    features: Path, split: Path, max_artists: int | None = None
) -> LabelledTracks:
    """Read the training tracks by the first `max_artists` artists in a split (None: by all)."""
    contents = feature_file.read_features(features)
    table = split_csv.read_usable_tracks(split, contents.failed, features, max_artists)
    train = split_csv.subset_mask(table, "train", split) & table["artist"].ne("").to_numpy()
    if not train.any():
        raise InputError(f"{split}: no training track has an artist; use a split with artists")
    return _join(table[train].reset_index(drop=True), split, contents, features)


def _join(table: pd.DataFrame, split: Path, contents: Features, features: Path) -> LabelledTracks:
    rows = contents.select(table["track_id"].to_numpy(object), features)
    return LabelledTracks(table, split, rows, contents, features)


def require_same_weights(first: Features, second: Features, paths: tuple[Path, Path]) -> None:
    """Raise `InputError` unless both files were made with the same weights and the same LDA."""
    if any(first.inputs.get(key) != second.inputs.get(key) for key in ("weights", "lda")):
        names = [str(file.inputs.get("weights", {}).get("name")) for file in (first, second)]
        another = "another " if names[0] == names[1] else ""
        raise InputError(
            f"{paths[0]} was made by {names[0]}, {paths[1]} by {another}{names[1]}; "
            "extract both with the same weights"
        )
