"""Feature files: one feature vector per track, with the model and settings that produced them.

| dataset | shape, dtype | content |
|---|---|---|
| features | (n, d) float32 | one vector per track |
| track_id | (n,) str | |
| stamp | (n,) str | size and time of each track's audio file, if it was read from one |
| failed_track_id, failed_reason | (failures,) str | tracks without features, and why |
| trained_on | (a,) str | artists whose tracks the model was trained on, if known |
| probabilities | (n, classes) float32 | class probabilities, for classifiers only |
| classes | (classes,) str | class names, for classifiers only |

The root attribute `made_from` (JSON) records the weights, the front end and library versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common import hdf5, provenance
from common.errors import InputError

_TOLERANCE = 1e-3  # for the sum of a track's float32 probabilities, which should be 1


@dataclass(frozen=True)
class Features:
    """Feature vectors for n tracks: the content of a feature file."""

    features: np.ndarray
    track_id: np.ndarray
    failed: dict[str, str] = field(default_factory=dict)  # {track_id: reason}
    # Inputs that the features were made from, as recorded in the provenance.
    inputs: dict = field(default_factory=dict)
    trained_on: Sequence[str] | np.ndarray = ()
    classes: Sequence[str] | np.ndarray = ()
    probabilities: np.ndarray | None = None  # rows sum to 1; None if the model is no classifier
    # Size and modification time of each track's audio file; empty if the tracks are from a cache.
    stamps: Sequence[str] | np.ndarray = ()

    def select(self, track_ids: np.ndarray, source: str | Path) -> np.ndarray:
        """Return the features for the given tracks, in that order; error messages name `source`."""
        return self.features[self._rows(track_ids, source)]

    def select_probabilities(self, track_ids: np.ndarray, source: str | Path) -> np.ndarray:
        """Like `select`, but return the class probabilities for the given tracks."""
        if self.probabilities is None:
            raise InputError(
                f"{source}: contains no class probabilities; extract the features with networks "
                "that classify genres"
            )
        return self.probabilities[self._rows(track_ids, source)]

    def unchanged_vectors(self, stamps: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Return {track_id: vector} for the tracks that still have the given stamps.

        A vector contains the features and, after them, the class probabilities if there are any.
        """
        parts = [self.features] + ([] if self.probabilities is None else [self.probabilities])
        rows = zip(self.track_id, self.stamps, np.concatenate(parts, axis=1), strict=False)
        return {track: vector for track, stamp, vector in rows if stamps.get(track) == stamp}

    def _rows(self, track_ids: np.ndarray, source: str | Path) -> list[int]:
        row = {track: number for number, track in enumerate(self.track_id)}
        missing = [track for track in track_ids if track not in row]
        if missing:
            raise InputError(
                f"{source}: {len(missing)} of {len(track_ids)} tracks are missing, the first "
                f"{str(missing[0])!r}; extract the features of these tracks"
            )
        return [row[track] for track in track_ids]


def read_feature_inputs(path: str | Path) -> dict:
    """Return the inputs that a feature file was made from, without reading its features."""
    with hdf5.open_file(path) as file:
        return hdf5.read_json_attribute(file, "made_from").get("inputs", {})


def read_features(path: str | Path) -> Features:
    """Read a feature file.

    Examples
    --------
    >>> read_features("features/gtzan.h5").features.shape
    (1000, 256)
    """
    with hdf5.open_file(path) as file:
        features = hdf5.read_array(file, "features", largest=2**36)
        track_id = hdf5.read_strings(file, "track_id")
        failed_tracks = hdf5.read_strings(file, "failed_track_id")
        reasons = hdf5.read_strings(file, "failed_reason")
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs", {})
        # Not all models and package versions write the datasets below. Testing for them with
        # `in` would follow links to other files.
        exists = file.id.links.exists
        trained_on = hdf5.read_strings(file, "trained_on") if exists(b"trained_on") else ()
        classes = hdf5.read_strings(file, "classes") if exists(b"classes") else ()
        probabilities = hdf5.read_array(file, "probabilities") if exists(b"probabilities") else None
        stamps = hdf5.read_strings(file, "stamp") if exists(b"stamp") else ()
    weights = inputs.get("weights", {}) if isinstance(inputs, dict) else None
    if (
        features.ndim != 2
        or len(features) != len(track_id)
        or features.dtype.kind != "f"
        or not _are_probabilities(probabilities, len(track_id), classes)
        or not provenance.is_model_record(weights)
        or len(stamps) not in (0, len(track_id))
    ):
        raise InputError(f"{path}: a damaged feature file; delete it and extract again")
    features = features.astype(np.float32, copy=False)
    if probabilities is not None:
        probabilities = probabilities.astype(np.float32, copy=False)
    failed = dict(zip(failed_tracks, reasons, strict=False))
    return Features(features, track_id, failed, inputs, trained_on, classes, probabilities, stamps)


def _are_probabilities(
    probabilities: np.ndarray | None, tracks: int, classes: Sequence[str] | np.ndarray
) -> bool:
    if probabilities is None:
        return not len(classes)
    return (
        probabilities.dtype.kind == "f"
        and probabilities.shape == (tracks, len(classes))
        and 0 < len(classes) == len(set(classes))
        and bool(((probabilities >= 0) & (probabilities <= 1)).all())  # NaN fails these comparisons
        and bool((abs(probabilities.sum(axis=1, dtype=np.float64) - 1) < _TOLERANCE).all())
    )


def write_features(path: str | Path, features: Features) -> None:
    """Write a feature file."""
    with hdf5.create_file(path) as file:
        file["features"] = np.asarray(features.features, np.float32)
        hdf5.write_strings(file, "track_id", features.track_id)
        hdf5.write_strings(file, "failed_track_id", features.failed)
        hdf5.write_strings(file, "failed_reason", features.failed.values())
        hdf5.write_strings(file, "trained_on", features.trained_on)
        if len(features.stamps):
            hdf5.write_strings(file, "stamp", features.stamps)
        if features.probabilities is not None:
            hdf5.write_strings(file, "classes", features.classes)
            file["probabilities"] = np.asarray(features.probabilities, np.float32)
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(features.inputs))
