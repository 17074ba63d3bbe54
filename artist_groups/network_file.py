"""Trained agf2018 networks in one HDF5 file, such as runs/NAME/RUN/model.h5.

| dataset | shape, dtype | content |
|---|---|---|
| networks/TASK/LAYER/VARIABLE | float32 | weights of a task's network |
| mlp/LAYER/VARIABLE | float32 | classifier weights, once trained |
| decibels/mean, decibels/std | (128,) | statistics that standardise the input |
| genres | (classes,) str | classes of the MLP and of the genre network (task g) |
| trained_on | (artists,) str | names of the training artists |

Root attributes: `format`; `tasks`, the one-letter task codes; `width`, the filter count multiplier;
`made_from` (JSON). The shared first block of an MTN is stored with each of its networks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from artist_groups import group_networks
from artist_groups.group_networks import BANDS, FEATURE, build_mlp, build_network
from artist_groups.task_sets import sort_tasks
from common import hdf5, provenance
from common.errors import InputError
from common.files import file_sha256
from models.keras_backend import keras

FORMAT = "artist labels agf2018 1"
_MAX_WIDTH = 16.0  # far above the width of any wSTN, which is less than its number of tasks


@dataclass(frozen=True, eq=False)
class GroupNetworks:
    """Trained networks with everything needed to apply them."""

    networks: Mapping[str, keras.Model]  # {task: network on standardised decibels}, as in TASKS
    width: float  # filter count multiplier; differs from 1 only for a wSTN
    mean: np.ndarray  # (128,), of each band in decibels; so is std
    std: np.ndarray
    genres: Sequence[str]
    trained_on: Sequence[str]  # names of the training artists
    mlp: keras.Model | None = None  # classifier on the concatenated features, once trained

    @property
    def model(self) -> keras.Model:
        """Model mapping log-mel crops (batch, 43, 128) to features and any MLP probabilities."""
        networks = list(self.networks.values())
        return group_networks.build_feature_model(networks, self.mean, self.std, self.mlp)


def save_networks(path: str | Path, content: GroupNetworks, made_from: dict) -> None:
    """Write networks and their provenance record atomically."""
    with hdf5.create_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["tasks"] = "".join(content.networks)
        file.attrs["width"] = float(content.width)
        file.attrs["made_from"] = provenance.to_json(made_from)
        file["decibels/mean"], file["decibels/std"] = content.mean, content.std
        hdf5.write_strings(file, "genres", content.genres)
        hdf5.write_strings(file, "trained_on", content.trained_on)
        models = {f"networks/{task}": network for task, network in content.networks.items()}
        if content.mlp is not None:
            models["mlp"] = content.mlp
        for group, model in models.items():
            for name, variable in _named_variables(model):
                file[f"{group}/{name}"] = keras.ops.convert_to_numpy(variable.value)


def load_networks(path: str | Path) -> GroupNetworks:
    """Read networks from a file; raise `InputError` if it has another format or is damaged."""
    with _open(path) as file:
        _read_inputs(file)
        tasks = hdf5.read_attribute(file, "tasks", str)
        width = hdf5.read_attribute(file, "width", float)
        mean, std = (hdf5.read_array(file, f"decibels/{name}") for name in ("mean", "std"))
        genres, trained_on = (list(hdf5.read_strings(file, n)) for n in ("genres", "trained_on"))
        bands_fit = mean.shape == std.shape == (BANDS,) and np.isfinite([mean, std]).all()
        # Limit the width, so that a corrupt value cannot make `build_network` exhaust the memory.
        is_valid = bands_fit and (std > 0).all() and 0 < width <= _MAX_WIDTH
        if not tasks or tasks != sort_tasks(tasks) or not is_valid:
            raise _damage_of(file)
        networks = {}
        for task in tasks:
            group = hdf5.get_group(file, f"networks/{task}")
            bias = hdf5.read_array(group, "classes/bias")
            filters = group_networks.count_filters(width)
            names = [f"conv{number}/bias" for number in range(1, 1 + len(filters))]
            shapes = [hdf5.get_dataset(group, name).shape for name in names]
            if shapes != [(count,) for count in filters] or bias.ndim != 1:
                raise _damage_of(file)
            networks[task] = _fill(build_network(len(bias), width=width), group)
        mlp = None
        if "mlp" in file:
            mlp = _fill(build_mlp(len(tasks) * FEATURE, len(genres)), hdf5.get_group(file, "mlp"))
    return GroupNetworks(networks, width, mean, std, genres, trained_on, mlp)


def read_network_inputs(path: str | Path) -> dict:
    """Return the inputs a network file was made from; raise `InputError` if it is invalid."""
    with _open(path) as file:
        return _read_inputs(file)


def describe_networks(path: str | Path) -> dict:
    """Return the description of a network file that is recorded in files made with it."""
    return {**provenance.describe_model(read_network_inputs(path)), "sha256": file_sha256(path)}


def _open(path: str | Path) -> h5py.File:
    hint = "not a file of agf2018's networks; make one with train_agf.py"
    return hdf5.open_format(path, FORMAT, hint)


def _read_inputs(file: h5py.File) -> dict:
    inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
    if not isinstance(inputs, dict) or not provenance.is_model_record(inputs):
        raise _damage_of(file)
    return inputs


def _fill(model: keras.Model, group: h5py.Group) -> keras.Model:
    for name, variable in _named_variables(model):
        array = hdf5.read_array(group, name)
        valid = array.shape == tuple(variable.shape) and np.isfinite(array).all()
        if not valid or (name.endswith("variance") and (array < 0).any()):
            raise _damage_of(group.file)
        variable.assign(array.astype(np.float32))
    return model


def _named_variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yield all weights with their LAYER/VARIABLE names, including those of the first block."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _named_variables(layer)
        else:
            for variable in layer.weights:
                yield f"{layer.name}/{variable.name}", variable


def _damage_of(file: h5py.File) -> InputError:
    return InputError(f"{file.filename}: damaged; delete it and make it again with train_agf.py")
