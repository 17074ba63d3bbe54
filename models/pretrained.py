"""Encoder weights: files released by the papers' authors, and files from our training runs.

Both are HDF5 files in the Keras 2 layout: a list of layer names, and one group of arrays per layer.
Keras 3 files can be read as well. Layers are identified by their array shapes and their order in
the file, because layer names differ between files (`conv1d_1`, `conv1d_25`). Only arrays are read:
nothing in a file is executed. Reading them needs no Keras; functions that return a model import it.
"""

import contextlib
import itertools
import json
import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from common import hdf5, provenance
from common.download import git_blob_id
from common.errors import InputError
from common.files import file_sha256
from models.architecture import BANDS, BLOCKS, EMBEDDING
from models.released_weights import fetch_released, released_models

if TYPE_CHECKING:
    from models.keras_backend import keras

# Mean and standard deviation of the log-mels on which the released weights were trained (from the
# published ismir2018 code).
RELEASED_MEAN, RELEASED_STD = 0.22620339, 0.25794547
RELEASED_LICENCE = "MIT, Copyright (c) 2018 Jongpil Lee"

_MAX_BYTES = 1 << 28  # limit for all arrays together; about 10 times the largest released model
# Ranks of the arrays of a convolution, a normalisation and a dense layer.
_LAYER_RANKS = ((3, 1), (1, 1, 1, 1), (2, 1))
# Raised by h5py and zipfile for damaged files, and by NumPy and this module for incomplete files.
_DAMAGE_ERRORS = (AttributeError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError)
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Weights:
    """The contents of a weights file."""

    name: str  # of the released model or of the run that wrote the file; otherwise the file's stem
    # Kernel, bias, gamma, beta, moving mean and moving variance of each of the five blocks, and of
    # the encoder "statistics" those of its normalisation and dense layer.
    encoder_arrays: list[np.ndarray]
    head: list[np.ndarray] | None  # [kernel, bias] of the dense layer after the encoder, if any
    mean: float  # mean and standard deviation that normalise the input
    std: float
    provenance: dict  # as recorded in feature files
    trained_on: Sequence[str] = ()  # training artists; empty if unknown, as in the released files
    licence: str | None = None  # of a released file; None if it is unknown
    equal_level: bool = False  # whether the input is scaled to one level, see `models.encoder`

    @property
    def encoder(self) -> str:
        """The kind of the encoder, a key of `models.architecture.ENCODERS`."""
        return "paper" if len(self.encoder_arrays) == 6 * len(BLOCKS) else "statistics"


def load_weights(name_or_path: str, mirror: str | Path | None = None) -> Weights:
    """Read the weights of a released model, or from an .h5 or .keras file.

    Parameters
    ----------
    name_or_path
        Name of a released model, such as `siamese_5000`, or a file path.
    mirror
        Folder that contains the released files (default: the environment variable
        MUSIC_MIRROR). Without a mirror, a file is downloaded once to the user's cache folder.
        The file's content is always verified.
    """
    path = Path(name_or_path)
    released = released_models()
    if str(name_or_path) in released:
        path = fetch_released(str(name_or_path), mirror)
    elif (path / "best.h5").is_file():
        raise InputError(f"{path}: is the folder of a run; name {path / 'best.h5'}")
    elif path.suffix not in (".h5", ".keras"):
        raise InputError(
            f"{name_or_path}: neither an .h5 or .keras file nor a released model; the released "
            f"models are {', '.join(released)}"
        )
    elif not path.is_file():
        raise InputError(f"{path}: no such weights file; check the path")
    return _read_weights(path)


def load_encoder(name_or_path: str, mirror: str | Path | None = None) -> "keras.Model":
    """Return a trained encoder that includes its input normalisation; see `load_weights`.

    It maps log-mels (batch, 129, 128) to embeddings (batch, 256).
    `models.embeddings.extract_embeddings` applies it to whole tracks.

    Examples
    --------
    >>> load_encoder("siamese_5000").output_shape  # doctest: +SKIP
    (None, 256)
    """
    return with_normalisation(load_weights(name_or_path, mirror))


def with_normalisation(weights: Weights) -> "keras.Model":
    """Return the encoder with the given weights, preceded by its input normalisation."""
    from models.encoder import log_mel_model

    encoder, equal_level = encoder_from(weights), weights.equal_level
    return log_mel_model(encoder, weights.mean, weights.std, equal_level=equal_level)


def encoder_from(weights: Weights, **options) -> "keras.Model":
    """Return an encoder with the given weights; the options are those of `build_encoder`."""
    from models.encoder import build_encoder

    encoder = build_encoder(kind=weights.encoder, **options)
    encoder.set_weights(weights.encoder_arrays)
    return encoder


