"""The report: a single HTML file with all tables, figures, training curves and their provenance.

The page opens from disk and needs no server, network connection or JavaScript.
"""

import base64
from pathlib import Path

import pandas as pd

from common.files import atomic_write
from evaluation.results import read_results
from papers import pipeline
from report.figures import (
    Figure,
    draw_figures,
    draw_training_curves,
    missing_figures,
    write_figure_list,
)
from report.formatting import read_template, render_template
from report.result_tables import ResultTable, describe_coverage, write_all_tables
from report.training_logs import TrainingLog, read_training_logs

PAGES = ("songs*.html", "tracks*.html")


def write_report(folder: Path) -> Path:
    """Write `report.html` and all tables and figures to a results folder.

    The report shows the training runs in `folder`/runs and the commands recorded in
    `folder`/steps.csv and in the results, and links to the track explorer pages (`PAGES`) in the
    folder.

    Raises
    ------
    InputError
        If the folder does not exist or contains a damaged result.

    Examples
    --------
    >>> write_report(Path("results/demo"))  # doctest: +SKIP
    PosixPath('results/demo/report.html')
    """
    results, journal = read_results(folder), pipeline.read_journal(folder)
    tables = write_all_tables(results, folder)
    figures = draw_figures(results, folder)
    write_figure_list(figures, folder)
    logs = read_training_logs(folder / "runs")
    curves = draw_training_curves(logs, folder)
    page = render_template(
        "report.html",
        title=f"Results of {folder.resolve().name}",
        style=read_template("report.css"),
        papers=[
            (describe_coverage(tables.comparison, paper), of_paper)
            for paper, of_paper in tables.papers.items()
        ],
        comparisons=tables.others,
        figures=[(figure, _data_url(figure)) for figure in figures],
        missing=missing_figures(figures),
        curves=[(figure, _data_url(figure)) for figure in curves],
        provenance=[
            ResultTable("data", "Evaluated tracks", _tabulate_data(results)),
            ResultTable("weights", "Weights", _tabulate_weights(results)),
            ResultTable("runs", "Training runs", _tabulate_trainings(logs)),
            ResultTable("results", "Results", _tabulate_results(results)),
            ResultTable("versions", "Library versions", _tabulate_versions(results)),
        ],
        commands=list(dict.fromkeys([*journal, *results["command"].dropna()])),
        pages=sorted(path.name for kind in PAGES for path in folder.glob(kind)),
    )
    path = folder / "report.html"
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")
    return path


def _data_url(figure: Figure) -> str:
    svg = figure.path.with_suffix(".svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


# ---------------------------------------------------------------- provenance


def _tabulate_data(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the number of tracks evaluated per dataset and protocol."""
    groups = results.groupby(["dataset", "label", "protocol"])["n_songs"]
    table = groups.agg(["min", "max", "size"]).reset_index()
    return table.rename(columns={"min": "fewest tracks", "max": "most tracks", "size": "results"})


def _tabulate_trainings(logs: list[TrainingLog]) -> pd.DataFrame:
    """Tabulate the inputs and final loss of each training run."""
    rows = []
    for log in logs:
        validation = log.curves.get("validation", pd.Series(dtype=float))
        row = {
            "run": log.name,
            "model": log.inputs.get("model", log.kind),
            "artists": log.inputs.get("artists"),
            "tracks of the cache": log.inputs.get("cache", {}).get("tracks"),
            "seed": log.inputs.get("settings", {}).get("seed"),
            "epochs": len(log.curves),
            f"last {log.metric}": log.curves["training"].iloc[-1],
            "lowest validation loss": validation.min(),
            "backend": log.record.get("backend", ""),
        }
        rows.append(row)
    return pd.DataFrame(rows).convert_dtypes()


def _tabulate_results(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate every result, with its seeds and the name of its JSON file."""
    columns = ["protocol", "dataset", "label", "features", "metric", "value", "spread", "trials"]
    seeds = [
        str(_as_dict(_as_dict(record.get("inputs")).get("settings")).get("seed", ""))
        for record in results["made_from"]
    ]
    table = results[[*columns, "n_songs"]].rename(columns={"n_songs": "tracks"})
    return table.assign(training_seed=results["seed"], seed=seeds, file=results["file"])


def _tabulate_weights(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the weights that the results are based on, with their SHA-256 checksums."""
    columns = ["name", "model", "artists", "seed", "sha256"]
    weights = [
        {column: one.get(column) for column in columns}
        for record in results["made_from"]
        for one in _find_weights(record.get("inputs"))
    ]
    table = pd.DataFrame(weights, columns=columns)
    identity = ["name", "sha256"]
    table[identity] = table[identity].map(str, na_action="ignore")  # hashable and sortable
    table = table.drop_duplicates(identity, keep="last")
    return table.sort_values("name").rename(columns={"name": "weights"}).convert_dtypes()


def _find_weights(inputs: object) -> list[dict]:
    """Return all records named `weights` in the inputs of a result, at any depth."""
    if isinstance(inputs, list):
        return [weights for one in inputs for weights in _find_weights(one)]
    if not isinstance(inputs, dict):
        return []
    weights = [inputs["weights"]] if isinstance(inputs.get("weights"), dict) else []
    return weights + _find_weights([value for key, value in inputs.items() if key != "weights"])


def _tabulate_versions(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the number of results per library version."""
    rows = [
        (library, str(version))
        for record in results["made_from"]
        for library, version in _as_dict(record.get("versions")).items()
    ]
    table = pd.DataFrame(rows, columns=["library", "version"])
    counts = table.value_counts(sort=False).rename("results").reset_index()
    return counts.sort_values(["library", "results"], ascending=[True, False])


def _as_dict(value: object) -> dict:
    """Return a part of a result's record; result files with parts of other types are shown too."""
    return value if isinstance(value, dict) else {}
