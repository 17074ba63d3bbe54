"""The figures that results tell: which of the papers' each is, and what the others need."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from artist_groups import task_scores
from common.files import add_suffix, atomic_write
from evaluation.results import TSNE_MAP, average_over_seeds, read_results
from papers import paper_tables
from report import plots, result_tables
from report.result_tables import (
    RECOGNITION,
    accuracies_by_label,
    measured_by_artists,
    recognised_of_most,
)
from report.training_logs import TrainingLog

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """A figure: its PNG, beside which an SVG lies, what it shows, and which of a paper's it is."""

    path: Path
    caption: str
    of_paper: str = ""


# The papers' figures, and what draws them; those of model diagrams aside.
FIGURES = {
    ("ismir2018", 2): "evaluate.py retrieval by features of several numbers of artists",
    ("ismir2018", 3): "evaluate.py knn by features of several numbers of artists",
    ("ismir2018", 4): "evaluate.py linear by features of several numbers of artists",
    ("ismir2018", 5): "evaluate.py knn or linear by basic and by siamese features",
    ("ismir2018", 6): "evaluate.py tsne --label artist --first 22",
    ("ismir2018", 7): "evaluate.py tsne --label genre",
    ("arxiv2017", 2): "evaluate.py verification by systems of several numbers of artists",
    ("arxiv2017", 3): "evaluate.py identification by systems of several numbers of artists",
    ("arxiv2017", 4): "evaluate.py tsne --label artist --first 22, of features after LDA",
    ("arxiv2017", 5): "evaluate.py tsne --label genre, of features after LDA",
    ("agf2018", 3): "evaluate.py genre by networks of several numbers of tasks",
}
_BY_ARTISTS_OF = {(one, "artist"): ("arxiv2017", n) for n, one in enumerate(RECOGNITION, 2)}
_BY_ARTISTS_OF |= {
    (one, "genre"): ("ismir2018", n) for n, one in enumerate(result_tables.SCORES, 2)
}
_MAPS = {("artist", False): ("ismir2018", 6), ("genre", False): ("ismir2018", 7)}
_MAPS |= {("artist", True): ("arxiv2017", 4), ("genre", True): ("arxiv2017", 5)}


def _named(paper: str, number: int) -> str:
    return f"{paper}, Figure {number}"


def draw_figures(results: pd.DataFrame, folder: Path) -> list[Figure]:
    """Draw all that the results tell, into a folder."""
    return list(_drawings(results, folder))


def _drawings(results: pd.DataFrame, folder: Path) -> Iterator[Figure]:
    scores = average_over_seeds(results[results["protocol"].isin(result_tables.SCORES)])
    for (dataset, label), of_one in scores.groupby(["dataset", "label"]):
        path = add_suffix(folder / f"{dataset}_{label}", ".png")
        plots.plot_scores_by_features(of_one, path)
        yield Figure(path, f"MAP and accuracies of {label} on {dataset} by features")
    for name, caption, of_one in measured_by_artists(results):
        if of_one["artists"].isna().all():
            continue
        path = add_suffix(folder / name, ".png")
        plots.plot_scores_by_artists(of_one, paper_tables.tables_of_paper(of_one), path)
        protocol, label = of_one[["protocol", "label"]].iloc[0]
        place = _BY_ARTISTS_OF.get((protocol, label))
        yield Figure(path, caption, _named(*place) if place else "")
    for name, caption, table in accuracies_by_label(results):
        if len(table) <= plots.MAX_BARS:
            path = add_suffix(folder / name, ".png")
            plots.plot_accuracies_by_label(table, caption, path)
            yield Figure(path, caption, _named("ismir2018", 5))
    for protocol, dataset, label, of_most in recognised_of_most(results):
        few, (metric, *_) = result_tables.by_enrolment(of_most), of_most["metric"]
        judged = f"{protocol} by {label} on {dataset}"
        if protocol == "verification":
            path = add_suffix(folder / f"det_{dataset}_{label}", ".png")
            plots.plot_det_curves(of_most, path)
            yield Figure(path, f"{judged}: misses against false alarms")
        if len(few):
            path = add_suffix(folder / f"{protocol}_by_enrolment_{dataset}_{label}", ".png")
            plots.plot_scores_by_enrolment(few, metric, path)
            yield Figure(path, f"{judged}, by the number of songs that enrol one")
    yield from _maps(results, folder)
    for dataset, found in task_scores.select_trainings(results).groupby("dataset"):
        title, path = f"genre on {dataset}", add_suffix(folder / f"by_tasks_{dataset}", ".png")
        plots.plot_scores_by_tasks(task_scores.average_by_number(found), title, path)
        yield Figure(path, f"{title} by the number of tasks", _named("agf2018", 3))


def _maps(results: pd.DataFrame, folder: Path) -> Iterator[Figure]:
    """Songs in the plane, each result of t-SNE one."""
    for _, result in results[results["protocol"].eq("tsne")].iterrows():
        label, dataset, name = result[["label", "dataset", "features"]]
        # What weights are called may be anything.
        stem = f"tsne_{label}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}_{dataset}"
        path = add_suffix(folder / stem, ".png")
        shown = result["details"][TSNE_MAP]
        plane, labels = np.column_stack([shown["x"], shown["y"]]), np.array(shown["label"], object)
        plots.plot_track_map(plane, labels, f"{dataset} by {label}: {name}", path)
        place = _MAPS.get((label, "with LDA" in result["model"]))
        caption = f"{result['n_songs']} songs of {dataset} by {label}, t-SNE of {name}"
        yield Figure(path, caption, _named(*place) if place else "")


def draw_training_curves(runs: list[TrainingLog], folder: Path) -> list[Figure]:
    """Draw the curves of trainings into a folder, those of a kind together."""
    made = []
    for kind in dict.fromkeys(one.kind for one in runs):
        of_kind = [one for one in runs if one.kind == kind]
        path = add_suffix(folder / f"training_{re.sub(r'[^A-Za-z0-9_-]+', '_', kind)}", ".png")
        plots.plot_training_curves(of_kind, f"training of {kind}", path)
        made.append(Figure(path, f"{of_kind[0].measure} of {kind} by epoch or iteration"))
    return made


def missing_figures(drawn: list[Figure]) -> dict[str, str]:
    """{which of the papers' figures: what would draw it} of those that were not drawn."""
    there = {one.of_paper for one in drawn}
    named = {_named(*place): need for place, need in FIGURES.items()}
    return {name: need for name, need in named.items() if name not in there}


def write_figures(folder: Path) -> None:
    """Draw all figures into a folder of results, and their list; yields what to say of them."""
    drawn = draw_figures(read_results(folder), folder)
    write_figure_list(drawn, folder)
    for one in drawn:
        prefix = f"{one.of_paper}: " if one.of_paper else ""
        logger.info("%s: %s%s", one.path, prefix, one.caption)
    for name, need in missing_figures(drawn).items():
        logger.info("%s: not drawn; it needs %s", name, need)


def write_figure_list(drawn: list[Figure], folder: Path) -> None:
    """Keep in figures.csv which figures there are, and what those that are not need."""
    rows = [(one.path.name, one.caption, one.of_paper) for one in drawn]
    for name, need in missing_figures(drawn).items():
        rows.append(("", f"not drawn; it needs {need}", name))
    table = pd.DataFrame(rows, columns=["file", "caption", "of_paper"])
    with atomic_write(folder / "figures.csv") as aside:
        table.to_csv(aside, index=False)
