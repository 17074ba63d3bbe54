"""Update the measured numbers in the READMEs from results/reference, or check them.

    python bench/readme.py [--take FOLDER=NAME ...] [--bench BENCH=FILE ...] [--check]

Each README encloses its numbers between lines such as `<!-- demo -->` and `<!-- /demo -->`; this
script replaces everything in between. `--take results/demo=demo` first records the results in a
folder, one row per result, in results/reference/demo.csv. `--bench retrieval=FILE` records the
output of bench/retrieval.py that was saved to a file. With `--check`, the script writes no README
and fails if one is out of date.
"""

import argparse
import re
import sys
from collections.abc import Callable
from datetime import date
from functools import cache, partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import pandas as pd

from artist_groups import task_scores
from common.files import atomic_write
from evaluation.results import (
    DTYPES,
    RESULT_COLUMNS,
    average_over_seeds,
    format_with_deviation,
    read_results,
)
from papers import paper_tables
from report import result_tables
from report.formatting import to_markdown

REFERENCE = ROOT / "results" / "reference"
READMES = (
    "README.md",
    *(f"{room}/README.md" for room in ("data_prep", "models", "training", "papers", "bench")),
)
COLUMNS = ["protocol", "metric", "dataset", "label", "features", "model", "artists", "seed"]
COLUMNS += ["value", "spread", "trials", "n_songs", "macro_f1"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--take", nargs="+", default=[], metavar="FOLDER=NAME")
    parser.add_argument("--bench", nargs="+", default=[], metavar="BENCH=FILE")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for pair in args.take:
        folder, name = pair.split("=")
        record_results(Path(folder), name)
    for pair in args.bench:
        bench, file = pair.split("=")
        record_bench(bench, Path(file))
    for name in READMES:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = fill_blocks(before)
        if args.check and after != before:
            sys.exit(f"{name}: differs from results/reference; run python bench/readme.py")
        if after != before:
            with atomic_write(path) as partial_path:
                partial_path.write_text(after, encoding="utf-8")
            print(f"{name}: updated")


def record_results(folder: Path, name: str) -> None:
    """Record the results in a folder, except t-SNE maps, in results/reference/NAME.csv."""
    results = read_results(folder)
    results = results[results["protocol"].ne("tsne")]
    f1 = [details.get("macro_f1", np.nan) for details in results["details"]]
    table = results.assign(macro_f1=f1)[COLUMNS].sort_values(COLUMNS[:6], ignore_index=True)
    table.round(6).to_csv(REFERENCE / f"{name}.csv", index=False)
    print(f"{REFERENCE / name}.csv: {len(table)} results")


def record_bench(bench: str, output: Path) -> None:
    """Update a benchmark's rows in bench.csv from its output."""
    path = REFERENCE / "bench.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    lines = dict(re.findall(r"^(\w+) (\S+)$", output.read_text(encoding="utf-8"), re.MULTILINE))
    known = table["bench"].eq(bench) & table["line"].isin(lines)
    table.loc[known, "here"] = table.loc[known, "line"].map(lines)
    table.loc[known, "measured"] = date.today().isoformat()
    table.to_csv(path, index=False)
    print(f"{path}: {known.sum()} lines of {bench}")


@cache
def read_reference(name: str) -> pd.DataFrame:
    """Return recorded results in the format of `evaluation.results.read_results`."""
    table = pd.read_csv(REFERENCE / f"{name}.csv").astype(DTYPES)
    details = [{"macro_f1": f1} for f1 in table["macro_f1"]]
    table = table.assign(details=details, made_from=[{}] * len(table))
    return table.reindex(columns=[*table, *(name for name in RESULT_COLUMNS if name not in table)])


def fill_blocks(text: str) -> str:
    """Return the text of a README with all of its number blocks brought up to date."""

    def block(match: re.Match) -> str:
        name = match["name"]
        return f"<!-- {name} -->\n{BLOCKS[name]()}<!-- /{name} -->"

    return re.sub(r"<!-- (?P<name>\w+) -->\n.*?<!-- /(?P=name) -->", block, text, flags=re.DOTALL)


# ---------------------------------------------------------------- blocks


def format_values(values: pd.Series, deviations: pd.Series) -> list[str]:
    """Return formatted values, with their standard deviations where available."""
    pairs = zip(values, deviations, strict=True)
    return [format_with_deviation(*pair, digits=3) for pair in pairs]


def pivot_values(results: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Return formatted values pivoted by two result columns, with missing values left empty."""
    texts = results.assign(text=format_values(results["value"], results["spread"]))
    return (
        texts.pivot(index=rows, columns=columns, values="text").fillna("").rename_axis(columns=None)
    )


def pivot_by_artists(results: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return a table of the systems' scores, in the paper's order, by number of artists."""
    averages = average_over_seeds(
        results[results["protocol"].eq(protocol)].dropna(subset="artists")
    )
    table = pivot_values(averages, "model", "artists")
    order = sorted(table.index, key=[*result_tables.SYSTEMS, *table.index].index)
    return table.loc[order].rename(columns="{} artists".format)


def demo() -> str:
    """Return the synthetic-corpus scores of the models with the most training artists."""
    results = read_reference("demo")
    scores = average_over_seeds(results[results["protocol"].isin(result_tables.SCORES)])
    largest = scores["artists"].isna() | scores["artists"].eq(scores["artists"].max())
    table = pivot_values(scores[largest], "model", "protocol")[list(result_tables.SCORES)]
    table = table.rename(columns=result_tables.SCORES).sort_values("MAP", ascending=False)
    return to_markdown(table.rename_axis("features").reset_index())


def sweep() -> str:
    """Return MAP and k-NN accuracy by number of training artists, and the baseline scores."""
    results, tables, lines = read_reference("demo"), [], []
    results = results[results["model"].isin(["basic", "siamese", "mfcc", "untrained"])]
    for protocol in ("retrieval", "knn"):
        name = result_tables.SCORES[protocol]
        table = pivot_by_artists(results, protocol)
        table.insert(0, "metric", name)
        tables.append(table)
        baselines = average_over_seeds(
            results[results["protocol"].eq(protocol) & results["artists"].isna()]
        )
        texts = format_values(baselines["value"], baselines["spread"])
        scores = ", ".join(map(" ".join, zip(baselines["model"], texts, strict=True)))
        lines.append(f"{name} without training: {scores}.")
    table = pd.concat(tables).rename_axis("model").reset_index()
    return f"{to_markdown(table)}\n{' '.join(lines)}\n"


def recognition(protocol: str) -> str:
    """Return each system's equal error rate or accuracy by number of training artists."""
    table = pivot_by_artists(read_reference("demo"), protocol)
    return to_markdown(table.rename_axis("system").reset_index())


def networks_by_tasks(metric: str) -> str:
    """Return a metric of the agf2018 networks by number of tasks."""
    trainings = task_scores.select_trainings(read_reference("demo"))
    table = task_scores.average_by_number(trainings).query("metric == @metric")
    kinds = table["kind"].map(task_scores.KIND_NAMES)
    names = kinds.where(table["kind"].eq("wstn"), kinds + " " + table["genre"])
    numbers = table["number"].map(lambda n: f"{n} task{'s' * (n > 1)}")
    table = pivot_values(table.assign(network=names, tasks=numbers), "network", "tasks")
    order = [f"{kind} {genre}" for kind in ("STN", "MTN") for genre in task_scores.GENRE_SETS]
    return to_markdown(table.loc[[*order, "wSTN"]].reset_index())


@cache
def comparison() -> pd.DataFrame:
    return paper_tables.compare_with_paper(read_reference("demo"))


def paper_table(paper: str, number: int) -> str:
    """Return a paper's table, alongside this package's results on the synthetic corpus."""
    table = comparison()
    table = table[table["paper"].eq(paper) & table["table"].eq(number)]
    table = table[table["note"].ne(paper_tables.QUOTED)]
    from_paper = table["ours"].isna()
    sources = from_paper.map({True: " (the paper)", False: " (ours)"})
    metrics = ", " + table["metric"] if table["metric"].nunique() > 1 else ""
    names = table["model"]
    if table.groupby(["dataset", "metric", "model"])["artists"].nunique().max() > 1:
        names = names + ", " + table["artists"].astype(str) + " artists"
    values = table["ours"].fillna(table["paper's"])
    table = table.assign(
        model=names,
        column=table["dataset"] + metrics + sources,
        text=format_values(values, table["spread"]),
    ).drop_duplicates(["model", "column"])
    wide = table.pivot(index="model", columns="column", values="text").fillna("")
    wide = wide.loc[table["model"].unique(), table["column"].unique()]
    return to_markdown(wide.rename_axis(columns=None).reset_index())


def real_clips() -> str:
    """Return the released weights' scores on one hundred real clips."""
    table = pd.read_csv(REFERENCE / "real_clips.csv")
    metrics = ["MAP", "k-NN", "linear", "EER", "identified"]
    none = pd.Series(np.nan, table.index)
    for metric in metrics:
        table[metric] = format_values(table[metric], table.get(f"{metric} spread", none))
    return to_markdown(table[["features", *metrics]])


def tuned() -> str:
    """Return the released weights' synthetic-corpus scores before and after fine-tuning."""
    results = average_over_seeds(read_reference("tuned"))
    table = pivot_values(results, "features", "protocol")[list(result_tables.SCORES)]
    return to_markdown(table.rename(columns=result_tables.SCORES).sort_values("MAP").reset_index())


def benchmarks() -> str:
    """Return the recorded benchmark results."""
    table = pd.read_csv(REFERENCE / "bench.csv", dtype=str, keep_default_na=False)
    return to_markdown(
        table.assign(bench="`bench/" + table["bench"] + ".py`", line="`" + table["line"] + "`")
    )


def published() -> str:
    """Return the siamese model's training speed with the published method and this package."""
    return to_markdown(pd.read_csv(REFERENCE / "published.csv", dtype=str))


BLOCKS: dict[str, Callable[[], str]] = {
    "demo": demo,
    "sweep": sweep,
    "verification": partial(recognition, "verification"),
    "identification": partial(recognition, "identification"),
    "log_loss": partial(networks_by_tasks, "log_loss"),
    "macro_f1": partial(networks_by_tasks, "macro_f1"),
    "real_clips": real_clips,
    "tuned": tuned,
    "bench": benchmarks,
    "published": published,
    **{f"{paper}_{n}": partial(paper_table, paper, n) for paper, n in paper_tables.TABLES},
}


if __name__ == "__main__":
    main()
