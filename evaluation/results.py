"""Results: what `evaluate.py --json` keeps of a protocol, one JSON file each.

A *result* is a dict with the keys of `FIELDS`:

    protocol  "retrieval", "knn", "linear", …    metric    "map", "accuracy", "auc" or "eer"
    value     the score                          spread    standard deviation over trials, or null
    trials    how many, or null                  n_songs   how many songs were judged
    dataset   the split file's stem              label     the split's column, such as "genre"
    features  the features' name                 model     "siamese", "basic", "tag", "mfcc", ...
    artists   artists trained on, or null        made_from what the number was made from, a dict

and, where there is more to tell, with those of `OPTIONAL`:

    seed      of the training that made the features; of several, their results are averaged
    variant   options that set it apart from the papers' protocol, such as "enrol=2"
    command   that made the result
    details   a dict: more numbers, by the names below
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

import pandas as pd

from common import provenance
from common.errors import InputError
from common.files import atomic_write

NUMBER, COUNT, MAYBE = (int, float), (int,), (type(None),)
FIELDS = {
    "protocol": (str,),
    "metric": (str,),
    "value": NUMBER,
    "spread": NUMBER + MAYBE,
    "trials": COUNT + MAYBE,
    "n_songs": COUNT,
    "dataset": (str,),
    "label": (str,),
    "features": (str,),
    "model": (str,),
    "artists": COUNT + MAYBE,
    "made_from": (dict,),
}
OPTIONAL = {"seed": COUNT + MAYBE, "variant": (str, *MAYBE), "command": (str, *MAYBE)}
BY_ENROLMENT = "by enrolment songs"  # of the one-shot protocol
ACCURACY_BY_LABEL = "accuracy of each genre"  # of knn and linear; or of each of another label
TSNE_MAP = "map"  # of tsne: "x", "y" and "label" of each song
COUNTS = ("trials", "n_songs", "artists")
RATES = ("map", "accuracy", "auc", "eer")
LARGEST = 1e12  # of any number in a result
DTYPES = {
    "value": "float64",
    "spread": "float64",
    "trials": "Int64",
    "n_songs": "Int64",
    "artists": "Int64",
    "seed": "Int64",
}

# What names a result.
RESULT = ["protocol", "metric", "dataset", "label", "features"]


class Evaluation(NamedTuple):
    """The outcome of a protocol.

    Attributes
    ----------
    metric : str
        Name of the metric.
    values : list of float
        Its value in each trial.
    n_tracks : int
        Number of tracks evaluated.
    details : dict
        Further results, JSON values; those that are numbers are printed.
    """

    metric: str
    values: list[float]
    n_tracks: int
    details: dict

    def format_details(self) -> list[str]:
        """Return one line per number in the details, "name value" or "name row value"."""
        lines = []
        for name, value in self.details.items():
            table = value if isinstance(value, dict) else {"": value}
            for row, number in table.items():
                if isinstance(number, float | int):
                    text = f"{number:.4f}" if isinstance(number, float) else f"{number:,}"
                    lines.append(" ".join([name, *([row] if row else []), text]))
        return lines


def write_result(path: Path, result: dict) -> None:
    """Keep a result in a file, whole."""
    with atomic_write(path) as aside:
        aside.write_text(provenance.to_json(result), encoding="utf-8")


def read_results(folder: str | Path) -> pd.DataFrame:
    """All results of a folder, a row a `*.json` file: `FIELDS`, `OPTIONAL`, `details` and `file`.

    Other keys are left out, and so are files of other names. An empty folder gives an
    empty table.

    Raises
    ------
    InputError
        The folder does not exist; a JSON file is no result; two files hold the
        same result.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that evaluate.py --json wrote to")
    rows = [{**read_result(path), "file": path.name} for path in sorted(folder.glob("*.json"))]
    columns = [*FIELDS, *OPTIONAL, "details", "file"]
    results = pd.DataFrame(rows, columns=columns).astype(DTYPES)
    for _, same in results.groupby(RESULT):
        if len(same) > 1:
            raise InputError(
                f"{folder}: {' and '.join(same['file'])} hold the same result "
                f"({' '.join(same.iloc[0][RESULT])}); remove all but one"
            )
    return results


