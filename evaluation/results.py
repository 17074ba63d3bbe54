"""Protocol results, stored by `evaluate.py --json` as one JSON file per result."""

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from common import provenance
from common.errors import InputError
from common.files import atomic_write

# Keys used in the details of a result.
BY_ENROLMENT = "by enrolment songs"  # metric value per number of enrolment tracks
TSNE_MAP = "map"  # lists "x", "y" and "label" with one entry per track
DET_CURVE = "DET"  # lists of "false alarm" and "miss" rates

LARGEST = 1e12  # limit for the magnitude of a number in a result
FRACTIONS = ("map", "accuracy", "auc", "eer")  # metrics that range from 0 to 1
DTYPES = {"value": "float64", "spread": "float64"}
DTYPES |= dict.fromkeys(("trials", "n_songs", "artists", "seed"), "Int64")
# The columns that identify a result.
KEY = ["protocol", "metric", "dataset", "label", "features"]


def accuracy_by(label: str) -> str:
    """Return the key of the accuracy per value of a label column, from k-NN and linear softmax."""
    return f"accuracy of each {label}"


class Evaluation(NamedTuple):
    """The scores that a protocol computed."""

    metric: str
    values: list[float]  # one per trial
    n_tracks: int  # number of tracks evaluated
    details: dict  # further results as JSON values; the numbers among them are printed

    def format_details(self) -> list[str]:
        """Return one line for each number in the details: "name value" or "name row value"."""
        lines = []
        for name, value in self.details.items():
            table = value if isinstance(value, dict) else {"": value}
            for row, number in table.items():
                if isinstance(number, float | int):
                    text = f"{number:.4f}" if isinstance(number, float) else f"{number:,}"
                    lines.append(" ".join([name, *([row] if row else []), text]))
        return lines


@dataclass(frozen=True)
class Result:
    """A result and its description; the attribute names are the keys in the JSON file."""

    protocol: str
    metric: str
    value: float | int  # mean over the trials
    spread: float | int | None  # standard deviation over the trials
    trials: int | None
    n_songs: int  # number of tracks evaluated
    dataset: str  # stem of the split file
    label: str  # name of the label column in the split
    features: str  # name of the features
    model: str  # type of the model that produced the features, such as "siamese"
    artists: int | None  # number of training artists
    made_from: dict  # provenance record
    seed: int | None = None  # training seed; results that differ in the seed alone are averaged
    variant: str | None = None  # options that differ from the paper's, such as "enrol=2"
    command: str | None = None
    details: dict = field(default_factory=dict)


def _check_result(result: Result) -> None:
    """Raise `ValueError` if an attribute has the wrong type or is out of range."""
    for attribute in dataclasses.fields(result):
        value = getattr(result, attribute.name)
        valid = isinstance(value, attribute.type)  # type: ignore[arg-type]
        if not valid or (isinstance(value, float | int) and not _is_number(value)):
            raise ValueError(f"{attribute.name!r} is {str(value)[:40]!r}")
    counts = (result.trials, result.n_songs, result.artists)
    if any(count is not None and count < 1 for count in counts) or (result.spread or 0) < 0:
        raise ValueError("a count is below 1, or the standard deviation is negative")
    if result.metric in FRACTIONS and not 0 <= result.value <= 1:
        raise ValueError(f"{result.metric} is {result.value}, not from 0 to 1")
    for name in (result.protocol, result.dataset, result.label):  # used in file names
        if Path(name).name != name or "\\" in name:
            raise ValueError(f"{name!r} is not a plain name")
    _check_details(result.details, result.label)
    if result.protocol == "tsne" and not result.details.get(TSNE_MAP, {}).get("x"):
        raise ValueError("the map of t-SNE is missing")


def _check_details(details: dict, label: str) -> None:
    """Raise an exception unless tables and figures can be made from the details."""
    by_enrolment = details.get(BY_ENROLMENT, {})
    curve = details.get(DET_CURVE, {"false alarm": [], "miss": []})
    tsne = details.get(TSNE_MAP, {"x": [], "y": [], "label": []})
    rates = [details.get("macro_f1", 0.0), *details.get(accuracy_by(label), {}).values()]
    points = zip(curve["false alarm"], curve["miss"], strict=True)
    places = zip(tsne["x"], tsne["y"], tsne["label"], strict=True)
    if not (
        all(_is_number(rate, 0, 1) for rate in (*rates, *chain.from_iterable(points)))
        and all(map(_is_number, by_enrolment.values()))
        and all(re.fullmatch("[0-9]{1,6}", tracks) for tracks in by_enrolment)
        and all(_is_number(x) and _is_number(y) and isinstance(name, str) for x, y, name in places)
    ):
        raise ValueError("damaged details")


