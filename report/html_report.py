"""The report: one page, of one file, of all results of a folder.

Tables, figures, training curves, and what all of it was made from. It opens from a disk, with
no server, no network and no script; what is in it is data, and nothing of it is interpreted.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common.files import atomic_write
from evaluation.results import read_results
from papers import pipeline
from report import figures
from report.formatting import read_template, render_template
from report.result_tables import ResultTable, describe_coverage, write_all_tables
from report.training_logs import TrainingLog, read_training_logs


@dataclass(frozen=True)
class Picture:
    """A figure as the page has it: its caption, which of a paper's it is, and the SVG as a URL."""

    caption: str
    of_paper: str
    url: str


def write_report(folder: Path) -> Path:
    """Write `report.html` into a folder of results, and all tables and figures beside it.

    Training curves are of the runs in its folder `runs`, commands those of `reproduce.py` in
    its `steps.csv`, and of results besides. Pages of songs in the folder are linked.

    Raises
    ------
    InputError
        No such folder, or a result in it is damaged.
    """
    results, journal = read_results(folder), pipeline.read_journal(folder)
    made = write_all_tables(results, folder)
    drawn = figures.draw_figures(results, folder)
    figures.write_figure_list(drawn, folder)
    runs = read_training_logs(folder / "runs")
    of_runs = figures.draw_training_curves(runs, folder)
    page = render_template(
        "report.html",
        title=f"Results of {folder.resolve().name}",
        style=read_template("report.css"),
        papers=[(describe_coverage(made.beside, name), one) for name, one in made.papers.items()],
        sheets=made.others,
        pictures=[_picture(one) for one in drawn],
        missing=figures.missing_figures(drawn),
        curves=[_picture(one) for one in of_runs],
        provenance=[
            ResultTable("data", "Songs that were judged", _table_of_data(results)),
            ResultTable("weights", "Weights", _table_of_weights(results)),
            ResultTable("runs", "Trainings", _table_of_runs(runs)),
            ResultTable("results", "Results", _table_of_results(results)),
            ResultTable("versions", "Versions of libraries", _table_of_versions(results)),
        ],
        commands=list(dict.fromkeys([*journal, *results["command"].dropna()])),
        pages=sorted(path.name for path in folder.glob("songs*.html")),
    )
    with atomic_write(folder / "report.html") as aside:
        aside.write_text(page, encoding="utf-8", newline="\n")
    return folder / "report.html"


def _picture(drawn: figures.Figure) -> Picture:
    svg = base64.b64encode(drawn.path.with_suffix(".svg").read_bytes()).decode()
    return Picture(drawn.caption, drawn.of_paper, f"data:image/svg+xml;base64,{svg}")


# ---------------------------------------------------------------- provenance


def _table_of_data(results: pd.DataFrame) -> pd.DataFrame:
    """How many songs were judged of each dataset, by what."""
    columns = ["dataset", "label", "protocol"]
    told = results.groupby(columns)["n_songs"].agg(["min", "max", "size"]).reset_index()
    return told.rename(columns={"min": "fewest songs", "max": "most songs", "size": "results"})


def _table_of_runs(runs: list[TrainingLog]) -> pd.DataFrame:
    """What each training was and came to."""
    rows = []
    for one in runs:
        cache, settings = _dict(one.inputs.get("cache")), _dict(one.inputs.get("settings"))
        row = {
            "run": one.name,
            "model": one.inputs.get("model", one.kind),
            "artists": one.inputs.get("artists"),
            "tracks of the cache": cache.get("tracks"),
            "seed": settings.get("seed"),
            "epochs": len(one.curves),
            f"last {one.measure}": one.curves["training"].iloc[-1],
            "lowest validation loss": one.curves.get("validation", pd.Series(dtype=float)).min(),
            "backend": one.record.get("backend", ""),
        }
        rows.append(row)
    return pd.DataFrame(rows).convert_dtypes()


def _table_of_results(results: pd.DataFrame) -> pd.DataFrame:
    """Every result that the tables are made of, with its seeds and the file that has the rest."""
    settings = [_dict(_dict(made.get("inputs")).get("settings")) for made in results["made_from"]]
    columns = ["protocol", "dataset", "label", "features", "metric", "value", "spread", "trials"]
    table = results[[*columns, "n_songs"]].rename(columns={"n_songs": "songs"})
    seeds = [str(one.get("seed", "")) for one in settings]
    return table.assign(training_seed=results["seed"], seed=seeds, file=results["file"])


def _table_of_weights(results: pd.DataFrame) -> pd.DataFrame:
    """The weights that the results are of, with the sha256 of each."""
    found = {}
    for made in results["made_from"]:
        for one in _weights_in(made.get("inputs")):
            found[str(one.get("name")), str(one.get("sha256"))] = one
    columns = ["model", "artists", "seed", "sha256"]
    rows = [[name, *map(one.get, columns)] for (name, _), one in found.items()]
    table = pd.DataFrame(rows, columns=["weights", *columns]).sort_values("weights")
    return table.convert_dtypes()


def _weights_in(inputs: object) -> list[dict]:
    """All records named `weights` in what something was made from."""
    if isinstance(inputs, list):
        return [one for each in inputs for one in _weights_in(each)]
    inputs = _dict(inputs)
    own = [inputs["weights"]] if isinstance(inputs.get("weights"), dict) else []
    return own + _weights_in([each for key, each in inputs.items() if key != "weights"])


def _table_of_versions(results: pd.DataFrame) -> pd.DataFrame:
    """The libraries that made the results, each version with how many of them it made."""
    made = [
        (str(name), str(version))
        for one in results["made_from"]
        for name, version in _dict(one.get("versions")).items()
    ]
    counts = pd.Series(made, dtype=object).value_counts()
    rows = [(name, version, count) for (name, version), count in counts.items()]
    return pd.DataFrame(rows, columns=["library", "version", "results"]).sort_values("library")


def _dict(value: object) -> dict:
    """A part of a record as a dict, which it is in what this package has written."""
    return value if isinstance(value, dict) else {}
