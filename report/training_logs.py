"""Training logs: the learning curves and inputs of each training run in a folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common.errors import InputError

LIKELIHOOD = "log-likelihood"
_REMEDY = "delete its folder, or train again"


@dataclass(frozen=True)
class TrainingLog:
    """The log of a training run.

    `curves` has one row per epoch or iteration, numbered from 1, and the columns "training" and,
    if the run had validation tracks, "validation".
    """

    name: str  # name of the run folder
    kind: str  # "basic", "siamese", "stn", "ubm" …
    curves: pd.DataFrame
    metric: str  # "loss" or `LIKELIHOOD`
    inputs: dict  # model, artists, tracks of the cache and seed; None if unknown
    backend: str = ""


def read_training_logs(folder: Path) -> list[TrainingLog]:
    """Read the logs of all training runs in a folder; return [] if the folder does not exist."""
    logs = []
    for path in sorted(folder.glob("*/log.csv")) + sorted(folder.glob("*/networks/log.csv")):
        name = path.relative_to(folder).parts[0]
        table = _read_log(path, "epoch", "loss").set_index("epoch")
        table = table.rename(columns={"loss": "training", "val_loss": "validation"})
        curves = table[table.columns.intersection(["training", "validation"])]
        record = path.with_name("run.json")
        try:
            content = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
            kind = content.get("inputs", {}).get("model", name).split()[0].split("_")[0]
            inputs, backend = _select_inputs(content, kind), content.get("backend", "")
        except (AttributeError, IndexError, RecursionError, ValueError) as error:
            raise InputError(f"{record}: not the record of a training run; {_REMEDY}") from error
        logs.append(TrainingLog(name, kind, curves, "loss", inputs, backend))
    for path in sorted(folder.glob("*/ivector.csv")):
        table = _read_log(path, "model", "log_likelihood")
        for model, group in table.groupby("model", sort=False):
            curves = pd.DataFrame({"training": group["log_likelihood"].to_numpy()})
            curves.index += 1
            inputs = _select_inputs({}, str(model))
            logs.append(TrainingLog(path.parent.name, str(model), curves, LIKELIHOOD, inputs))
    return logs


def _select_inputs(record: dict, model: str) -> dict:
    inputs = record.get("inputs", {})
    return {
        "model": inputs.get("model", model),
        "artists": inputs.get("artists"),
        "tracks of the cache": inputs.get("cache", {}).get("tracks"),
        "seed": inputs.get("settings", {}).get("seed"),
    }


def _read_log(path: Path, *columns: str) -> pd.DataFrame:
    """Read a log as a table whose numbers are floats."""
    try:
        table = pd.read_csv(path)
        if not len(table[list(columns)]):
            raise ValueError("no epoch")
        return table.astype({name: float for name in table if name != "model"})
    except (KeyError, ValueError) as error:  # pandas' errors are ValueErrors
        raise InputError(f"{path}: not the log of a training run; {_REMEDY}") from error
