"""Writers for weights files in the layouts of several Keras versions."""

import h5py
import numpy as np

BLOCK = ("conv1d", "batch_normalization")
VARIABLES = {
    "conv1d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}


def make_layers(
    arrays: list[np.ndarray], first: int = 1, head: list | None = None
) -> list[tuple[str, str, list[np.ndarray]]]:
    """Return (class, name, arrays) per layer in network order, with names numbered from `first`."""
    rest, layers = iter(arrays), []
    for number in range(first, first + 5):
        for kind in BLOCK:
            layers.append((kind, f"{kind}_{number}", [next(rest) for _ in VARIABLES[kind]]))
    return layers + ([("dense", "dense_1", head)] if head else [])


def write_keras2(path, layers: list[tuple], *, root: str | None = "model_weights") -> None:
    """Write the Keras 2 layout, with name lists in attributes."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        # Keras also lists layers without weights.
        group.attrs["layer_names"] = [b"input_1", *(name.encode() for _, name, _ in layers)]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for kind, name, arrays in layers:
            layer_group = group.create_group(name)
            variables = [f"{name}/{variable}:0" for variable in VARIABLES[kind]]
            layer_group.attrs["weight_names"] = [variable.encode() for variable in variables]
            for variable, array in zip(variables, arrays, strict=True):
                layer_group[variable] = array


def write_nested_keras2(path, layers: list[tuple]) -> None:
    """Write a nested Keras 2 model, whose arrays form one flat list with trainable ones first."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"input_1", b"model_1"]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        inner, trainable, moving = group.create_group("model_1"), [], []
        for kind, name, arrays in layers:
            for variable, array in zip(VARIABLES[kind], arrays, strict=True):
                inner[f"{name}/{variable}:0"] = array
                (moving if "moving" in variable else trainable).append(f"{name}/{variable}:0")
        inner.attrs["weight_names"] = [name.encode() for name in trainable + moving]


def write_keras3(path, layers: list[tuple]) -> None:
    """Write the Keras 3 layout, with numbered variables under the layer names and no name lists."""
    with h5py.File(path, "w") as file:
        for _, name, arrays in layers:
            for number, array in enumerate(arrays):
                file[f"layers/{name}/vars/{number}"] = array
        file["optimizer/vars/0"] = np.int64(5)
