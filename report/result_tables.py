"""The tables of results as sheets: a table, what it shows, and what is said of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from artist_groups import task_scores
from common.files import add_suffix, atomic_write
from evaluation.results import average_over_seeds, read_results
from papers import paper_tables
from report import aggregate, formatting

# What the papers measure against the number of training artists.
RECOGNITION = ("verification", "identification")
BY_ARTISTS = (*RECOGNITION, "transfer", "tagging", *aggregate.SCORES)


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


def paper_result_tables(beside: pd.DataFrame, paper: str) -> list[ResultTable]:
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


def coverage(beside: pd.DataFrame, paper: str) -> str:
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


def result_tables(results: pd.DataFrame) -> Iterator[ResultTable]:
    """What else there is to see side by side: features, systems, genres, sets of tasks."""
    scores = average_over_seeds(results[results["protocol"].isin(aggregate.SCORES)])
    if len(scores):
        lines = [
            line
            for _, of_one in scores.groupby(["dataset", "label"])
            for line in aggregate.margins(of_most_artists(of_one))
        ]
        caption = "MAP, and accuracies of k-NN and linear softmax; ± over seeds, or else trials"
        told = aggregate.by_features(scores.assign(told=aggregate.formatted_values), "told").fillna(
            ""
        )
        yield ResultTable("summary", caption, told, tuple(lines))
    for name, caption, of_one in measured_by_artists(results):
        yield ResultTable(name, caption, aggregate.by_artists(of_one))
    for name, caption, table in accuracies_by_label(results):
        yield ResultTable(name, caption, table)
    for protocol, dataset, label, of_most in recognised_of_most(results):
        few = aggregate.by_enrolment(of_most)
        if len(few):
            name = f"{protocol}_by_enrolment_{dataset}_{label}"
            caption = f"{protocol} by {label} on {dataset}, by the number of songs that enrol one"
            yield ResultTable(name, caption, aggregate.enrolment_side_by_side(few))
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
    known = results[results["protocol"].isin(aggregate.SCORES)].dropna(subset="artists")
    for (protocol, dataset, label), of_one in known.groupby(["protocol", "dataset", "label"]):
        table = aggregate.by_label(of_one)
        if len(table):
            caption = f"{aggregate.SCORES[protocol]} accuracy by {label} on {dataset}"
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


def layout_tables(results: pd.DataFrame, folder: Path) -> WrittenTables:
    """Make all tables, and keep them in a folder.

    tables.csv, .md and .tex have the papers' tables, ours beside; the others have a name each.
    """
    beside = paper_tables.compare_with_paper(results)
    papers = {name: paper_result_tables(beside, name) for name in paper_tables.PAPERS}
    made = WrittenTables(beside, papers, list(result_tables(results)))
    write_table(
        beside, [one for of_paper in papers.values() for one in of_paper], folder / "tables"
    )
    for one in made.others:
        write_table(one.table, [one], folder / one.name)
    return made


def write_tables(folder: Path, paper: str | None = None) -> Iterator[str]:
    """`lay_out` a folder of results; yields what to say of them.

    Said are those papers' tables that have a number of ours, or those of the one asked for.
    """
    made = layout_tables(read_results(folder), folder)
    for name, of_paper in made.papers.items():
        if paper in (None, name):
            if paper or any(one.table["ours"].notna().any() for one in of_paper):
                yield from map(as_markdown, of_paper)
            yield coverage(made.beside, name)
    if paper is None:
        yield from map(as_markdown, made.others)
        yield f"{folder / 'tables.md'}: all of the papers' numbers, and what the empty cells need"


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
