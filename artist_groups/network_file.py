"""The networks of agf2018 in one HDF5 file: what takes a log-mel to features and genres.

| in the file | shape, dtype | what |
|---|---|---|
| networks/TASK/LAYER/VARIABLE | float32 | the weights of each task's network |
| mlp/LAYER/VARIABLE | float32 | those of the classifier on their features, once it is trained |
| decibels/mean, decibels/std | (128,) | what the input is standardised with |
| genres | (classes,) str | what the MLP tells apart, and the network of the task g |
| trained_on | (artists,) str | whose songs they were trained on |

Root attributes: `format`; `tasks`, their letters; `width`, the factor of the numbers of
filters; `made_from` (JSON). An MTN's first block stands in each of its networks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from artist_groups import group_networks, task_sets
from common import hdf5, provenance
from common.errors import InputError
from common.files import file_sha256
from models.keras_backend import keras

FORMAT = "artist labels agf2018 1"
_WIDEST = 16.0  # of what is read, so that no file can ask for more memory than there is


@dataclass(frozen=True, eq=False)
class GroupNetworks:
    """Trained networks, ready to be used.

    Attributes
    ----------
    networks
        {task: network on standardised decibels}, in the order of `agf_runs.TASKS`.
    width
        Of all of them; 1 but for a wSTN.
    mean, std
        (128,) float, of the bands in decibels.
    genres
        (classes,) str.
    mlp
        None before it is trained.
    trained_on
        The names of the artists whose songs trained them.
    """

    networks: Mapping[str, keras.Model]
    width: float
    mean: np.ndarray
    std: np.ndarray
    genres: Sequence[str]
    trained_on: Sequence[str]
    mlp: keras.Model | None = None

    @property
    def model(self) -> keras.Model:
        """Log-mel crops (batch, 43, 128) -> features and, with an MLP, probabilities beside."""
        return group_networks.build_feature_model(
            list(self.networks.values()), self.mean, self.std, self.mlp
        )


def save_networks(path: str | Path, made: GroupNetworks, made_from: dict) -> None:
    """Write networks whole; `made_from` is their provenance record."""
    with hdf5.create_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["tasks"] = "".join(made.networks)
        file.attrs["width"] = float(made.width)
        file.attrs["made_from"] = provenance.to_json(made_from)
        file["decibels/mean"], file["decibels/std"] = made.mean, made.std
        hdf5.write_strings(file, "genres", made.genres)
        hdf5.write_strings(file, "trained_on", made.trained_on)
        parts = {f"networks/{task}": network for task, network in made.networks.items()}
        if made.mlp is not None:
            parts["mlp"] = made.mlp
        for part, network in parts.items():
            for name, variable in _variables(network):
                file[f"{part}/{name}"] = keras.ops.convert_to_numpy(variable.value)


def read_network_inputs(path: str | Path) -> dict:
    """What a file of networks was made from.

    Raises
    ------
    InputError
        No such file, or one of something else.
    """
    with _opened(path) as file:
        return _inputs(file)


def load_networks(path: str | Path) -> GroupNetworks:
    """Read networks.

    Raises
    ------
    InputError
        No such file, a file of something else, or a damaged one.
    """
    with _opened(path) as file:
        _inputs(file)
        tasks, width = (
            hdf5.read_attribute(file, "tasks", str),
            hdf5.read_attribute(file, "width", float),
        )
        if tasks != task_sets.sort_tasks(tasks) or not tasks:
            raise _damaged(path)
        mean, std = (hdf5.read_array(file, f"decibels/{name}") for name in ("mean", "std"))
        for values in (mean, std):
            if values.shape != (group_networks.BANDS,) or not np.isfinite(values).all():
                raise _damaged(path)
        if not 0 < width <= _WIDEST or (std <= 0).any():
            raise _damaged(path)
        genres, trained_on = (
            list(hdf5.read_strings(file, name)) for name in ("genres", "trained_on")
        )
        networks = {
            task: _network(hdf5.get_group(file, f"networks/{task}"), width) for task in tasks
        }
        mlp = None
        if file.id.links.exists(b"mlp"):
            mlp = group_networks.build_mlp(len(tasks) * group_networks.FEATURE, len(genres))
            _fill(mlp, hdf5.get_group(file, "mlp"))
    return GroupNetworks(networks, width, mean, std, genres, trained_on, mlp)


def describe_networks(path: str | Path) -> dict:
    """What a feature file says of the networks that made it."""
    return {**provenance.describe_model(read_network_inputs(path)), "sha256": file_sha256(path)}


def _opened(path: str | Path) -> h5py.File:
    other = "holds no networks of agf2018; make them with train_agf.py"
    return hdf5.open_format(path, FORMAT, other)


def _inputs(file: h5py.File) -> dict:
    inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
    if not provenance.is_model_record(inputs):
        raise _damaged(file.filename)
    return inputs


def _network(group: h5py.Group, width: float) -> keras.Model:
    """A task's network. What it is to be built of is seen in the arrays before it is built."""
    biases = [hdf5.get_dataset(group, f"conv{number}/bias").shape for number in range(1, 8)]
    outputs = hdf5.read_array(group, "classes/bias")
    kernel = hdf5.read_array(group, "classes/kernel")
    if biases != [(count,) for count in group_networks.count_filters(width)] or kernel.shape != (
        group_networks.FEATURE,
        *outputs.shape,
    ):
        raise _damaged(group.file.filename)
    network = group_networks.build_network(len(outputs), width=width)
    _fill(network, group)
    return network


def _fill(network: keras.Model, group: h5py.Group) -> None:
    for name, variable in _variables(network):
        array = hdf5.read_array(group, name)
        if array.shape != tuple(variable.shape) or not np.isfinite(array).all():
            raise _damaged(group.file.filename)
        if name.endswith("variance") and (array < 0).any():
            raise _damaged(group.file.filename)
        variable.assign(array.astype(np.float32))


def _variables(network: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Each weight as LAYER/VARIABLE; those of a first block among them."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _variables(layer)
        else:
            for variable in layer.weights:
                yield f"{layer.name}/{variable.name}", variable


def _damaged(path: str | Path) -> InputError:
    return InputError(f"{path}: damaged networks of agf2018; train them again")
