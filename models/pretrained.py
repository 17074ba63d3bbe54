"""Encoder weights: the authors' released files, and our own.

Both are HDF5 in the layout of Keras 2: a list of layer names, and for each
layer a group with its arrays. They are read as arrays only, told apart by
their shapes and taken in their order, for names vary from file to file
(`conv1d_1`, `conv1d_25` …). Nothing in a file is ever executed, its model
configuration least of all.
"""

import contextlib
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common import hdf5, provenance
from common.download import git_blob_id
from common.errors import InputError
from common.files import file_sha256
from models.basic import build_basic
from models.encoder import BANDS, BLOCKS, FEATURE, build_encoder, log_mel_model
from models.keras_backend import keras
from models.released_weights import fetch_released, released_models

# Of the training songs of the released weights (ismir2018's published code).
RELEASED_MEAN, RELEASED_STD = 0.22620339, 0.25794547

_KINDS = {(3, 1): "conv", (1, 1, 1, 1): "norm", (2, 1): "dense"}  # by dimensions of the arrays
_LARGEST = 1 << 28  # bytes of all arrays together; the largest released model has a tenth of it
# What h5py and zipfile raise over a damaged file, and numpy and we over one that lacks something.
_DAMAGE = (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Weights:
    """What a weights file holds, ready to be put into an encoder.

    Attributes
    ----------
    name
        The registry's name, that of the run which made the file, or the file's stem.
    encoder_arrays
        Kernel, bias, gamma, beta, moving mean, moving variance, five times over.
    head
        [kernel, bias] of the dense layer after the encoder, or None.
    mean, std
        The scalars that its input is normalised with.
    provenance
        What a feature file says of it: name, sha256, model, artists, seed.
    trained_on
        The names of the artists that it was trained on; none where they are not known,
        as of the released files.
    """

    name: str
    encoder_arrays: list[np.ndarray]
    head: list[np.ndarray] | None
    mean: float
    std: float
    provenance: dict
    trained_on: Sequence[str] = ()


def load_weights(name_or_path: str, mirror: str | Path | None = None) -> Weights:
    """Read weights by registry name (`siamese_5000`) or from an .h5 or .keras file.

    A name is looked up in the mirror folder (this argument, or the environment
    variable MUSIC_MIRROR), else downloaded once into the user's cache folder;
    either way its git blob id is verified.

    Raises
    ------
    InputError
        Unknown name, no network, content other than published, damaged file,
        or a network that is not this encoder.
    """
    path = Path(name_or_path)
    known = released_models()
    if str(name_or_path) in known:
        path = fetch_released(str(name_or_path), mirror)
    elif path.suffix not in (".h5", ".keras"):
        raise InputError(
            f"{name_or_path}: neither an .h5 or .keras file nor a released model; "
            f"released are {', '.join(known)}"
        )
    elif not path.is_file():
        raise InputError(f"{path}: no such weights file; check the path")
    return _read(path)


def load_encoder(name_or_path: str, mirror: str | Path | None = None) -> keras.Model:
    """The encoder with these weights: (batch, 129, 128) plain log-mel -> (batch, 256).

    `models.embeddings.extract_embeddings` takes it to whole tracks; see `load` for the arguments.
    """
    loaded = load_weights(name_or_path, mirror)
    return log_mel_model(encoder_from(loaded), loaded.mean, loaded.std)


def encoder_from(weights: Weights, **settings) -> keras.Model:
    """An encoder of normalised log-mel carrying the weights; `build_encoder` has the settings."""
    encoder = build_encoder(**settings)
    encoder.set_weights(weights.encoder_arrays)
    return encoder


def classifier_from(weights: Weights) -> keras.Model:
    """The whole basic model of a file that has its softmax layer, taking plain log-mel.

    Raises
    ------
    InputError
        The file holds an encoder alone.
    """
    if weights.head is None:
        raise InputError(f"{weights.name}: holds no classes, only an encoder")
    kernel, bias = weights.head
    activation = "sigmoid" if weights.provenance.get("model") == "tag" else "softmax"
    model = build_basic(
        encoder_from(weights), len(bias), activation, mean=weights.mean, std=weights.std
    )
    model.get_layer("classes").set_weights([kernel, bias])
    return model


def save_weights(
    path: str | Path,
    model: keras.Model,
    *,
    mean: float,
    std: float,
    made_from: dict,
    trained_on: Sequence[str] = (),
) -> None:
    """Write a trained model's encoder, and its dense layer if it has one, whole.

    The layout is the released files' own; what they lack stands in root
    attributes: `mean`, `std` and the provenance record `made_from`; and in the dataset
    `trained_on`, the artists' names.
    """
    layers = [layer for layer in model.get_layer("encoder").layers if layer.weights]
    layers += [layer for layer in model.layers if layer.name == "classes"]
    with hdf5.create_file(path) as file:
        file.attrs["mean"], file.attrs["std"] = mean, std
        file.attrs["made_from"] = provenance.to_json(made_from)
        hdf5.write_strings(file, "trained_on", trained_on)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer.name for layer in layers]
        for layer in layers:
            arrays = {
                f"{layer.name}/{variable.name}:0": keras.ops.convert_to_numpy(variable.value)
                for variable in layer.weights
            }
            own = group.create_group(layer.name)
            own.attrs["weight_names"] = list(arrays)
            for name, array in arrays.items():
                own[name] = array


