"""Tables of results: the papers' tables with our numbers, and comparisons of features and systems.

Functions take results as `evaluation.results.read_results` returns them. Nothing is measured here.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from artist_groups import task_scores
from common.files import add_suffix, atomic_write
from evaluation.results import (
    ACCURACY_BY_LABEL,
    BY_ENROLMENT,
    average_over_seeds,
    format_with_deviation,
    read_results,
)
from papers import paper_tables
from report import formatting

logger = logging.getLogger(__name__)

# Protocols that compare features, with their column names.
SCORES = {"retrieval": "MAP", "knn": "k-NN", "linear": "linear"}
RECOGNITION = ("verification", "identification")
# Protocols that the papers report by number of training artists.
BY_ARTISTS = (*RECOGNITION, "transfer", "tagging", *SCORES)

BASELINES = ("mfcc", "untrained")
LABEL_MODELS = ("basic", "siamese")  # compared genre by genre in ismir2018, Figure 5

# The systems of arxiv2017, Figures 2 and 3, in the paper's order.
SYSTEMS = (
    "GMM-UBM",
    "i-vector + cosine",
    "i-vector + PLDA",
    "DeepArtistID + cosine",
    "DeepArtistID + PLDA",
    "early fusion + PLDA",
    "late fusion + PLDA",
)


@dataclass(frozen=True)
class ResultTable:
    """A table with its file name, its caption and the notes printed below it."""

    name: str
    caption: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- the papers' tables


def make_paper_tables(comparison: pd.DataFrame, paper: str) -> list[ResultTable]:
    """Return the tables of a paper from `papers.paper_tables.compare_with_paper`.

    Cells refer by number to the data or commands that they need; the notes of the last table
    list these needs.
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
    """Return a sentence that says how many of a paper's numbers have been measured."""
    cells = comparison[comparison["paper"].eq(paper)]
    own = cells[cells["paper's"].notna() & cells["note"].ne("quoted by the paper")]
    measured = own["ours"].notna()
    status = own.assign(complete=measured & own["needs"].eq(""), measured=measured)
    by_cell = status.groupby(["table", *paper_tables.CELL], dropna=False)  # may have several rows
    status = by_cell[["complete", "measured"]].any()
    complete = status["complete"].sum()
    partial, other = status["measured"].sum() - complete, cells["paper's"].isna().sum()
    text = f"{paper}: {complete} of {len(status)} numbers"
    text += f", and {partial} on fewer tracks than in the paper" if partial else ""
    return text + (f", and {other} on other data" if other else "")


# ---------------------------------------------------------------- comparisons


def make_comparison_tables(results: pd.DataFrame) -> Iterator[ResultTable]:
    """Yield the tables that compare features, systems, genres and sets of tasks."""
    scores = average_over_seeds(results[results["protocol"].isin(SCORES)])
    if len(scores):
        gains = [
            line
            for _, group in scores.groupby(["dataset", "label"])
            for line in describe_gains(_at_most_artists(group))
        ]
        caption = "MAP, k-NN accuracy and linear accuracy; ± over seeds, otherwise over trials"
        table = tabulate_features(scores.assign(text=_format_values(scores)), "text")
        table[list(SCORES.values())] = table[list(SCORES.values())].astype(object).fillna("")
        yield ResultTable("summary", caption, table, tuple(gains))
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
        notes = (
            *task_scores.describe_trends(trainings, paper),
            task_scores.describe_missing(trainings),
        )
        for name, table in task_scores.tabulate_scores(trainings, paper).items():
            caption = f"genre on {dataset} by networks of several tasks: {name.replace('_', ' ')}"
            if dataset != paper_dataset:
                caption += f"; the paper's dataset is {paper_dataset}"
            below = notes if name == "by_tasks" else ()
            yield ResultTable(f"{name}_{dataset}", caption, table, below)