def save_weights(
    path: str | Path,
    model: "keras.Model",
    *,
    mean: float,
    std: float,
    made_from: dict,
    trained_on: Sequence[str] = (),
    equal_level: bool = False,
) -> None:
    """Write a trained model's encoder, and its dense layer if it has one, to a file.

    The layout matches the released files, with additional root attributes `mean`, `std` and
    `made_from` (a provenance record), a dataset `trained_on` with the training artists' names, and
    an attribute `equal_level` where the input is scaled to one level.
    """
    from models.keras_backend import keras

    layers = [layer for layer in model.get_layer("encoder").layers if layer.weights]
    layers += [layer for layer in model.layers if layer.name == "classes"]
    with hdf5.create_file(path) as file:
        file.attrs["mean"], file.attrs["std"] = mean, std
        if equal_level:
            file.attrs["equal_level"] = True
        file.attrs["made_from"] = provenance.to_json(made_from)
        hdf5.write_strings(file, "trained_on", trained_on)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer.name for layer in layers]
        for layer in layers:
            layer_group = group.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0" for variable in layer.weights]
            layer_group.attrs["weight_names"] = names
            for name, variable in zip(names, layer.weights, strict=True):
                layer_group[name] = keras.ops.convert_to_numpy(variable.value)


# ---------------------------------------------------------------- reading files


def _read_weights(path: Path) -> Weights:
    with _open_weights(path) as file:
        encoder_arrays, head = _sort_layers(_read_layers(file), path)
        inputs, mean, std = _read_attributes(file)
        equal_level = bool(file.attrs.get("equal_level", False))
        has_artists = file.id.links.exists(b"trained_on")
        trained_on = list(hdf5.read_strings(file, "trained_on")) if has_artists else []
    blob = git_blob_id(path)
    released = next((row for row in released_models().values() if row["git_blob"] == blob), None)
    model = provenance.describe_model(released or inputs)
    name = model["name"] or path.stem
    record = {**model, "name": name, "sha256": file_sha256(path), "mean": mean, "std": std}
    licence = RELEASED_LICENCE if released else None
    return Weights(name, encoder_arrays, head, mean, std, record, trained_on, licence, equal_level)


@contextlib.contextmanager
def _open_weights(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file, or the one inside a .keras archive; raise `InputError` if damaged."""
    source = path
    try:
        with contextlib.ExitStack() as stack:
            if zipfile.is_zipfile(path) and not h5py.is_hdf5(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                source = Path(folder, "model.weights.h5")
                source.write_bytes(_read_archive(path))
            yield stack.enter_context(hdf5.open_file(source))
    except InputError as error:  # name the user's file instead of the temporary one
        raise InputError(str(error).replace(str(source), str(path))) from error
    except (*_DAMAGE_ERRORS, *_ARCHIVE_ERRORS) as error:
        raise InputError(
            f"{path}: contains no Keras weights, or damaged ones; make or download it again"
        ) from error


def _read_archive(path: Path) -> bytes:
    """Return the weights file in a .keras archive; other archive members are not read."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
        if member.file_size > _MAX_BYTES:
            raise InputError(f"{path}: its weights are larger than those of this encoder can be")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{path}: compressed in a way that Keras does not use; save it again with Keras"
            )
        with archive.open(member) as file:
            # An explicit size prevents zipfile from unpacking more than the archive declares.
            return file.read(member.file_size)


def _read_layers(file: h5py.File) -> list[list[np.ndarray]]:
    """Return each layer's float32 arrays, in file order."""
    if "model_weights" in list(file):
        paths = _keras2_paths(file, "model_weights")
    elif "layer_names" in file.attrs:
        paths = _keras2_paths(file, "")
    elif "layers" in list(file):
        paths = _keras3_paths(file)
    else:  # such as a feature file or a mel cache
        raise InputError(f"{file.filename}: contains no weights of a network; choose another file")
    layers: dict[str, list[np.ndarray]] = {}
    bytes_left = _MAX_BYTES
    for path in paths:
        if hdf5.get_dataset(file, path).dtype.kind != "f":
            raise InputError(f"{file.filename}: {path} contains no floats; choose another file")
        array = hdf5.read_array(file, path, bytes_left)
        bytes_left -= array.nbytes
        with np.errstate(over="ignore"):  # an out-of-range float64 becomes inf, rejected later
            array = array.astype(np.float32)
        # A nested model stores its arrays in one flat list, so the group identifies the layer.
        layers.setdefault(path.rpartition("/")[0], []).append(array)
    return _sort_nested(file, paths, layers)


def _sort_nested(
    file: h5py.File, paths: list[str], layers: dict[str, list[np.ndarray]]
) -> list[list[np.ndarray]]:
    """Return each layer's arrays in the order of the model's layers.

    In a nested model, Keras lists the arrays of frozen layers after those of all others. The order
    of the layers is that of the model's configuration, or else of the numbers in their names.
    """
    names = {path.rpartition("/")[2]: arrays for path, arrays in layers.items()}
    order = _configured_names(file)
    if len(names) == len(layers) <= len(order) and names.keys() <= set(order):
        return [names[name] for name in dict.fromkeys(order) if name in names]
    if len({path.rpartition("/")[0] for path in layers}) == len(layers):  # there is no nested model
        return list(layers.values())
    if all(re.search(r"\d$|^(conv1d|batch_normalization|dense)$", name) for name in names):
        return [names[name] for name in sorted(names, key=_pad_numbers)]
    kinds = "".join("c" if arrays[0].ndim == 3 else "n" for arrays in layers.values())
    runs = Counter(
        layer for layer, _ in itertools.groupby(path.rpartition("/")[0] for path in paths)
    )
    norms = {runs[path] for path, arrays in layers.items() if len(arrays) == 4}
    if len(norms) > 1 or not re.match("(cn){5}", kinds):
        raise InputError(
            f"{file.filename}: was saved with frozen layers, so their order is unknown; save it "
            "again with all layers trainable"
        )
    return list(layers.values())


