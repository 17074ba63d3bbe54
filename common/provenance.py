"""What made a file: asked before making it again, written into it afterwards.

Every output carries a record {"inputs": …, "versions": …}. Inputs decide
whether an output may stand; versions are kept for the reader only, so that a
library upgrade does not make a finished cache unusable.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path

from common.errors import InputError

_PACKAGES = (
    "numpy",
    "scipy",
    "librosa",
    "soundfile",
    "soxr",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "scikit-learn",
    "essentia",
)


def make_record(inputs: dict) -> dict:
    """The provenance of an output made now from `inputs` (JSON values only)."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"inputs": inputs, "versions": versions}


def to_json(made: dict) -> str:
    """A record as the JSON text that goes into an attribute or a sidecar."""
    return json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True)


def list_differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Name each value in which two input records differ, as `name: old -> new`."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += list_differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {_short(before)} -> {_short(after)}")
    return found


def require_same(path: str | Path, old: dict, new: dict) -> None:
    """Raise `InputError` unless the output at `path` was made from inputs `new`."""
    changed = list_differences(old, new)
    if changed:
        raise InputError(
            f"{path}: already there, made from other inputs ({'; '.join(changed)}); "
            "choose another --out, or delete it to make it again"
        )


def describe_model(inputs: dict) -> dict:
    """What the inputs of a training say of its model, for what the model makes in its turn.

    `name`, `model` and `artists`, and the `seed` by which several trainings are told apart;
    None where it is not said.
    """
    settings = inputs.get("settings")
    seed = settings.get("seed") if isinstance(settings, dict) else None
    return {
        **{key: inputs.get(key) for key in ("name", "model", "artists")},
        "seed": seed if isinstance(seed, int) else None,
    }


def is_model_record(made: object) -> bool:
    """Whether a record read from a file says what made it in the types that are relied upon."""
    kinds = {"name": str, "model": str, "artists": int, "seed": int}
    return isinstance(made, dict) and all(
        isinstance(made.get(name), kind | None) for name, kind in kinds.items()
    )


def sidecar_path(path: str | Path) -> Path:
    """Where the record of a file that has no attributes of its own stands."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def read_sidecar(path: str | Path) -> dict:
    """The record beside `path`, or an empty one where there is none."""
    try:
        found = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        return found if isinstance(found.get("inputs"), dict) else {"inputs": {}}
    except FileNotFoundError:
        return {"inputs": {}}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{sidecar_path(path)}: not a provenance record ({error}); delete it and {path}"
        ) from error


def digest_rows(rows: Iterable[Iterable[str]]) -> str:
    """Hex sha256 that identifies rows of text."""
    made = hashlib.sha256()
    for row in rows:
        made.update("\0".join((*row, "")).encode("utf-8", "surrogatepass"))
    return made.hexdigest()


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"
