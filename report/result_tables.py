"""Result tables: the papers' tables with our numbers, and comparisons of features and systems.

All functions take results as returned by `evaluation.results.read_results`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from artist_groups import task_scores
from common.files import add_suffix, atomic_write
from evaluation.results import (
    BY_ENROLMENT,
    accuracy_by,
    average_over_seeds,
    format_with_deviation,
    read_results,
)
from papers import PAPERS, paper_tables
from recognition import FEATURE_NAMES
from report import formatting

logger = logging.getLogger(__name__)

# Column names of the protocols that compare features.
SCORES = {"retrieval": "MAP", "knn": "k-NN", "linear": "linear"}
RECOGNITION = ("verification", "identification")
RECOGNITION_SCORES = {"verification": "EER", "identification": "accuracy", "retrieval": "MAP"}
# Protocols for which the papers report scores by number of training artists.
BY_ARTISTS = (*RECOGNITION, "clustering", "transfer", "tagging", *SCORES)

BASELINES = ("mfcc", "untrained", "header")
RELEASED = "released "  # precedes the model's name, next to models trained here
LABEL_MODELS = ("basic", "siamese")  # compared genre by genre in ismir2018, Figure 5

# The systems of arxiv2017, Figures 2 and 3, in the paper's order.
SYSTEMS = (
    *("GMM-UBM", "i-vector + cosine", "i-vector + PLDA", "DeepArtistID + cosine"),
    *("DeepArtistID + PLDA", "early fusion + PLDA", "late fusion + PLDA"),
)


@dataclass(frozen=True)
class ResultTable:
    """A table with its file name, caption and the notes printed below it."""

    name: str
    caption: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- the papers' tables


def make_paper_tables(comparison: pd.DataFrame, paper: str) -> list[ResultTable]:
    """Build the tables of a paper from the output of `papers.paper_tables.compare_with_paper`.

    The column `needs` refers by number to the notes below the last table.
    """
    cells = comparison[comparison["paper"].eq(paper)]
    needs = [need for need in cells["needs"].unique() if need]
    markers = {need: f"[{number}]" for number, need in enumerate(needs, 1)}
    tables = []
    for number, rows in cells.groupby("table"):
        table = rows.drop(columns=["paper", "table", "note"]).rename(columns={"songs": "tracks"})
        table["needs"] = table["needs"].map({"": "", **markers})
        if table["protocol"].nunique() == 1:
            table = table.drop(columns="protocol")
        caption = f"{paper}, Table {number}: {paper_tables.TABLES[paper, number]}"
        tables.append(ResultTable(f"{paper}_{number}", caption, table))
    notes = tuple(f"{marker} {need}" for need, marker in markers.items())
    return [*tables[:-1], replace(tables[-1], notes=notes)]


def describe_coverage(comparison: pd.DataFrame, paper: str) -> str:
    """Describe how many of a paper's numbers have been reproduced."""
    cells = comparison[comparison["paper"].eq(paper)]
    own = cells[cells["paper's"].notna() & cells["note"].ne(paper_tables.QUOTED)]
    measured = own["ours"].notna()
    status = own.assign(complete=measured & own["needs"].eq(""), measured=measured)
    # A table cell may have several rows.
    by_cell = status.groupby(["table", *paper_tables.CELL], dropna=False)
    status = by_cell[["complete", "measured"]].any()
    complete = status["complete"].sum()
    partial, other = status["measured"].sum() - complete, cells["paper's"].isna().sum()
    text = f"{paper}: {complete} of {len(status)} numbers"
    text += f", and {partial} on fewer tracks than in the paper" if partial else ""
    return text + (f", and {other} on other data" if other else "")


# ---------------------------------------------------------------- comparisons