def _is_number(value: object, lowest: float = -LARGEST, highest: float = LARGEST) -> bool:
    """Return whether a value is a number in a range; booleans and NaN are not."""
    return type(value) in (float, int) and lowest <= value <= highest  # type: ignore[operator]


RESULT_COLUMNS = [attribute.name for attribute in dataclasses.fields(Result)]
_REQUIRED = [
    attribute.name
    for attribute in dataclasses.fields(Result)
    if attribute.default is attribute.default_factory is dataclasses.MISSING
]
_DAMAGE_ERRORS = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


def write_result(path: Path, result: Result) -> None:
    """Write a result to a JSON file."""
    with atomic_write(path) as temporary:
        temporary.write_text(provenance.to_json(vars(result)), encoding="utf-8")


def read_result(path: Path) -> Result:
    """Read a result written by `evaluate.py --json`; raise `InputError` if it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError("not an object")
        missing = [name for name in _REQUIRED if name not in document]
        if missing:
            raise ValueError(f"{missing[0]!r} is missing")
        result = Result(**{name: document[name] for name in RESULT_COLUMNS if name in document})
        if (old := accuracy_by("genre")) in result.details:  # in earlier versions, for any label
            result.details[accuracy_by(result.label)] = result.details.pop(old)
        _check_result(result)
        json.dumps(document, ensure_ascii=False).encode()  # refuses surrogates, as do all outputs
    except _DAMAGE_ERRORS as error:
        raise InputError(
            f"{path}: not a result of evaluate.py ({error}); move it out of the folder, or delete "
            "it and make it again with evaluate.py --json"
        ) from error
    return result


def read_results(folder: str | Path) -> pd.DataFrame:
    """Read all results in a folder into a table with one row per `*.json` file.

    The columns are the attributes of `Result` and `file`, the file name. Files that are not results
    or contain the same result raise `InputError`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that evaluate.py --json wrote to")
    rows = [
        {**vars(read_result(path)), "file": path.name} for path in sorted(folder.glob("*.json"))
    ]
    results = pd.DataFrame(rows, columns=[*RESULT_COLUMNS, "file"]).astype(DTYPES)
    for _, duplicates in results.groupby(KEY):
        if len(duplicates) > 1:
            raise InputError(
                f"{folder}: {' and '.join(duplicates['file'])} contain the same result "
                f"({' '.join(duplicates.iloc[0][KEY])}); remove all but one"
            )
    return results


def average_over_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Average the results of training runs that differ only in the seed.

    Results are averaged if they share the protocol, metric, dataset, label, model, number of
    artists and variant. A result without a seed (from released weights, for example) is never
    averaged. If two results of such a group have the same seed, none of the group is averaged.

    The new column `over` states what the standard deviation `spread` was computed over, such as
    "3 seeds" or "10 trials". `n_songs` is the minimum over the averaged results.
    """
    rows = []
    same = ["protocol", "metric", "dataset", "label", "model", "artists", "variant"]
    repeated = results.duplicated([*same, "seed"], keep=False) & results["seed"].notna()
    ambiguous = repeated.groupby([results[name] for name in same], dropna=False).transform("any")
    separate = results["features"].where(results["seed"].isna() | ambiguous, "").rename("separate")
    for _, group in results.groupby([*same, separate], sort=False, dropna=False):
        first, several = group.iloc[0], len(group) > 1
        trials = "" if pd.isna(first["trials"]) else f"{first['trials']} trials"
        merged = {
            "value": group["value"].mean(),
            "spread": group["value"].std(ddof=0) if several else first["spread"],
            "over": f"{len(group)} seeds" if several else trials,
            "features": merge_names(group["features"]),
            "n_songs": group["n_songs"].min(),
        }
        rows.append({**first, **merged})
    dtypes = {name: dtype for name, dtype in DTYPES.items() if name in results}
    return pd.DataFrame(rows, columns=[*results.columns, "over"]).astype(dtypes)


def format_with_deviation(value: float, deviation: float, digits: int = 4) -> str:
    """Format as "value ± deviation", or as the value alone if the deviation is NaN."""
    return f"{value:.{digits}f}" + ("" if pd.isna(deviation) else f" ± {deviation:.{digits}f}")


def merge_names(names: Iterable[str]) -> str:
    """Merge names that differ only after their last underscore, such as "basic_60_{0,1}".

    Any others are joined with spaces.
    """
    names = sorted(names)
    stems = {name.rpartition("_")[0] for name in names}
    if len(names) == 1 or len(stems) > 1 or "" in stems:
        return " ".join(names)
    return f"{stems.pop()}_{{{','.join(name.rpartition('_')[2] for name in names)}}}"
