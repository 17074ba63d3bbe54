"""The feature file: one vector a song, and what made it.

Datasets `features` (n, d) float32 and `track_id` (n,) str; `failed_track_id` and
`failed_reason` of the songs that could not be used; `trained_on`, the artists whose
songs trained what made it, where that is known; of what tells classes apart,
`probabilities` (n, classes) float32 and `classes` (classes,) str; the root attribute
`made_from` (JSON) with the weights, the front end and the versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import hdf5, provenance
from common.errors import InputError

_OPTIONAL = ("trained_on", "classes", "probabilities")
_SUM = 1e-3  # by how much a song's probabilities may miss 1: they are float32


@dataclass(frozen=True)
class Features:
    """Features of n songs: (n, d) float32, (n,) str, and the inputs that made them.

    `failed` is {track_id: reason} of the songs that could not be used. `trained_on` is
    (a,) str: the artists whose songs trained the model, none where they are not known.
    `probabilities` (n, classes) float32, whose rows sum to 1, are the songs' over the
    `classes` (classes,) str; None of what tells no classes apart.
    """

    features: np.ndarray
    track_id: np.ndarray
    failed: dict[str, str]
    inputs: dict
    trained_on: Sequence[str] = ()
    classes: Sequence[str] = ()
    probabilities: np.ndarray | None = None

    def select(self, track_ids: np.ndarray, source: str | Path) -> np.ndarray:
        """The features of these tracks in their order; `source` names the file in the error.

        Raises
        ------
        InputError
            A track has no feature.
        """
        return self.features[self._rows(track_ids, source)]

    def select_probabilities(self, track_ids: np.ndarray, source: str | Path) -> np.ndarray:
        """The probabilities of these tracks in their order, as `of` has their features.

        Raises
        ------
        InputError
            A track has none, or none of them has.
        """
        if self.probabilities is None:
            raise InputError(
                f"{source}: holds no class probabilities; extract the features with networks "
                "that learnt to tell genres apart"
            )
        return self.probabilities[self._rows(track_ids, source)]

    def _rows(self, track_ids: np.ndarray, source: str | Path) -> list[int]:
        row = {track: number for number, track in enumerate(self.track_id)}
        absent = [track for track in track_ids if track not in row]
        if absent:
            raise InputError(
                f"{source}: lacks {len(absent)} of {len(track_ids)} tracks, the first "
                f"{str(absent[0])!r}; extract the features of this split"
            )
        return [row[track] for track in track_ids]


def read_feature_inputs(path: str | Path) -> dict:
    """What a feature file was made from, without reading its features."""
    with hdf5.open_file(path) as file:
        return hdf5.read_json_attribute(file, "made_from").get("inputs", {})


def read_features(path: str | Path) -> Features:
    """Read a feature file, or raise `InputError` saying what is wrong with it."""
    with hdf5.open_file(path) as file:
        features = hdf5.read_array(file, "features", largest=2**36)
        track_id = hdf5.read_strings(file, "track_id")
        failed = (
            hdf5.read_strings(file, "failed_track_id"),
            hdf5.read_strings(file, "failed_reason"),
        )
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs", {})
        # Of files by other versions or models, not all of these are there.
        there = {name for name in _OPTIONAL if file.id.links.exists(name.encode())}
        trained_on = hdf5.read_strings(file, "trained_on") if "trained_on" in there else ()
        classes = hdf5.read_strings(file, "classes") if "classes" in there else ()
        probabilities = hdf5.read_array(file, "probabilities") if "probabilities" in there else None
    weights = inputs.get("weights", {}) if isinstance(inputs, dict) else None
    fits = features.ndim == 2 and len(features) == len(track_id) and features.dtype.kind == "f"
    fits = fits and _share_out(probabilities, len(track_id), classes)
    if not fits or not provenance.is_model_record(weights):
        raise InputError(f"{path}: a damaged feature file; delete it and extract again")
    return Features(
        features.astype(np.float32, copy=False),
        track_id,
        dict(zip(*failed, strict=False)),
        inputs,
        trained_on,
        classes,
        None if probabilities is None else probabilities.astype(np.float32, copy=False),
    )


def _share_out(probabilities: np.ndarray | None, songs: int, classes: Sequence[str]) -> bool:
    """Whether each song's row says how probable each class is; or there are neither."""
    if probabilities is None:
        return not len(classes)
    return (
        probabilities.dtype.kind == "f"
        and probabilities.shape == (songs, len(classes))
        and 0 < len(classes) == len(set(classes))
        and bool(((probabilities >= 0) & (probabilities <= 1)).all())  # which NaN is not
        and bool((abs(probabilities.sum(axis=1, dtype=np.float64) - 1) < _SUM).all())
    )


def write_features(path: str | Path, made: Features) -> None:
    """Write a feature file whole."""
    with hdf5.create_file(path) as file:
        file["features"] = np.asarray(made.features, np.float32)
        hdf5.write_strings(file, "track_id", made.track_id)
        hdf5.write_strings(file, "failed_track_id", made.failed)
        hdf5.write_strings(file, "failed_reason", made.failed.values())
        hdf5.write_strings(file, "trained_on", made.trained_on)
        if made.probabilities is not None:
            hdf5.write_strings(file, "classes", made.classes)
            file["probabilities"] = np.asarray(made.probabilities, np.float32)
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(made.inputs))
