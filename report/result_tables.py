"""The tables of results as sheets: a table, what it shows, and what is said of it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
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

BASELINES = ("mfcc", "untrained")

# Who is compared genre by genre in ismir2018's figure 5.
COMPARED = ("basic", "siamese")

NO_ARTISTS = "no number"  # of artists, as features such as MFCC have

SCORES = {"retrieval": "MAP", "knn": "k-NN", "linear": "linear"}

# The systems of arxiv2017's figures 2 and 3.
SYSTEMS = (
    "GMM-UBM",
    "i-vector + cosine",
    "i-vector + PLDA",
    "DeepArtistID + cosine",
    "DeepArtistID + PLDA",
    "early fusion + PLDA",
    "late fusion + PLDA",
)

# What the papers measure against the number of training artists.
RECOGNITION = ("verification", "identification")
BY_ARTISTS = (*RECOGNITION, "transfer", "tagging", *SCORES)


@dataclass(frozen=True)
class ResultTable:
    """A table with the name of its files, what it shows, and lines to say after it."""

    name: str
    caption: str
    table: pd.DataFrame
    lines: tuple[str, ...] = ()

    @property
    def numbers(self) -> set[str]:
        """The columns of numbers, which align right."""
        return set(self.table.select_dtypes("number"))


# ---------------------------------------------------------------- the papers' tables


def make_paper_tables(beside: pd.DataFrame, paper: str) -> list[ResultTable]:
    """The tables of a paper out of `cells.beside_ours`; an empty cell has the number of its need.

    The lines of the last one are the needs.
    """
    table = beside[beside["paper"].eq(paper)]
    numbers = {need: n for n, need in enumerate(filter(None, table["needs"].unique()), 1)}
    sheets = []
    for number, of_one in table.groupby("table"):
        wide = of_one.drop(columns=["paper", "table", "note"])
        wide["needs"] = [f"[{numbers[need]}]" if need else "" for need in of_one["needs"]]
        drop = ["protocol"] if wide["protocol"].nunique() == 1 else []
        caption = f"{paper}, Table {number}: {paper_tables.TABLES[paper, number]}"
        sheets.append(ResultTable(f"{paper}_{number}", caption, wide.drop(columns=drop)))
    needs = tuple(f"[{number}] {need}" for need, number in numbers.items())
    sheets[-1] = ResultTable(sheets[-1].name, sheets[-1].caption, sheets[-1].table, needs)
    return sheets


def describe_coverage(beside: pd.DataFrame, paper: str) -> str:
    """How much of a paper's tables is filled, in words; not counted are cells of fewer songs."""
    table = beside[beside["paper"].eq(paper)]
    theirs = table[table["paper's"].notna() & table["note"].ne("quoted by the paper")]
    ours, whole = theirs["ours"].notna(), theirs["needs"].eq("")
    rows = theirs.assign(whole=ours & whole, part=ours)  # of a cell there may be several
    rows = rows.groupby(["table", *paper_tables.CELL], dropna=False)[["whole", "part"]].any()
    others = {"of fewer songs than the paper's": (rows["part"] & ~rows["whole"]).sum()}
    others["on other data"] = table["paper's"].isna().sum()
    more = "".join(f", and {count} {kind}" for kind, count in others.items() if count)
    return f"{paper}: {rows['whole'].sum()} of {len(rows)} numbers{more}"


# ---------------------------------------------------------------- other tables


