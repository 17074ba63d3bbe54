"""The trainings of a folder of runs: what each was made from, and how its loss went."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common.errors import InputError

LIKELIHOOD = "log-likelihood"


@dataclass(frozen=True)
class TrainingLog:
    """A training.

    Attributes
    ----------
    name
        That of its folder below the folder of runs.
    kind
        "basic", "siamese", "stn", "ubm" …: those of one kind are drawn together.
    curves
        A row an epoch or iteration, from 1; columns "training" and, where there was
        validation, "validation".
    measure
        What the curves are of: "loss", or `LIKELIHOOD`.
    record
        What it says of itself (`run.json`): inputs, versions, backend; {} while it is
        unfinished.
    """

    name: str
    kind: str
    curves: pd.DataFrame
    measure: str
    record: dict

    @property
    def inputs(self) -> dict:
        """What it was made from, JSON values."""
        inputs = self.record.get("inputs", {})
        return inputs if isinstance(inputs, dict) else {}


def read_training_logs(folder: Path) -> list[TrainingLog]:
    """All trainings in a folder of runs, of networks and of i-vector extractors; none is no fault.

    Raises
    ------
    InputError
        A log or a record is damaged.
    """
    found = []
    for log in sorted(folder.glob("*/log.csv")) + sorted(folder.glob("*/networks/log.csv")):
        record, table = _record(log.with_name("run.json")), _read(log, ["epoch", "loss"])
        name = log.relative_to(folder).parts[0]
        columns = {"loss": "training", "val_loss": "validation"}
        curves = table.set_index("epoch").rename(columns=columns)
        curves = curves[[each for each in columns.values() if each in curves]]
        found.append(TrainingLog(name, _kind(record, name), curves, "loss", record))
    for log in sorted(folder.glob("*/ivector.csv")):
        table = _read(log, ["model", "log_likelihood"])
        for model, of_one in table.groupby("model", sort=False):
            values = of_one["log_likelihood"].reset_index(drop=True).rename("training")
            curves = values.set_axis(range(1, len(values) + 1)).to_frame()
            found.append(TrainingLog(log.parent.name, str(model), curves, LIKELIHOOD, {}))
    return found


def _kind(record: dict, name: str) -> str:
    inputs = record.get("inputs")
    model = inputs.get("model") if isinstance(inputs, dict) else None
    return str(model or name).split()[0].split("_")[0]


def _record(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(
            f"{path}: no record of a training; delete its folder, or make it again"
        ) from error
    return record if isinstance(record, dict) else {}


def _read(log: Path, columns: list[str]) -> pd.DataFrame:
    """A log, its numbers as floats."""
    try:
        table = pd.read_csv(log)
        if not len(table[columns]):
            raise ValueError("no epoch")
        numbers = table.columns.difference(["model"])
        return table.astype(dict.fromkeys(numbers, float))
    except (KeyError, OSError, ValueError) as error:  # pandas' errors are ValueErrors
        raise InputError(
            f"{log}: not the log of a training; delete its folder, or make it again"
        ) from error