def _configured_names(file: h5py.File) -> list[str]:
    """Return the names of all layers, also nested ones, in a file's model configuration."""

    def walk(layer: Any) -> Iterator[str]:
        config = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(config, dict):
            yield str(config.get("name"))
            for inner in (*config.get("layers", ()), config.get("layer")):
                yield from walk(inner)

    return list(walk(json.loads(file.attrs.get("model_config", "null"))))


def _keras2_paths(file: h5py.File, root: str) -> list[str]:
    group = hdf5.get_group(file, root)
    return [
        f"{root}/{layer}/{name}"
        for layer in _read_names(group, "layer_names")
        for name in _read_names(hdf5.get_group(group, layer), "weight_names")
    ]


def _read_names(group: h5py.Group, attribute: str) -> list[str]:
    names = group.attrs[attribute]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _keras3_paths(file: h5py.File) -> list[str]:
    """Return the variable paths in natural order; Keras 3 numbers layers and variables."""
    paths: list[str] = []
    hdf5.get_group(file, "layers").visit(paths.append)
    variables = (f"layers/{path}" for path in paths if re.search(r"/vars/\d+$", path))
    return sorted(variables, key=_pad_numbers)


def _pad_numbers(text: str) -> str:
    """Return a text whose alphabetical order is the natural order of its numbers."""
    return re.sub(r"\d+", lambda number: number[0].zfill(9), text)


def _sort_layers(
    layers: list[list[np.ndarray]], path: Path
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Return the encoder's arrays in `Weights` order, and those of the dense layer, if any."""
    by_rank: dict[tuple, list[list[np.ndarray]]] = {ranks: [] for ranks in _LAYER_RANKS}
    for arrays in layers:
        by_rank.setdefault(tuple(array.ndim for array in arrays), []).append(arrays)
    convolutions, norms, dense, *others = by_rank.values()
    statistics = len(norms) > len(BLOCKS)
    if statistics:  # Keras 3 lists the layer of the classes before that of the embedding
        dense.sort(key=lambda arrays: arrays[0].shape[0] != 2 * EMBEDDING)
    shapes = [[array.shape for array in arrays] for arrays in (*convolutions, *norms, *dense)]
    if others or len(dense) > 1 + statistics or shapes != _expected_shapes(dense, statistics):
        raise InputError(f"{path}: its layers differ from this encoder's; choose another file")
    if not all(np.isfinite(array).all() for arrays in layers for array in arrays):
        raise InputError(f"{path}: its weights contain NaN or infinite values; use an earlier file")
    if any((variance < 0).any() for *_, variance in norms):
        raise InputError(f"{path}: has a negative variance, so its arrays are in another order")
    encoder_layers = [layer for block in zip(convolutions, norms, strict=False) for layer in block]
    if statistics:
        encoder_layers += [norms[-1], dense.pop(0)]
    encoder_arrays = [array for arrays in encoder_layers for array in arrays]
    return encoder_arrays, dense[0] if dense else None


def _expected_shapes(dense: list[list[np.ndarray]], statistics: bool) -> list[list[tuple]]:
    """Return the array shapes of the convolutions, normalisations and dense layers, if any."""
    shapes: list[list[tuple]] = []
    channels = BANDS
    for filters, kernel, _ in BLOCKS:
        shapes.append([(kernel, channels, filters), (filters,)])
        channels = filters
    shapes += [[(filters,)] * 4 for filters, _, _ in BLOCKS]
    if statistics:
        shapes += [[(2 * channels,)] * 4, [(2 * channels, EMBEDDING), (EMBEDDING,)]]
    return shapes + [[(EMBEDDING, len(bias)), (len(bias),)] for _, bias in dense[statistics:]]


def _read_attributes(file: h5py.File) -> tuple[dict, float, float]:
    """Return the recorded inputs, mean and std; released files use the published mean and std."""
    if "made_from" not in file.attrs:
        return {}, RELEASED_MEAN, RELEASED_STD
    mean, std = float(file.attrs["mean"]), float(file.attrs["std"])
    if not (np.isfinite(mean) and np.isfinite(std) and std > 0):
        raise InputError(f"{file.filename}: its mean and std cannot normalise; train again")
    inputs: Any = hdf5.read_json_attribute(file, "made_from").get("inputs")
    if not provenance.is_model_record(inputs):
        raise InputError(f"{file.filename}: its attribute 'made_from' is damaged; train again")
    return inputs, mean, std