def read_result(path: Path) -> dict:
    """What `read_results` has of one file, or an `InputError` that says why not."""
    remedy = "move it out of the folder, or delete it and make it again with evaluate.py --json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as JSON ({reason}); {remedy}") from error
    if not isinstance(result, dict):
        raise InputError(f"{path}: not a result but a {type(result).__name__}; {remedy}")
    result = {**dict.fromkeys(OPTIONAL), **result}
    for key, kinds in {**FIELDS, **OPTIONAL}.items():
        if key not in result:
            raise InputError(f"{path}: not a result, it lacks {key!r}; {remedy}")
        value = result[key]
        # Python counts True among the integers and reads NaN from JSON; neither is a score.
        wrong = isinstance(value, bool) or not isinstance(value, kinds)
        wrong = wrong or (key in COUNTS and value is not None and value < 1)
        wrong = wrong or (key == "spread" and value is not None and value < 0)
        wrong = wrong or (key == "value" and result["metric"] in RATES and not 0 <= value <= 1)
        wrong = wrong or (isinstance(value, str) and re.search("[\ud800-\udfff]", value))
        if wrong or (isinstance(value, NUMBER) and not abs(value) < LARGEST):
            raise InputError(f"{path}: not a result, {key!r} is {str(value)[:40]!r}; {remedy}")
    for key in ("protocol", "dataset", "label"):  # which files are named by
        if PurePath(result[key]).name != result[key] or "\\" in result[key]:
            raise InputError(f"{path}: not a result, {key!r} is {result[key]!r}; {remedy}")
    details = result.get("details", {})
    told = isinstance(details, dict) and _as_told(details)
    if not told or (result["protocol"] == "tsne" and not details.get(TSNE_MAP, {}).get("x")):
        raise InputError(f"{path}: not a result, its details are damaged; {remedy}")
    return {**{key: result[key] for key in (*FIELDS, *OPTIONAL)}, "details": details}


def _as_told(details: dict) -> bool:
    """Whether the details that tables and figures use are what `evaluate.py` writes."""
    curve = details.get("DET", {"false alarm": [], "miss": []})
    by, each = details.get(BY_ENROLMENT, {}), details.get(ACCURACY_BY_LABEL, {})
    plane = details.get(TSNE_MAP, {"x": [], "y": [], "label": []})
    return (
        _rates([details.get("macro_f1", 0.0)])
        and isinstance(by, dict)
        and all(re.fullmatch(r"[0-9]{1,6}", songs) for songs in by)
        and all(isinstance(value, float) for value in by.values())
        and isinstance(each, dict)
        and _rates(list(each.values()))
        and isinstance(curve, dict)
        and all(_rates(curve.get(name)) for name in ("false alarm", "miss"))
        and len(curve["false alarm"]) == len(curve["miss"])
        and isinstance(plane, dict)
        and all(_all_of(plane.get(axis), float, LARGEST) for axis in ("x", "y"))
        and _all_of(plane.get("label"), str)
        and len(plane["x"]) == len(plane["y"]) == len(plane["label"])
    )


def _rates(values: object) -> bool:
    return _all_of(values, float, 1) and all(value >= 0 for value in values)


def _all_of(values: object, kind: type, most: float | None = None) -> bool:
    """Whether these are a list of one kind, of numbers none beyond `most`; NaN is."""
    return isinstance(values, list) and all(
        isinstance(value, kind) and (most is None or abs(value) <= most) for value in values
    )


def average_over_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Results in which trainings that differ in their seed alone are one: their mean.

    They are of one model, number of artists, dataset, label, measure and variant. `spread`
    is then over the seeds, and `over` says what a spread is over, "3 seeds" or "10 trials"; of
    `n_songs` it is the fewest. Of weights whose seed is not known, as of the released ones, or
    is that of others too, each stands for itself.
    """
    rows = []
    same = ["protocol", "metric", "dataset", "label", "model", "artists", "variant"]
    again = results.duplicated([*same, "seed"], keep=False) & results["seed"].notna()
    # What differs in more than the seed is not averaged, nor is what it would be averaged with.
    twice = again.groupby([results[name] for name in same], dropna=False).transform("any")
    alone = results["features"].where(results["seed"].isna() | twice, "").rename("alone")
    for _, group in results.groupby([*same, alone], sort=False, dropna=False):
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
    kinds = {name: kind for name, kind in DTYPES.items() if name in results}
    return pd.DataFrame(rows, columns=[*results.columns, "over"]).astype(kinds)


def format_with_deviation(value: float, spread: float, digits: int = 4) -> str:
    """A value as "mean ± deviation", or alone where that is not known."""
    return f"{value:.{digits}f}" + ("" if pd.isna(spread) else f" ± {spread:.{digits}f}")


def merge_names(names: Iterable[str]) -> str:
    """Names that differ after their last _ alone as one, basic_60_{0,1,2}; others side by side."""
    names = sorted(names)
    starts = {name.rpartition("_")[0] for name in names}
    if len(names) == 1 or len(starts) > 1 or "" in starts:
        return " ".join(names)
    return f"{starts.pop()}_{{{','.join(name.rpartition('_')[2] for name in names)}}}"


def require_one_dataset(results: pd.DataFrame, source: str | Path) -> None:
    """Raise `InputError`, naming `source`, unless all results are of one dataset and label."""
    kinds = sorted(set(zip(results["dataset"], results["label"], strict=True)))
    if len(kinds) != 1:
        raise InputError(
            f"{source}: one dataset and label are shown at a time, the results have "
            f"{kinds or 'none'}; keep those of each in a folder of their own"
        )
