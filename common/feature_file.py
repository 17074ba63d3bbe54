"""The feature file: one vector a song, and what made it.

Datasets `features` (n, d) float32 and `track_id` (n,) str; the root attribute
`made_from` (JSON) with the weights, the front end and the versions.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common import hdf5, provenance
from common.errors import InputError
from common.files import written_whole


@dataclass(frozen=True)
class Features:
    """Features of n songs: (n, d) float32, (n,) str, and the inputs that made them."""

    features: np.ndarray
    track_id: np.ndarray
    inputs: dict

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
                f"{absent[0]!r}; extract the features of this split"
            )
        return self.features[[row[track] for track in track_ids]]


def read(path: str | Path) -> Features:
    """Read a feature file, or raise `InputError` saying what is wrong with it."""
    with hdf5.open_file(path) as file:
        features = hdf5.values(file, "features", largest=2**36)
        track_id = hdf5.strings(file, "track_id")
        inputs = hdf5.json_attribute(file, "made_from").get("inputs", {})
    if features.ndim != 2 or len(features) != len(track_id) or features.dtype.kind != "f":
        raise InputError(f"{path}: a damaged feature file; delete it and extract again")
    return Features(features.astype(np.float32, copy=False), track_id, inputs)


def write(path: str | Path, features: np.ndarray, track_id: np.ndarray, inputs: dict) -> None:
    """Write a feature file whole."""
    with written_whole(path) as aside, h5py.File(aside, "w") as file:
        file["features"] = np.asarray(features, np.float32)
        file.create_dataset(
            "track_id", data=np.asarray(track_id, object), dtype=h5py.string_dtype()
        )
        file.attrs["made_from"] = provenance.to_json(provenance.record(inputs))