def make_comparison_tables(results: pd.DataFrame) -> Iterator[ResultTable]:
    """What else there is to see side by side: features, systems, genres, sets of tasks."""
    scores = average_over_seeds(results[results["protocol"].isin(SCORES)])
    if len(scores):
        lines = [
            line
            for _, of_one in scores.groupby(["dataset", "label"])
            for line in margins(of_most_artists(of_one))
        ]
        caption = "MAP, and accuracies of k-NN and linear softmax; ± over seeds, or else trials"
        told = by_features(scores.assign(told=formatted_values), "told").fillna("")
        yield ResultTable("summary", caption, told, tuple(lines))
    for name, caption, of_one in measured_by_artists(results):
        yield ResultTable(name, caption, by_artists(of_one))
    for name, caption, table in accuracies_by_label(results):
        yield ResultTable(name, caption, table)
    for protocol, dataset, label, of_most in recognised_of_most(results):
        few = by_enrolment(of_most)
        if len(few):
            name = f"{protocol}_by_enrolment_{dataset}_{label}"
            caption = f"{protocol} by {label} on {dataset}, by the number of songs that enrol one"
            yield ResultTable(name, caption, enrolment_side_by_side(few))
    paper = paper_tables.read_paper_tables()
    theirs = task_scores.select_paper_scores(paper)["dataset"].iloc[0]
    for dataset, found in task_scores.select_trainings(results).groupby("dataset"):
        lines = (*task_scores.describe_trends(found, paper), task_scores.describe_missing(found))
        for name, table in task_scores.tabulate_scores(found, paper).items():
            caption = f"genre on {dataset} by networks of several tasks: {name.replace('_', ' ')}"
            caption += "" if dataset == theirs else f"; the paper's are on {theirs}"
            said = lines if name == "by_tasks" else ()
            yield ResultTable(f"{name}_{dataset}", caption, table, said)