def make_comparison_tables(results: pd.DataFrame) -> Iterator[ResultTable]:
    """Yield the tables that compare features, systems, genres and task sets."""
    results = separate_released(results)
    scores = average_over_seeds(results[results["protocol"].isin(SCORES)])
    if len(scores):
        gains = []
        for _, group in scores.groupby(["dataset", "label"]):
            most = group.groupby("model")["artists"].transform("max")
            gains += describe_gains(group[most.isna() | group["artists"].eq(most)])
        caption = "MAP, k-NN accuracy and linear accuracy; ± over seeds, otherwise over trials"
        table = tabulate_features(scores.assign(text=_format_values(scores)), "text")
        table[list(SCORES.values())] = table[list(SCORES.values())].astype(object).fillna("")
        yield ResultTable("summary", caption, table, (*gains, *list_fine_tuned(results)))
    for (dataset, label), group in results.groupby(["dataset", "label"]):
        table = tabulate_recognition(group)
        if len(table):
            caption = f"recognition by {label} on {dataset}: equal error rate, accuracy of "
            caption += "identification and MAP of retrieval; ± over seeds, otherwise over trials"
            yield ResultTable(f"systems_{dataset}_{label}", caption, table)
    for name, caption, group in group_by_artists(results):
        yield ResultTable(name, caption, tabulate_by_artists(group))
    for name, caption, table in label_accuracies(results):
        yield ResultTable(name, caption, table)
    for protocol, dataset, label, group in recognition_at_most_artists(results):
        table = enrolment_scores(group)
        if len(table):
            name = f"{protocol}_by_enrolment_{dataset}_{label}"
            caption = f"{protocol} by {label} on {dataset}, by number of enrolment tracks"
            table = table.pivot_table(index="system", columns="tracks", values="value", sort=False)
            table = table.sort_index(axis="columns").rename(columns="enrolled by {}".format)
            yield ResultTable(name, caption, table.rename_axis(columns=None).reset_index())
    paper = paper_tables.read_paper_tables()
    paper_dataset = task_scores.select_paper_scores(paper)["dataset"].iloc[0]
    for dataset, trainings in task_scores.select_trainings(results).groupby("dataset"):
        trends = task_scores.describe_trends(trainings, paper)
        notes = (*trends, task_scores.describe_missing(trainings))
        for name, table in task_scores.tabulate_scores(trainings, paper).items():
            caption = f"genre on {dataset} by networks of several tasks: {name.replace('_', ' ')}"
            if dataset != paper_dataset:
                caption += f"; the paper's dataset is {paper_dataset}"
            yield ResultTable(f"{name}_{dataset}", caption, table, notes * (name == "by_tasks"))


