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
    record: dict  # contents of run.json; {} if there is none

    @property
    def inputs(self) -> dict:
        """Inputs of the training run, from its record."""
        return self.record.get("inputs", {})


def read_training_logs(folder: Path) -> list[TrainingLog]:
    """Read the logs of all training runs in a folder; return [] if the folder does not exist.

    Raises
    ------
    InputError
        If a log or a record is damaged.
    """
    logs = []
    for path in sorted(folder.glob("*/log.csv")) + sorted(folder.glob("*/networks/log.csv")):
        record, table = _read_record(path.with_name("run.json")), _read_log(path, "epoch", "loss")
        name = path.relative_to(folder).parts[0]
        kind = record.get("inputs", {}).get("model", name).split()[0].split("_")[0]
        table = table.set_index("epoch").rename(
            columns={"loss": "training", "val_loss": "validation"}
        )
        curves = table[table.columns.intersection(["training", "validation"])]
        logs.append(TrainingLog(name, kind, curves, "loss", record))
    for path in sorted(folder.glob("*/ivector.csv")):
        table = _read_log(path, "model", "log_likelihood")
        for model, group in table.groupby("model", sort=False):
            curves = pd.DataFrame({"training": group["log_likelihood"].to_numpy()})
            curves.index += 1
            logs.append(TrainingLog(path.parent.name, str(model), curves, LIKELIHOOD, {}))
    return logs


def _read_record(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        inputs = record.get("inputs", {})
        parts = [inputs, *(inputs.get(name, {}) for name in ("cache", "settings"))]
        if not all(isinstance(part, dict) for part in parts):
            raise ValueError("a part is not an object")
        if not inputs.get("model", path.parent.name).split():
            raise ValueError("the model has no name")
        return record
    except (AttributeError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not the record of a training run; {_REMEDY}") from error


def _read_log(path: Path, *columns: str) -> pd.DataFrame:
    """Read a log as a table whose numbers are floats."""
    try:
        table = pd.read_csv(path)
        if not len(table[list(columns)]):
            raise ValueError("no epoch")
        return table.astype({name: float for name in table if name != "model"})
    except (KeyError, ValueError) as error:  # pandas' errors are ValueErrors
        raise InputError(f"{path}: not the log of a training run; {_REMEDY}") from error