def measured_by_artists(results: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Name, caption and results of each measure against the number of training artists."""
    for protocol in BY_ARTISTS:
        of_one = results[results["protocol"].eq(protocol)]
        for (dataset, label), of_dataset in of_one.groupby(["dataset", "label"]):
            name = f"{protocol}_by_artists_{dataset}_{label}"
            caption = f"{protocol} by {label} on {dataset}, by the number of training artists"
            yield name, caption, of_dataset


def accuracies_by_label(results: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Name, caption and table of the accuracy of each genre, basic against siamese features."""
    known = results[results["protocol"].isin(SCORES)].dropna(subset="artists")
    for (protocol, dataset, label), of_one in known.groupby(["protocol", "dataset", "label"]):
        table = by_label(of_one)
        if len(table):
            caption = f"{SCORES[protocol]} accuracy by {label} on {dataset}"
            yield f"{protocol}_by_{label}_{dataset}", caption, table


def recognised_of_most(results: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Protocol, dataset, label and results of the systems of the most training artists."""
    known = results[results["protocol"].isin(RECOGNITION)]
    for names, of_one in known.groupby(["protocol", "dataset", "label"]):
        most = of_one["artists"].isna() | of_one["artists"].eq(of_one["artists"].max())
        yield *names, of_one[most]


def of_most_artists(results: pd.DataFrame) -> pd.DataFrame:
    """Of each model the results of the most training artists, and those that have no number."""
    most = results.groupby("model")["artists"].transform("max")
    return results[most.isna() | results["artists"].eq(most)]


# ---------------------------------------------------------------- as text


def as_markdown(sheet: ResultTable) -> str:
    """Caption, table and lines."""
    lines = "".join(f"{line}  \n" for line in sheet.lines)
    said = f"\n{lines}" if lines else ""
    return f"**{sheet.caption}**\n\n{formatting.to_markdown(sheet.table)}{said}"


def as_latex(sheet: ResultTable) -> str:
    """Table with its caption, and lines, for a document with booktabs and longtable."""
    items = "".join(f"\\item[] {formatting.make_breakable(line)}\n" for line in sheet.lines)
    listed = f"\\begin{{itemize}}\\raggedright\\scriptsize\n{items}\\end{{itemize}}\n"
    return formatting.to_latex(sheet.table, sheet.caption) + (listed if items else "")


# ---------------------------------------------------------------- as files


class WrittenTables(NamedTuple):
    """All tables of some results: `cells.beside_ours`, its sheets by paper, and the others."""

    beside: pd.DataFrame
    papers: dict[str, list[ResultTable]]
    others: list[ResultTable]


def write_all_tables(results: pd.DataFrame, folder: Path) -> WrittenTables:
    """Make all tables, and keep them in a folder.

    tables.csv, .md and .tex have the papers' tables, ours beside; the others have a name each.
    """
    beside = paper_tables.compare_with_paper(results)
    papers = {name: make_paper_tables(beside, name) for name in paper_tables.PAPERS}
    made = WrittenTables(beside, papers, list(make_comparison_tables(results)))
    write_table(
        beside, [one for of_paper in papers.values() for one in of_paper], folder / "tables"
    )
    for one in made.others:
        write_table(one.table, [one], folder / one.name)
    return made


def write_tables(folder: Path, paper: str | None = None) -> None:
    """`lay_out` a folder of results; yields what to say of them.

    Said are those papers' tables that have a number of ours, or those of the one asked for.
    """
    made = write_all_tables(read_results(folder), folder)
    for name, of_paper in made.papers.items():
        if paper in (None, name):
            if paper or any(one.table["ours"].notna().any() for one in of_paper):
                for one in of_paper:
                    logger.info("%s", as_markdown(one))
            logger.info("%s", describe_coverage(made.beside, name))
    if paper is None:
        for one in made.others:
            logger.info("%s", as_markdown(one))
        logger.info(
            "%s: all of the papers' numbers, and what the empty cells need", folder / "tables.md"
        )


def write_table(table: pd.DataFrame, made: list[ResultTable], path: Path) -> None:
    """Write a table as CSV, and the sheets that show it as Markdown and LaTeX, each whole."""
    texts = {
        ".csv": table.to_csv(index=False),
        ".md": "\n".join(map(as_markdown, made)),
        ".tex": formatting.LATEX_HEAD + "\n".join(map(as_latex, made)),
    }
    for suffix, content in texts.items():
        with atomic_write(add_suffix(path, suffix)) as aside:
            aside.write_text(content, encoding="utf-8")


# ---------------------------------------------------------------- side by side


def by_features(results: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """`column` of the results, a row for each set of features, a column for each protocol.

    Returns
    -------
    DataFrame
        `dataset`, `label`, `features`, and the scores `MAP`, `k-NN`, `linear`
        (NaN where not measured); the best MAP of a dataset and label first.
    """
    rows = ["dataset", "label", "features"]
    wide = results.pivot(index=rows, columns="protocol", values=column)
    wide = wide.reindex(columns=list(SCORES)).rename(columns=SCORES).rename_axis(columns=None)
    best = results[results["protocol"].eq("retrieval")].set_index(rows)["value"]
    return (
        wide.assign(best=best)
        .sort_values(["dataset", "label", "best", "features"], ascending=[True, True, False, True])
        .drop(columns="best")
        .reset_index()
    )


def by_artists(results: pd.DataFrame) -> pd.DataFrame:
    """A measure, a row for each system or model, a column for each number of training artists.

    Parameters
    ----------
    results
        From `read_results`, of one protocol. Models that differ in their seed alone are
        averaged; else of several of a system and number all are told.

    Returns
    -------
    DataFrame
        `dataset`, `label`, `system`, and for each number a column of "mean ± deviation" (over
        trainings, or else over trials), or the one value; "" where not measured. Those of no
        number of artists, such as MFCC, stand under "no number".
    """
    results = sort_features(average_over_seeds(results)).assign(system=systems)
    columns = {n: f"{n} artists" for n in sorted(results["artists"].dropna().unique())}
    columns |= {0: NO_ARTISTS} if results["artists"].isna().any() else {}
    results = results.assign(artists=results["artists"].fillna(0), told=formatted_values)
    rows = []
    for names, of_one in results.groupby(["dataset", "label", "system"], sort=False):
        row = {n: ", ".join(of_one.loc[of_one["artists"].eq(n), "told"]) for n in columns}
        rows.append({**dict(zip(("dataset", "label", "system"), names, strict=True)), **row})
    return pd.DataFrame(rows).rename(columns=columns)


def formatted_values(results: pd.DataFrame) -> list[str]:
    """Each value `with_spread`."""
    return list(map(format_with_deviation, results["value"], results["spread"]))


def systems(results: pd.DataFrame) -> pd.Series:
    """What lines and rows are called: the model, with its variant where there are several."""
    variant = results["variant"].fillna("")
    if variant.nunique() < 2:
        return results["model"]
    return results["model"].str.cat(variant, sep=" ").str.strip()


def by_label(results: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of each label, such as genre, by the basic and the siamese features.

    Parameters
    ----------
    results
        From `read_results`, of one dataset, label and protocol. Those of the largest number
        of artists that all models have are taken, or else of each model's largest; several
        of a model are averaged.

    Returns
    -------
    DataFrame
        The label, and for each model a column "basic, 5,000 artists" (NaN where not
        measured), or "…, mean of 3"; no rows if no result tells it.
    """
    tells = results["model"].isin(COMPARED) & results["details"].map(
        lambda d: ACCURACY_BY_LABEL in d
    )
    told = results[tells].dropna(subset="artists")
    told = told.assign(model=systems)
    models = told.groupby("artists")["model"].nunique()
    common = models.index[models.eq(told["model"].nunique())].max()
    columns = {}
    for model, of_one in told.groupby("model"):
        artists = of_one["artists"].max() if pd.isna(common) else common
        details = of_one.loc[of_one["artists"].eq(artists), "details"]
        means = pd.DataFrame([each[ACCURACY_BY_LABEL] for each in details]).mean()
        several = f", mean of {len(details)}" if len(details) > 1 else ""
        columns[f"{model}, {artists:,} artists{several}"] = means
    name = results["label"].iloc[0] if len(results) else "label"
    return pd.DataFrame(columns).sort_index().rename_axis(name).reset_index()


def by_enrolment(results: pd.DataFrame) -> pd.DataFrame:
    """The one-shot protocol: the measure of each system by the number of enrolment songs.

    Returns
    -------
    DataFrame
        `system`, `songs`, `value`; of the results that tell it.
    """
    rows = []
    for _, result in sort_features(results).assign(system=systems).iterrows():
        told = result["details"].get(BY_ENROLMENT, {})
        rows += [(result["system"], int(songs), value) for songs, value in told.items()]
    # JSON has the numbers of songs in the order of the alphabet.
    table = pd.DataFrame(rows, columns=["system", "songs", "value"])
    return table.sort_values("songs", kind="stable", ignore_index=True)


def enrolment_side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `by_enrolment`, a row a system, a column for each number of songs."""
    wide = table.pivot_table(index="system", columns="songs", values="value", sort=False)
    names = {songs: f"enrolled by {songs}" for songs in sorted(wide)}
    return wide[list(names)].rename(columns=names).rename_axis(columns=None).reset_index()


def sort_features(results: pd.DataFrame) -> pd.DataFrame:
    """The systems in the order in which the paper names them, others after."""
    place = {system: number for number, system in enumerate(SYSTEMS)}
    return results.sort_values(
        ["dataset", "label", "model", "artists"],
        key=lambda column: (
            column.map(place).fillna(len(place)) if column.name == "model" else column
        ),
        kind="stable",
    )


def margins(results: pd.DataFrame) -> list[str]:
    """How far each trained set of features is above each baseline, in words; of one dataset.

    Baselines are the features of the models `mfcc` and `untrained`.
    """
    judged = f"{', '.join(results.iloc[0][['dataset', 'label']])}: " if len(results) else ""
    scores = by_features(results).set_index("features")[list(SCORES.values())]
    models = results.drop_duplicates("features").set_index("features")["model"]
    is_baseline = models.isin(BASELINES).reindex(scores.index)
    lines = []
    for features, ours in scores[~is_baseline].iterrows():
        for baseline, theirs in scores[is_baseline].iterrows():
            gains = (ours - theirs).dropna()
            said = ", ".join(f"{gain:+.3f} {score}" for score, gain in gains.items())
            if said:
                lines.append(f"{judged}{features} against {baseline}: {said}")
    return lines
