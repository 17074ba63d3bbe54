"""The report: a single HTML file with all tables, figures, training curves and their provenance.

The page opens from disk and needs no server, network connection or JavaScript.
"""

import base64
import math
from pathlib import Path

import pandas as pd

from evaluation.results import read_results
from papers import pipeline
from report.figures import Figure, draw_figures, draw_training_curves, missing_figures
from report.formatting import write_page
from report.result_tables import (
    ResultTable,
    describe_coverage,
    describe_start,
    find_weights,
    write_all_tables,
)
from report.training_logs import TrainingLog, read_training_logs

PAGES = ("songs*.html", "tracks*.html")


def write_report(folder: Path) -> Path:
    """Write `report.html` and all tables and figures to a results folder.

    The report shows the training runs in `folder`/runs and the commands recorded in
    `folder`/steps.csv and in the results, and links to the track explorer pages (`PAGES`) in the
    folder.

    Examples
    --------
    >>> write_report(Path("results/demo"))  # doctest: +SKIP
    PosixPath('results/demo/report.html')
    """
    results, journal = read_results(folder), pipeline.read_journal(folder)
    logs = read_training_logs(folder / "runs")
    comparison, papers, comparisons = write_all_tables(results, folder)
    figures = draw_figures(results, folder)
    path = folder / "report.html"
    write_page(
        path,
        "report",
        title=f"Results of {folder.resolve().name}",
        papers=[
            _present_paper(describe_coverage(comparison, name), papers[name]) for name in papers
        ],
        comparisons=comparisons,
        figures=[(figure, _data_url(figure)) for figure in figures],
        missing=missing_figures(figures),
        curves=[(figure, _data_url(figure)) for figure in draw_training_curves(logs, folder)],
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
    return path


def _present_paper(coverage: str, tables: list[ResultTable]) -> dict:
    """Divide a paper's tables into those with results of our own and all others."""
    return {
        "coverage": coverage,
        "is_reproduced": any(
            one.table[["paper's", "ours"]].notna().all(axis=1).any() for one in tables
        ),
        "with_ours": [one for one in tables if one.table["ours"].notna().any()],
        "others": [one for one in tables if one.table["ours"].isna().all()],
        "needs": tables[-1].notes,
    }


def _data_url(figure: Figure) -> str:
    svg = figure.path.with_suffix(".svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _tabulate_data(results: pd.DataFrame) -> pd.DataFrame:
    groups = results.groupby(["dataset", "label", "protocol"])["n_songs"]
    table = groups.agg(["min", "max", "size"]).reset_index()
    return table.rename(columns={"min": "fewest tracks", "max": "most tracks", "size": "results"})


def _tabulate_trainings(logs: list[TrainingLog]) -> pd.DataFrame:
    rows = []
    for log in logs:
        losses = log.curves.get("validation", pd.Series(dtype=float))
        scores = {
            "epochs": len(log.curves),
            f"last {log.metric}": log.curves["training"].iloc[-1],
            "lowest validation loss": losses.min(),
            "last validation loss": losses.iloc[-1] if len(losses) else math.nan,
        }
        rows.append({"run": log.name, **log.inputs, **scores, "backend": log.backend})
    return pd.DataFrame(rows).convert_dtypes()


def _tabulate_results(results: pd.DataFrame) -> pd.DataFrame:
    columns = ["protocol", "dataset", "label", "features", "metric", "value", "spread", "trials"]
    seeds = [
        str(_as_dict(_as_dict(record.get("inputs")).get("settings")).get("seed", ""))
        for record in results["made_from"]
    ]
    table = results[[*columns, "n_songs"]].rename(columns={"n_songs": "tracks"})
    return table.assign(training_seed=results["seed"], seed=seeds, file=results["file"])


def _tabulate_weights(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the weights that the results are based on, with their SHA-256 checksums."""
    columns = ["name", "model", "artists", "seed", "sha256", "fine-tuned from"]
    found = find_weights([record.get("inputs") for record in results["made_from"]])
    found = [{**one, "fine-tuned from": describe_start(one)} for one in found]
    table = pd.DataFrame([[one.get(name) for name in columns] for one in found], columns=columns)
    identity = ["name", "sha256"]
    table[identity] = table[identity].map(str, na_action="ignore")  # hashable and sortable
    table = table.drop_duplicates(identity, keep="last")
    if not any(table["fine-tuned from"]):
        table = table.drop(columns="fine-tuned from")
    return table.sort_values("name").rename(columns={"name": "weights"}).convert_dtypes()


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
    """Return a part of a result's record, which may be of any type, or {} if it is not a dict."""
    return value if isinstance(value, dict) else {}