def group_by_artists(results: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (name, caption, results) of each protocol, dataset and label in `BY_ARTISTS`."""
    for protocol in BY_ARTISTS:
        chosen = results[results["protocol"].eq(protocol)]
        for (dataset, label), group in chosen.groupby(["dataset", "label"]):
            name = f"{protocol}_by_artists_{dataset}_{label}"
            yield name, f"{protocol} by {label} on {dataset}, by number of training artists", group


def label_accuracies(results: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (name, caption, table) of the accuracy of each label by basic and siamese features."""
    chosen = results[results["protocol"].isin(SCORES)].dropna(subset="artists")
    for (protocol, dataset, label), group in chosen.groupby(["protocol", "dataset", "label"]):
        table = tabulate_by_label(group)
        if len(table):
            caption = f"{SCORES[protocol]} accuracy by {label} on {dataset}"
            yield f"{protocol}_by_{label}_{dataset}", caption, table


def recognition_at_most_artists(
    results: pd.DataFrame,
) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield (protocol, dataset, label, results) at the largest number of training artists."""
    chosen = results[results["protocol"].isin(RECOGNITION)]
    for names, group in chosen.groupby(["protocol", "dataset", "label"]):
        most = group["artists"].isna() | group["artists"].eq(group["artists"].max())
        yield *names, group[most]


def tabulate_features(results: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """Return `column` with one row per set of features and one column per protocol.

    Columns are `dataset`, `label`, `features`, `MAP`, `k-NN`, `linear` (NaN where not measured).
    The best MAP of each dataset and label comes first.
    """
    rows = ["dataset", "label", "features"]
    table = results.pivot(index=rows, columns="protocol", values=column)
    table = table.reindex(columns=list(SCORES)).rename(columns=SCORES).rename_axis(columns=None)
    best = results[results["protocol"].eq("retrieval")].set_index(rows)["value"]
    return (
        table.assign(best=best)
        .sort_values(["dataset", "label", "best", "features"], ascending=[True, True, False, True])
        .drop(columns="best")
        .reset_index()
    )


def tabulate_by_artists(results: pd.DataFrame) -> pd.DataFrame:
    """Return results of a protocol, one row per system and one column per number of artists.

    Cells are "mean ± standard deviation" over trainings that differ only in their seed, otherwise
    over trials. A cell lists all its results if there are several, and is "" if there is none.
    Systems without training artists, such as MFCC, are in the column "no number".
    """
    results = sort_systems(average_over_seeds(results))
    texts = results.assign(system=system_names(results), text=_format_values(results))
    texts["artists"] = texts["artists"].astype(object).fillna("no number")
    table = texts.pivot_table(
        index=["dataset", "label", "system"],
        columns="artists",
        values="text",
        aggfunc=", ".join,
        fill_value="",
        sort=False,
    )
    counts = sorted(set(results["artists"].dropna()))
    order = [*counts, *table.columns.difference(counts, sort=False)]
    names = {count: f"{count} artists" for count in counts}
    return table[order].rename(columns=names).rename_axis(columns=None).reset_index()


def tabulate_by_label(results: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each label, such as genre, by the basic and the siamese features.

    Results are of one dataset, label and protocol, at the largest number of artists that all
    models have, otherwise at each model's largest. Several results of a model are averaged, in a
    column such as "basic, 5,000 artists, mean of 3".
    """
    known = results["details"].map(lambda details: ACCURACY_BY_LABEL in details)
    known = results[known & results["model"].isin(LABEL_MODELS)].dropna(subset="artists")
    known = known.assign(model=system_names)
    models = known.groupby("artists")["model"].nunique()
    common = models.index[models.eq(known["model"].nunique())].max()
    columns = {}
    for model, group in known.groupby("model"):
        artists = group["artists"].max() if pd.isna(common) else common
        details = group.loc[group["artists"].eq(artists), "details"]
        count = f", mean of {len(details)}" if len(details) > 1 else ""
        accuracies = pd.DataFrame([one[ACCURACY_BY_LABEL] for one in details])
        columns[f"{model}, {artists:,} artists{count}"] = accuracies.mean()
    name = results["label"].iloc[0] if len(results) else "label"
    return pd.DataFrame(columns).sort_index().rename_axis(name).reset_index()


def enrolment_scores(results: pd.DataFrame) -> pd.DataFrame:
    """Return `system`, `tracks`, `value`: the scores by number of enrolment tracks (one-shot)."""
    results = sort_systems(results)
    rows = [
        (system, int(tracks), value)
        for system, details in zip(system_names(results), results["details"], strict=True)
        for tracks, value in details.get(BY_ENROLMENT, {}).items()
    ]
    # The numbers of tracks are JSON keys, in alphabetical order.
    table = pd.DataFrame(rows, columns=["system", "tracks", "value"])
    return table.sort_values("tracks", kind="stable", ignore_index=True)


def describe_gains(results: pd.DataFrame) -> list[str]:
    """Return sentences that compare trained features with each baseline on one dataset.

    Baselines are the features of the models `mfcc` and `untrained`.
    """
    scores = tabulate_features(results).set_index("features")[list(SCORES.values())]
    models = results.drop_duplicates("features").set_index("features")["model"]
    is_baseline = models.isin(BASELINES).reindex(scores.index)
    lines = []
    for features, trained in scores[~is_baseline].iterrows():
        for baseline, reference in scores[is_baseline].iterrows():
            gains = (trained - reference).dropna()
            if len(gains):
                text = ", ".join(f"{gain:+.3f} {score}" for score, gain in gains.items())
                dataset, label = results[["dataset", "label"]].iloc[0]
                lines.append(f"{dataset}, {label}: {features} compared with {baseline}: {text}")
    return lines


def sort_systems(results: pd.DataFrame) -> pd.DataFrame:
    """Return results in the order of `SYSTEMS`, other models after them."""
    rank = {system: number for number, system in enumerate(SYSTEMS)}
    ranked = results.assign(rank=results["model"].map(rank).fillna(len(rank)))
    return ranked.sort_values(["dataset", "label", "rank", "artists"]).drop(columns="rank")


def system_names(results: pd.DataFrame) -> pd.Series:
    """Return the model of each result, with its variant if the results have several variants."""
    variant = results["variant"].fillna("")
    if variant.nunique() < 2:
        return results["model"]
    return results["model"].str.cat(variant, sep=" ").str.strip()


def _at_most_artists(results: pd.DataFrame) -> pd.DataFrame:
    """Results at each model's largest number of artists, and those without a number."""
    most = results.groupby("model")["artists"].transform("max")
    return results[most.isna() | results["artists"].eq(most)]


def _format_values(results: pd.DataFrame) -> list[str]:
    return list(map(format_with_deviation, results["value"], results["spread"]))


# ---------------------------------------------------------------- files


class WrittenTables(NamedTuple):
    """Our numbers beside the papers', the same as tables by paper, and the comparison tables."""

    comparison: pd.DataFrame
    papers: dict[str, list[ResultTable]]
    others: list[ResultTable]


def write_all_tables(results: pd.DataFrame, folder: Path) -> WrittenTables:
    """Write tables.csv, .md and .tex with the papers' tables, and the same of each other table."""
    comparison = paper_tables.compare_with_paper(results)
    papers = {paper: make_paper_tables(comparison, paper) for paper in paper_tables.PAPERS}
    others = list(make_comparison_tables(results))
    every_paper = [table for tables in papers.values() for table in tables]
    write_table(comparison, every_paper, folder / "tables")
    for one in others:
        write_table(one.table, [one], folder / one.name)
    return WrittenTables(comparison, papers, others)


def write_tables(folder: Path, paper: str | None = None) -> None:
    """Write all tables of a folder of results into it, and log those with numbers of ours.

    With `paper`, log the tables of this paper only, even if they have no number of ours.
    """
    written = write_all_tables(read_results(folder), folder)
    for name, tables in written.papers.items():
        if paper in (None, name):
            if paper or any(one.table["ours"].notna().any() for one in tables):
                for table in tables:
                    logger.info(as_markdown(table))
            logger.info(describe_coverage(written.comparison, name))
    if paper is None:
        for table in written.others:
            logger.info(as_markdown(table))
        path = folder / "tables.md"
        logger.info(f"{path}: all numbers of the papers, and what the empty cells need")


def write_table(csv: pd.DataFrame, tables: list[ResultTable], path: Path) -> None:
    """Write `csv` to a CSV file, and `tables` to a Markdown and a LaTeX file beside it."""
    texts = {
        ".csv": csv.to_csv(index=False),
        ".md": "\n".join(map(as_markdown, tables)),
        ".tex": formatting.LATEX_HEAD + "\n".join(map(as_latex, tables)),
    }
    for suffix, text in texts.items():
        with atomic_write(add_suffix(path, suffix)) as partial:
            partial.write_text(text, encoding="utf-8")


def as_markdown(result: ResultTable) -> str:
    """Return caption, table and notes as Markdown."""
    notes = "".join(f"{note}  \n" for note in result.notes)
    separator = "\n" if notes else ""
    table = formatting.to_markdown(result.table)
    return f"**{result.caption}**\n\n{table}{separator}{notes}"


def as_latex(result: ResultTable) -> str:
    """Return table, caption and notes for a LaTeX document with booktabs and longtable."""
    table = formatting.to_latex(result.table, result.caption)
    if not result.notes:
        return table
    items = "".join(f"\\item[] {formatting.make_breakable(note)}\n" for note in result.notes)
    return f"{table}\\begin{{itemize}}\\raggedright\\scriptsize\n{items}\\end{{itemize}}\n"
