"""Figures drawn from a results folder, and what the papers' remaining figures still need."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from artist_groups import task_scores
from common.files import add_suffix, atomic_write
from evaluation.results import TSNE_MAP, average_over_seeds, read_results
from papers.paper_tables import select_paper_numbers
from report import plots
from report.result_tables import (
    SCORES,
    enrolment_scores,
    group_by_artists,
    label_accuracies,
    recognition_at_most_artists,
    separate_released,
)
from report.training_logs import TrainingLog

logger = logging.getLogger(__name__)

# The papers' result figures: what each shows, its number, and the results that it needs.
_PAPER_FIGURES = """\
retrieval by genre: ismir2018, Figure 2: retrieval on features for several artist counts
knn by genre: ismir2018, Figure 3: knn on features for several artist counts
linear by genre: ismir2018, Figure 4: linear on features for several artist counts
accuracies by label: ismir2018, Figure 5: knn or linear on basic and on siamese features
tsne by artist: ismir2018, Figure 6: tsne --label artist --max-labels 22
tsne by genre: ismir2018, Figure 7: tsne --label genre
verification by artist: arxiv2017, Figure 2: verification on systems for several artist counts
identification by artist: arxiv2017, Figure 3: identification on systems for several artist counts
tsne by artist after LDA: arxiv2017, Figure 4: \
tsne --label artist --max-labels 22 on features after LDA
tsne by genre after LDA: arxiv2017, Figure 5: tsne --label genre on features after LDA
genre by tasks: agf2018, Figure 3: genre on networks for several task counts"""
_ROWS = [row.split(": ") for row in _PAPER_FIGURES.splitlines()]
NUMBERS = {shows: number for shows, number, _ in _ROWS}
NEEDS = {number: f"evaluate.py {need}" for _, number, need in _ROWS}


@dataclass(frozen=True)
class Figure:
    """A figure drawn as PNG (at `path`) and SVG, and the figure in a paper that it reproduces."""

    path: Path
    caption: str
    paper_figure: str = ""


def draw_figures(results: pd.DataFrame, folder: Path) -> list[Figure]:
    """Draw all figures of the results in a folder, as PNG and SVG, and list them in figures.csv."""
    figures = []
    results = separate_released(results)

    def draw(name: str, caption: str, plot: Callable, *data: object, shows: str = "") -> None:
        path = add_suffix(folder / name, ".png")
        plot(*data, path)
        figures.append(Figure(path, caption, NUMBERS.get(shows, "")))

    scores = average_over_seeds(results[results["protocol"].isin(SCORES)])
    for (dataset, label), group in scores.groupby(["dataset", "label"]):
        caption = f"MAP and accuracies of {label} on {dataset} by features"
        draw(f"{dataset}_{label}", caption, plots.plot_scores_by_features, group)
    for name, caption, group in group_by_artists(results):
        if group["artists"].notna().any():
            protocol, label = group[["protocol", "label"]].iloc[0]
            data, shows = (group, select_paper_numbers(group)), f"{protocol} by {label}"
            draw(name, caption, plots.plot_scores_by_artists, *data, shows=shows)
    for name, caption, table in label_accuracies(results):
        if len(table) <= plots.MAX_BARS:
            data, shows = (table, caption), "accuracies by label"
            draw(name, caption, plots.plot_accuracies_by_label, *data, shows=shows)
    for protocol, dataset, label, group in recognition_at_most_artists(results):
        title = f"{protocol} by {label} on {dataset}"
        if protocol == "verification":
            caption = f"{title}: misses against false alarms"
            draw(f"det_{dataset}_{label}", caption, plots.plot_det_curves, group)
        table = enrolment_scores(group)
        if len(table):
            name = f"{protocol}_by_enrolment_{dataset}_{label}"
            caption, metric = f"{title}, by number of enrolment tracks", group["metric"].iloc[0]
            draw(name, caption, plots.plot_scores_by_enrolment, table, metric, title)
    for _, result in results[results["protocol"].eq("tsne")].iterrows():
        dataset, label, features = result[["dataset", "label", "features"]]
        tsne = result["details"][TSNE_MAP]
        plane, labels = np.column_stack([tsne["x"], tsne["y"]]), np.array(tsne["label"], object)
        title = f"{dataset} by {label}: {features}"
        name = f"tsne_{label}_{_safe_name(features)}_{dataset}"
        caption = f"{result['n_songs']} tracks of {dataset} by {label}, t-SNE of {features}"
        shows = f"tsne by {label}{' after LDA' * ('with LDA' in result['model'])}"
        draw(name, caption, plots.plot_track_map, plane, labels, title, shows=shows)
    for dataset, trainings in task_scores.select_trainings(results).groupby("dataset"):
        title, name = f"genre on {dataset}", f"by_tasks_{dataset}"
        table = task_scores.average_by_number(trainings)
        caption = f"{title} by number of tasks"
        draw(name, caption, plots.plot_scores_by_tasks, table, title, shows="genre by tasks")
    rows = [(figure.path.name, figure.caption, figure.paper_figure) for figure in figures]
    for number, need in missing_figures(figures).items():
        rows.append(("", f"not drawn; it needs {need}", number))
    with atomic_write(folder / "figures.csv") as partial:
        pd.DataFrame(rows, columns=["file", "caption", "of_paper"]).to_csv(partial, index=False)
    return figures


def draw_training_curves(logs: list[TrainingLog], folder: Path) -> list[Figure]:
    """Save one training-curve figure per model type to a folder."""
    figures = []
    for kind in dict.fromkeys(log.kind for log in logs):
        group = [log for log in logs if log.kind == kind]
        path = folder / f"training_{_safe_name(kind).replace('.', '_')}.png"
        plots.plot_training_curves(group, f"training of {kind}", path)
        figures.append(Figure(path, f"{group[0].metric} of {kind} by epoch or iteration"))
    return figures


def _safe_name(text: str) -> str:
    """Replace characters that are unsafe in a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def missing_figures(figures: list[Figure]) -> dict[str, str]:
    """Return the papers' figures that are missing from `figures`, and what each of them needs."""
    present = {figure.paper_figure for figure in figures}
    return {name: need for name, need in NEEDS.items() if name not in present}


def write_figures(folder: Path) -> None:
    """Draw all figures for a results folder, and log them."""
    figures = draw_figures(read_results(folder), folder)
    for figure in figures:
        prefix = f"{figure.paper_figure}: " if figure.paper_figure else ""
        logger.info(f"{figure.path}: {prefix}{figure.caption}")
    for name, need in missing_figures(figures).items():
        logger.info(f"{name}: not drawn; it needs {need}")