# ---------------------------------------------------------------- reading files


def _read(path: Path) -> Weights:
    with _hdf5_of(path) as file:
        kernels, norms, dense = _by_shape(_layers(file), path)
        inputs, mean, std = _own_attributes(file)
        own = file.id.links.exists(b"trained_on")
        trained_on = hdf5.read_strings(file, "trained_on") if own else ()
    blob = git_blob_id(path)
    published = next((row for row in released_models().values() if row["git_blob"] == blob), None)
    known = provenance.describe_model(published or inputs)
    origin = {
        **known,
        "name": known["name"] or path.stem,
        "sha256": file_sha256(path),
        "mean": mean,
        "std": std,
    }
    blocks = [array for pair in zip(kernels, norms, strict=True) for both in pair for array in both]
    return Weights(origin["name"], blocks, dense, mean, std, origin, trained_on)


@contextlib.contextmanager
def _hdf5_of(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file itself, or the one inside a .keras archive; damage becomes an InputError."""
    try:
        if h5py.is_hdf5(path) or not zipfile.is_zipfile(path):
            with hdf5.open_file(path) as file:
                yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder, "model.weights.h5")
            unpacked.write_bytes(_archived(path))
            try:
                with hdf5.open_file(unpacked) as file:
                    yield file
            except InputError as error:  # names what it read, which the user never saw
                raise InputError(str(error).replace(str(unpacked), str(path))) from error
    except _DAMAGE as error:
        raise InputError(
            f"{path}: holds no Keras weights, or damaged ones; make or download it again"
        ) from error


def _archived(path: Path) -> bytes:
    """The weights in a .keras archive, of which nothing else is read, and no name followed."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
        if member.file_size > _LARGEST:
            raise InputError(f"{path}: its weights are larger than this encoder's can be")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path}: is compressed as Keras never does; save it again with Keras")
        with archive.open(member) as file:
            # Asked for all of it, zipfile would not stop at the declared size but unpack 2 GiB.
            return file.read(member.file_size)


def _layers(file: h5py.File) -> list[list[np.ndarray]]:
    """The float32 arrays of each layer, layers of one kind in their order."""
    if "model_weights" in list(file):
        paths = _keras2_paths(file, "model_weights")
    elif _attributes(file, "layer_names"):
        paths = _keras2_paths(file, "")
    else:
        paths = _keras3_paths(file)
    layers: dict[str, list[np.ndarray]] = {}
    room = _LARGEST  # for all: a file of many arrays must not declare that much for each
    for path in paths:
        if hdf5.get_dataset(file, path).dtype.kind != "f":
            raise InputError(f"{file.filename}: {path} holds no floats; it is another network")
        array = hdf5.read_array(file, path, room)
        room -= array.nbytes
        with np.errstate(over="ignore"):  # a float64 too large becomes inf, which is refused
            array = array.astype(np.float32)
        # A model inside a model lists its arrays flat: the layer is the folder they lie in.
        layers.setdefault(path.rpartition("/")[0], []).append(array)
    return list(layers.values())


