"""Provenance: a record, stored with each output file, of the inputs it was made from.

A record is {"inputs": …, "versions": …}. The inputs determine whether an existing output can be
reused. The versions are informational only: upgrading a library keeps completed outputs valid.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path

from common.errors import InputError
from common.files import add_suffix

_PACKAGES = "numpy scipy librosa soundfile soxr keras tensorflow jax torch scikit-learn essentia"


def make_record(inputs: dict) -> dict:
    """Return the record for an output made from `inputs` (JSON values) by this installation."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"inputs": inputs, "versions": versions}


def to_json(record: dict) -> str:
    """Return a record as JSON text for an HDF5 attribute or a sidecar file."""
    return json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True)


def list_differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """List the values that differ between two sets of inputs, as `name: old -> new`."""
    differences = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            differences += list_differences(before, after, f"{prefix}{key}.")
        elif before != after:
            texts = (json.dumps(value, ensure_ascii=False) for value in (before, after))
            texts = (text if len(text) <= 40 else text[:37] + "…" for text in texts)
            differences.append(f"{prefix}{key}: {' -> '.join(texts)}")
    return differences


def require_same(path: str | Path, old: dict, new: dict) -> None:
    """Raise `InputError` if the existing output at `path` was made from different inputs."""
    differences = list_differences(old, new)
    if differences:
        raise InputError(
            f"{path}: already there, made from other inputs ({'; '.join(differences)}); "
            "choose another --out, or delete it to make it again"
        )


def describe_model(inputs: dict) -> dict:
    """Return what the records of a model's outputs state about its training run.

    These are the run's `name`, `model`, number of `artists` and `seed`; each is None if unknown.
    Fine-tuned weights also have `start_from`, the name and SHA-256 digest of the initial weights,
    and no number of artists, because they were trained on those of the initial weights as well.
    """
    settings = inputs.get("settings")
    seed = settings.get("seed") if isinstance(settings, dict) else None
    known = {key: inputs.get(key) for key in ("name", "model", "artists")}
    known["seed"] = seed if isinstance(seed, int) else None
    start = inputs.get("start_from")
    if isinstance(start, dict):
        initial = {key: start.get(key) for key in ("name", "sha256")}
        known |= {
            "model": f"{known['model']} fine-tuned",
            "artists": None,
            "start_from": initial,
        }
    return known


def is_model_record(record: object) -> bool:
    """Return whether a value is a summary as returned by `describe_model`, with valid types."""
    kinds = {"name": str, "model": str, "artists": int, "seed": int, "start_from": dict}
    return isinstance(record, dict) and all(
        isinstance(record.get(name), kind | None) for name, kind in kinds.items()
    )


def sidecar_path(path: str | Path) -> Path:
    """Return the path `NAME.json` of the record for a file that cannot store attributes."""
    return add_suffix(Path(path), ".json")


def read_sidecar(path: str | Path) -> dict:
    """Return the sidecar record for the file `path`, or an empty one if there is no sidecar."""
    try:
        record = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        return record if isinstance(record.get("inputs"), dict) else {"inputs": {}}
    except FileNotFoundError:
        return {"inputs": {}}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{sidecar_path(path)}: not a provenance record ({error}); delete it and {path}"
        ) from error


def digest_rows(rows: Iterable[Iterable[str]]) -> str:
    """Return a hexadecimal SHA-256 digest that identifies rows of text."""
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update("\0".join((*row, "")).encode("utf-8", "surrogatepass"))
    return sha256.hexdigest()