def group_by_artists(results: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (name, caption, results) for each `BY_ARTISTS` protocol, dataset and label."""
    for protocol in BY_ARTISTS:
        chosen = results[results["protocol"].eq(protocol)]
        for (dataset, label), group in chosen.groupby(["dataset", "label"]):
            name = f"{protocol}_by_artists_{dataset}_{label}"
            yield name, f"{protocol} by {label} on {dataset}, by number of training artists", group


def label_accuracies(results: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (name, caption, table) with the accuracy per label of basic and siamese features."""
    chosen = results[results["protocol"].isin(SCORES)].dropna(subset="artists")
    for (protocol, dataset, label), group in chosen.groupby(["protocol", "dataset", "label"]):
        table = tabulate_by_label(group)
        if len(table):
            caption = f"{SCORES[protocol]} accuracy by {label} on {dataset}"
            yield f"{protocol}_by_{label}_{dataset}", caption, table


def recognition_at_most_artists(results: pd.DataFrame) -> Iterator[tuple]:
    """Yield (protocol, dataset, label, results) for the largest number of training artists."""
    chosen = results[results["protocol"].isin(RECOGNITION)]
    for names, group in chosen.groupby(["protocol", "dataset", "label"]):
        most = group["artists"].isna() | group["artists"].eq(group["artists"].max())
        yield *names, group[most]


def tabulate_features(results: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """Tabulate `column` with one row per feature set, best MAP first, and one column per protocol.

    The columns are `dataset`, `label`, `features`, `MAP`, `k-NN` and `linear`.
    """
    rows = ["dataset", "label", "features"]
    table = results.pivot(index=rows, columns="protocol", values=column)
    table = table.reindex(columns=list(SCORES)).rename(columns=SCORES).rename_axis(columns=None)
    best = results[results["protocol"].eq("retrieval")].set_index(rows)["value"]
    order = ["dataset", "label", "best", "features"]
    table = table.assign(best=best).sort_values(order, ascending=[name != "best" for name in order])
    return table.drop(columns="best").reset_index()


def tabulate_by_artists(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate a protocol's results with one row per system and one column per artist count.

    Table cells show "mean ± standard deviation" over training runs that differ only in the seed,
    otherwise over trials; a cell with several results lists them all. Systems without training
    artists, such as MFCC, are in the column "no number".
    """
    results = sort_systems(average_over_seeds(results))
    texts = results.assign(system=system_names(results), text=_format_values(results))
    texts["artists"] = texts["artists"].astype(object).fillna("no number")
    table = texts.pivot_table(
        "text", ["dataset", "label", "system"], "artists", ", ".join, fill_value="", sort=False
    )
    counts = sorted(set(results["artists"].dropna()))
    order = [*counts, *table.columns.difference(counts, sort=False)]
    names = {count: f"{count} artists" for count in counts}
    return table[order].rename(columns=names).rename_axis(columns=None).reset_index()


def tabulate_recognition(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate EER, accuracy and MAP with one row per system and number of training artists.

    MAP, which is computed by cosine similarity, is in the row of the features' cosine system. The
    table is empty if no system was evaluated by verification or identification.
    """
    results = average_over_seeds(results)
    systems = results[results["protocol"].isin(RECOGNITION)]
    retrieval = results[results["protocol"].eq("retrieval") & bool(len(systems))]
    names = retrieval["model"].replace(FEATURE_NAMES) + " + cosine"
    texts = pd.concat(
        [systems.assign(system=system_names), retrieval.assign(system=names, model=names)]
    )
    texts = sort_systems(texts).assign(text=lambda table: _format_values(table))
    texts["artists"] = texts["artists"].astype(object).fillna("")
    table = texts.pivot_table(
        "text", ["system", "artists"], "protocol", ", ".join, fill_value="", sort=False
    )
    columns = [name for name in RECOGNITION_SCORES if name in table]
    table = table.reindex(columns=columns).rename(columns=RECOGNITION_SCORES)
    return table.rename_axis(columns=None).reset_index()


def tabulate_by_label(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the accuracy per label, such as per genre, of the basic and siamese features.

    The models are compared at the largest number of training artists available for all of them or,
    if there is none, each at its own largest. Several results of a model are averaged.
    """
    name = results["label"].iloc[0] if len(results) else "label"
    known = results["details"].map(lambda details: accuracy_by(name) in details)
    known = results[known & results["model"].isin(LABEL_MODELS)].dropna(subset="artists")
    known = known.assign(model=system_names)
    models = known.groupby("artists")["model"].nunique()
    common = models.index[models.eq(known["model"].nunique())].max()
    columns = {}
    for model, group in known.groupby("model"):
        artists = group["artists"].max() if pd.isna(common) else common
        details = group.loc[group["artists"].eq(artists), "details"]
        count = f", mean of {len(details)}" if len(details) > 1 else ""
        accuracies = pd.DataFrame([one[accuracy_by(name)] for one in details])
        columns[f"{model}, {artists:,} artists{count}"] = accuracies.mean()
    return pd.DataFrame(columns).sort_index().rename_axis(name).reset_index()


def enrolment_scores(results: pd.DataFrame) -> pd.DataFrame:
    """Tabulate `system`, `tracks` and `value`: one-shot scores per number of enrolment tracks."""
    results = sort_systems(results)
    rows = [
        (system, int(tracks), value)
        for system, details in zip(system_names(results), results["details"], strict=True)
        for tracks, value in details.get(BY_ENROLMENT, {}).items()
    ]
    # The track counts are JSON keys, which are stored in alphabetical order.
    table = pd.DataFrame(rows, columns=["system", "tracks", "value"])
    return table.sort_values("tracks", kind="stable", ignore_index=True)


def describe_gains(results: pd.DataFrame) -> list[str]:
    """Return one line per comparison of trained features with a baseline on one dataset."""
    scores = tabulate_features(results).set_index("features")[list(SCORES.values())]
    models = results.drop_duplicates("features").set_index("features")["model"]
    is_baseline = models.isin(BASELINES) | models.str.startswith(RELEASED)
    is_baseline = is_baseline.reindex(scores.index)
    lines = []
    for features, trained in scores[~is_baseline].iterrows():
        for baseline, reference in scores[is_baseline].iterrows():
            gains = (trained - reference).dropna()
            if len(gains):
                text = ", ".join(f"{gain:+.3f} {score}" for score, gain in gains.items())
                dataset, label = results[["dataset", "label"]].iloc[0]
                lines.append(f"{dataset}, {label}: {features} compared with {baseline}: {text}")
    return lines


def list_fine_tuned(results: pd.DataFrame) -> list[str]:
    """Return one line per fine-tuned weights, with the weights that their training started from."""
    found = find_weights([record.get("inputs") for record in results["made_from"]])
    starts = {(str(one.get("name")), describe_start(one)) for one in found}
    return [f"{name}: fine-tuned from {start}" for name, start in sorted(starts) if start]


def describe_start(weights: dict) -> str:
    """Return the name and digest of the weights from which fine-tuning started, or ''."""
    start = weights.get("start_from")
    if not isinstance(start, dict):
        return ""
    return f"{start.get('name')} (SHA-256 {start.get('sha256')})"


def find_weights(inputs: object) -> list[dict]:
    """Return all records named `weights` in the inputs of a result, at any depth."""
    if isinstance(inputs, list):
        return [weights for one in inputs for weights in find_weights(one)]
    if not isinstance(inputs, dict):
        return []
    weights = [inputs["weights"]] if isinstance(inputs.get("weights"), dict) else []
    return weights + find_weights([value for key, value in inputs.items() if key != "weights"])


def separate_released(results: pd.DataFrame) -> pd.DataFrame:
    """Return results in which released weights are apart from models that were trained here.

    The latter are recognised by their seed. If there are any on the same dataset, models with
    released weights get names of their own and, as a baseline does, no number of training artists.
    """
    trained = results["artists"].notna()
    own = trained & results["seed"].notna()
    both = own.groupby([results["dataset"], results["label"]]).transform("any")
    released = trained & results["seed"].isna() & both
    names = results["model"].mask(released, RELEASED + results["model"])
    return results.assign(model=names, artists=results["artists"].mask(released))


def sort_systems(results: pd.DataFrame) -> pd.DataFrame:
    """Sort results in the order of `SYSTEMS`, followed by any models that are not listed there."""
    rank = {system: number for number, system in enumerate(SYSTEMS)}
    ranked = results.assign(rank=results["model"].map(rank).fillna(len(rank)))
    return ranked.sort_values(["dataset", "label", "rank", "artists"]).drop(columns="rank")


def system_names(results: pd.DataFrame) -> pd.Series:
    """Return each result's model, followed by its variant if the results have several variants."""
    variant = results["variant"].fillna("")
    if variant.nunique() < 2:
        return results["model"]
    return results["model"].str.cat(variant, sep=" ").str.strip()


def _format_values(results: pd.DataFrame) -> list[str]:
    return list(map(format_with_deviation, results["value"], results["spread"]))


# ---------------------------------------------------------------- files


def write_all_tables(results: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, dict, list]:
    """Write all tables as CSV, Markdown and LaTeX files.

    The files named `tables` contain the papers' tables; each comparison table has its own files.
    Returns our numbers next to the papers', the tables by paper, and the comparison tables.
    """
    comparison = paper_tables.compare_with_paper(results)
    papers = {paper: make_paper_tables(comparison, paper) for paper in PAPERS}
    others = list(make_comparison_tables(results))
    of_papers = [table for tables in papers.values() for table in tables]
    write_table(comparison, of_papers, folder / "tables")
    for one in others:
        write_table(one.table, [one], folder / one.name)
    return comparison, papers, others


def write_tables(folder: Path, paper: str | None = None) -> None:
    """Write all tables for a results folder, and log those that contain numbers of our own.

    If `paper` is specified, log only the tables of that paper, even if they contain none.
    """
    comparison, papers, others = write_all_tables(read_results(folder), folder)
    for name in [paper] if paper else papers:
        if paper or any(one.table["ours"].notna().any() for one in papers[name]):
            for table in papers[name]:
                logger.info(as_markdown(table))
        logger.info(describe_coverage(comparison, name))
    if paper is None:
        for table in others:
            logger.info(as_markdown(table))
        path = folder / "tables.md"
        logger.info(f"{path}: all numbers of the papers, and what the empty cells need")


def write_table(csv: pd.DataFrame, tables: list[ResultTable], path: Path) -> None:
    """Write `csv` to a CSV file, and `tables` to Markdown and LaTeX files in the same folder."""
    texts = {
        ".csv": csv.to_csv(index=False),
        ".md": "\n".join(map(as_markdown, tables)),
        ".tex": formatting.LATEX_HEAD + "\n".join(map(_as_latex, tables)),
    }
    for suffix, text in texts.items():
        with atomic_write(add_suffix(path, suffix)) as partial:
            partial.write_text(text, encoding="utf-8")


def as_markdown(result: ResultTable) -> str:
    """Return the caption, table and notes as Markdown."""
    notes = "".join(["\n" * bool(result.notes), *(f"{note}  \n" for note in result.notes)])
    return f"**{result.caption}**\n\n{formatting.to_markdown(result.table)}{notes}"


def _as_latex(result: ResultTable) -> str:
    table = formatting.to_latex(result.table, result.caption)
    if not result.notes:
        return table
    items = "".join(f"\\item[] {formatting.make_breakable(note)}\n" for note in result.notes)
    return f"{table}\\begin{{itemize}}\\raggedright\\scriptsize\n{items}\\end{{itemize}}\n"