def _keras2_paths(file: h5py.File, root: str) -> list[str]:
    group = hdf5.get_group(file, root)
    return [
        f"{root}/{layer}/{name}"
        for layer in _names(group, "layer_names")
        for name in _names(hdf5.get_group(group, layer), "weight_names")
    ]


def _attributes(group: h5py.Group, attribute: str) -> list[str]:
    """NAME, or what Keras spreads a list too long for one attribute over: NAME0, NAME1 …"""
    return sorted(
        (key for key in group.attrs if re.fullmatch(rf"{attribute}\d*", key)), key=_natural
    )


def _names(group: h5py.Group, attribute: str) -> list[str]:
    parts = _attributes(group, attribute)
    if not parts:
        raise KeyError(attribute)
    found = [name for key in parts for name in group.attrs[key]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _keras3_paths(file: h5py.File) -> list[str]:
    """Keras 3 numbers layers by class and variables by number, and keeps no list of them."""
    found: list[str] = []
    hdf5.get_group(file, "layers").visit(found.append)
    arrays = (f"layers/{name}" for name in found if re.search(r"/vars/\d+$", name))
    return sorted(arrays, key=_natural)


def _natural(text: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def _by_shape(layers: list[list[np.ndarray]], path: Path) -> tuple[list, list, list | None]:
    """Sort layers into the encoder's convolutions, its normalisations, and a dense layer."""
    kinds = {"conv": [], "norm": [], "dense": []}
    for arrays in layers:
        kind = _KINDS.get(tuple(array.ndim for array in arrays))
        if kind is None:
            raise InputError(f"{path}: has a layer that this encoder lacks; it is another network")
        kinds[kind].append(arrays)
    count = len(BLOCKS)
    if [len(found) for found in kinds.values()] not in ([count, count, 0], [count, count, 1]):
        raise InputError(f"{path}: has another number of layers than this encoder")
    found = [[array.shape for array in arrays] for found in kinds.values() for arrays in found]
    if found != _expected_shapes(kinds["dense"]):
        raise InputError(f"{path}: its layers have other shapes than this encoder's; see the paper")
    if not all(np.isfinite(array).all() for arrays in layers for array in arrays):
        raise InputError(f"{path}: holds weights that are not finite numbers; take an earlier file")
    if any((variance < 0).any() for *_, variance in kinds["norm"]):
        raise InputError(f"{path}: holds a negative variance; its arrays are in another order")
    return kinds["conv"], kinds["norm"], next(iter(kinds["dense"]), None)


def _expected_shapes(dense: list[list[np.ndarray]]) -> list[list[tuple]]:
    """Of the convolutions, the normalisations, and of a dense layer with any number of outputs."""
    filters = [count for count, _, _ in BLOCKS]
    return [
        *(
            [(kernel, before, after), (after,)]
            for (after, kernel, _), before in zip(BLOCKS, [BANDS, *filters], strict=False)
        ),
        *([(count,)] * 4 for count in filters),
        *([(FEATURE, len(bias)), (len(bias),)] for _, bias in dense),
    ]


def _own_attributes(file: h5py.File) -> tuple[dict, float, float]:
    """The inputs, mean and std that `save` wrote; a file without was normalised as the released."""
    if "made_from" not in file.attrs:
        return {}, RELEASED_MEAN, RELEASED_STD
    mean, std = float(file.attrs["mean"]), float(file.attrs["std"])
    if not (np.isfinite(mean) and np.isfinite(std) and std > 0):
        raise InputError(f"{file.filename}: its mean and std are no numbers to normalise with")
    inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
    if not provenance.is_model_record(inputs):
        raise InputError(f"{file.filename}: its attribute 'made_from' is damaged; train again")
    return inputs, mean, std
