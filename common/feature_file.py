"""The feature file: one vector a song, and what made it.

Datasets `features` (n, d) float32 and `track_id` (n,) str; `failed_track_id` and
`failed_reason` of the songs that could not be used; `trained_on`, the artists whose
songs trained what made it, where that is known; the root attribute `made_from`
(JSON) with the weights, the front end and the versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import hdf5, provenance
from common.errors import InputError


@dataclass(frozen=True)
class Features:
    """Features of n songs: (n, d) float32, (n,) str, and the inputs that made them.

    `failed` is {track_id: reason} of the songs that could not be used. `trained_on` is
    (a,) str: the artists whose songs trained the model, none where they are not known.
    """

    features: np.ndarray
    track_id: np.ndarray
    failed: dict[str, str]
    inputs: dict
    trained_on: Sequence[str] = ()

    def of(self, track_ids: np.ndarray, source: str | Path) -> np.ndarray:
        """The rows of these tracks in their order; `source` names the file in the error.

        Raises
        ------
        InputError
            A track has no feature.
        """
        row = {track: number for number, track in enumerate(self.track_id)}
        absent = [track for track in track_ids if track not in row]
        if absent:
            raise InputError(
                f"{source}: lacks {len(absent)} of {len(track_ids)} tracks, the first "
                f"{str(absent[0])!r}; extract the features of this split"
            )
        return self.features[[row[track] for track in track_ids]]


def read(path: str | Path) -> Features:
    """Read a feature file, or raise `InputError` saying what is wrong with it."""
    with hdf5.open_file(path) as file:
        features = hdf5.values(file, "features", largest=2**36)
        track_id = hdf5.strings(file, "track_id")
        failed = hdf5.strings(file, "failed_track_id"), hdf5.strings(file, "failed_reason")
        inputs = hdf5.json_attribute(file, "made_from").get("inputs", {})
        known = file.id.links.exists(b"trained_on")
        trained_on = hdf5.strings(file, "trained_on") if known else ()
    weights = inputs.get("weights", {}) if isinstance(inputs, dict) else None
    fits = features.ndim == 2 and len(features) == len(track_id) and features.dtype.kind == "f"
    if not fits or not provenance.names_a_model(weights):
        raise InputError(f"{path}: a damaged feature file; delete it and extract again")
    return Features(
        features.astype(np.float32, copy=False),
        track_id,
        dict(zip(*failed, strict=False)),
        inputs,
        trained_on,
    )


def write(path: str | Path, made: Features) -> None:
    """Write a feature file whole."""
    with hdf5.written(path) as file:
        file["features"] = np.asarray(made.features, np.float32)
        hdf5.write_strings(file, "track_id", made.track_id)
        hdf5.write_strings(file, "failed_track_id", made.failed)
        hdf5.write_strings(file, "failed_reason", made.failed.values())
        hdf5.write_strings(file, "trained_on", made.trained_on)
        file.attrs["made_from"] = provenance.to_json(provenance.record(made.inputs))
