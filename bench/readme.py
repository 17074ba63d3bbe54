"""The measured numbers of the READMEs, out of results/reference: written, or only compared.

    python bench/readme.py [--take FOLDER=NAME ...] [--check]

A README has them between lines such as `<!-- demo -->` and `<!-- /demo -->`; this writes what
stands between anew. `--take results/demo=demo` first keeps the results of a folder, each a row,
as results/reference/demo.csv; `--bench retrieval=FILE` the lines `name value` that
bench/retrieval.py printed into a file. With --check nothing is written, and a README that is
not as it would be is an error.
"""

import argparse
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import pandas as pd

from artist_groups import task_scores
from common.files import atomic_write
from evaluation.results import (
    DTYPES,
    OPTIONAL,
    average_over_seeds,
    format_with_deviation,
    read_results,
)
from papers import paper_tables
from report import result_tables
from report.formatting import to_markdown

REFERENCE = ROOT / "results" / "reference"
READMES = ("README.md", "data_prep/README.md", "models/README.md", "papers/README.md")
READMES += ("bench/README.md",)
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
        folder, _, name = pair.partition("=")
        take(Path(folder), name)
    for pair in args.bench:
        bench, _, file = pair.partition("=")
        take_bench(bench, Path(file))
    for name in READMES:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if args.check and after != before:
            sys.exit(f"{name}: not as results/reference has it; run python bench/readme.py")
        if after != before:
            with atomic_write(path) as aside:
                aside.write_text(after, encoding="utf-8")
            print(f"{name}: written anew")


def take(folder: Path, name: str) -> None:
    """Keep the results of a folder as results/reference/NAME.csv, but for maps of songs."""
    results = read_results(folder)
    results = results[results["protocol"].ne("tsne")]
    f1 = [details.get("macro_f1", np.nan) for details in results["details"]]
    table = results.assign(macro_f1=f1)[COLUMNS].sort_values(COLUMNS[:6], ignore_index=True)
    with atomic_write(REFERENCE / f"{name}.csv") as aside:
        table.round(6).to_csv(aside, index=False)
    print(f"{REFERENCE / name}.csv: {len(table)} results")


def take_bench(bench: str, output: Path) -> None:
    """Keep what a bench printed: the lines that bench.csv has of it."""
    path = REFERENCE / "bench.csv"
    made = pd.read_csv(path, dtype=str, keep_default_na=False)
    lines = dict(re.findall(r"^(\w+) (\S+)$", output.read_text(encoding="utf-8"), re.MULTILINE))
    known = made["bench"].eq(bench) & made["line"].isin(lines)
    made.loc[known, "here"] = made.loc[known, "line"].map(lines)
    made.loc[known, "measured"] = date.today().isoformat()
    with atomic_write(path) as aside:
        made.to_csv(aside, index=False)
    print(f"{path}: {known.sum()} lines of {bench}")


def reference(name: str) -> pd.DataFrame:
    """Results that were taken, as `evaluation.results.read_results` gives them."""
    table = pd.read_csv(REFERENCE / f"{name}.csv").astype(DTYPES)
    details = [{"macro_f1": f1} for f1 in table["macro_f1"]]
    table = table.assign(details=details, made_from=[{}] * len(table))
    return table.reindex(columns=[*table, *OPTIONAL.keys() - set(table)])


def filled(text: str) -> str:
    """A README with what stands in its blocks made anew."""

    def block(found: re.Match) -> str:
        name = found["name"]
        return f"<!-- {name} -->\n{BLOCKS[name]()}<!-- /{name} -->"

    return re.sub(r"<!-- (?P<name>\w+) -->\n.*?<!-- /(?P=name) -->", block, text, flags=re.DOTALL)


# ---------------------------------------------------------------- blocks


def told(value: float, spread: float = np.nan) -> str:
    """A value with its spread, if it has one."""
    return format_with_deviation(value, spread, digits=3)


def wide(results: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Values with their spreads, a row and a column for each of these; "" where there is none."""
    values = [told(*pair) for pair in zip(results["value"], results["spread"], strict=True)]
    made = results.assign(told=values).pivot(index=rows, columns=columns, values="told")
    return made.fillna("").rename_axis(columns=None)


def by_artists(results: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Systems in the paper's order against the number of training artists."""
    of_one = average_over_seeds(results[results["protocol"].eq(protocol)].dropna(subset="artists"))
    made = wide(of_one, "model", "artists")
    order = [model for model in result_tables.SYSTEMS if model in made.index]
    order += [model for model in made.index if model not in order]
    columns = {count: f"{count} artists" for count in sorted(made)}
    return made.loc[order, list(columns)].rename(columns=columns)


def demo() -> str:
    """The features of the most artists on the built-in corpus."""
    results = reference("demo")
    scores = average_over_seeds(results[results["protocol"].isin(result_tables.SCORES)])
    most = scores["artists"].isna() | scores["artists"].eq(scores["artists"].max())
    made = wide(scores[most], "model", "protocol")[list(result_tables.SCORES)]
    made = made.rename(columns=result_tables.SCORES).sort_values("MAP", ascending=False)
    return to_markdown(made.rename_axis("features").reset_index())


def sweep() -> str:
    """MAP and k-NN against the number of training artists, over seeds."""
    results = reference("sweep")
    parts = []
    for protocol in ("retrieval", "knn"):
        made = by_artists(results, protocol)
        made.insert(0, "measure", result_tables.SCORES[protocol])
        parts.append(made)
    made = pd.concat(parts).rename_axis("model").reset_index()
    lines = []
    for protocol in ("retrieval", "knn"):
        of_one = average_over_seeds(
            results[results["protocol"].eq(protocol) & results["artists"].isna()]
        )
        told_of = zip(of_one["model"], of_one["value"], of_one["spread"], strict=True)
        said = ", ".join(f"{model} {told(*pair)}" for model, *pair in told_of)
        lines.append(f"{result_tables.SCORES[protocol]} without training: {said}.")
    return f"{to_markdown(made)}\n{' '.join(lines)}\n"


def recognition(protocol: str) -> str:
    """Equal error rate or accuracy of each system."""
    made = by_artists(reference("demo"), protocol)
    return to_markdown(made.rename_axis("system").reset_index())


def groups(metric: str) -> str:
    """A measure of agf2018's networks against the number of tasks."""
    found = task_scores.select_trainings(reference("demo"))
    table = task_scores.average_by_number(found).query("metric == @metric")
    kinds = table["kind"].map(task_scores.KIND_NAMES)
    names = kinds.where(table["kind"].eq("wstn"), kinds + " " + table["genre"])
    columns = table["number"].map(lambda n: f"{n} task{'s' * (n > 1)}")
    made = wide(table.assign(network=names, tasks=columns), "network", "tasks")
    order = [f"{kind} {genre}" for kind in ("STN", "MTN") for genre in task_scores.GENRE_SETS]
    return to_markdown(made.loc[[*order, "wSTN"]].reset_index())


def table_of(paper: str, number: int) -> str:
    """A table of a paper as it stands there, and beside its numbers ours on the built-in corpus."""
    table = paper_tables.compare_with_paper(reference("demo"))
    table = table[table["paper"].eq(paper) & table["table"].eq(number)]
    table = table[table["note"].ne("quoted by the paper")]
    # Where a paper has several numbers of artists, each is a row; else ours are told of the most.
    sizes = table.groupby(["dataset", "metric", "model"])["artists"].nunique().max() > 1
    rows = []
    for cell in table.to_dict("records"):
        theirs = cell["paper's"]
        ours = pd.isna(theirs)
        metric = f", {cell['metric']}" if table["metric"].nunique() > 1 else ""
        rows.append(
            {
                "model": cell["model"] + (f", {cell['artists']} artists" if sizes else ""),
                "of": f"{cell['dataset']}{metric} ({'ours' if ours else 'the paper'})",
                "value": told(cell["ours"], cell["spread"]) if ours else told(theirs),
            }
        )
    made = pd.DataFrame(rows).drop_duplicates(["model", "of"])
    order = made["model"].unique(), made["of"].unique()
    made = made.pivot(index="model", columns="of", values="value").loc[order].fillna("")
    return to_markdown(made.rename_axis(columns=None).reset_index())


def real_clips() -> str:
    """Released weights on one hundred real clips."""
    made = pd.read_csv(REFERENCE / "real_clips.csv")
    measures = ["MAP", "k-NN", "linear", "EER", "identified"]
    for measure in measures:
        spread = made.get(f"{measure} spread", pd.Series(np.nan, made.index))
        made[measure] = [told(*pair) for pair in zip(made[measure], spread, strict=True)]
    return to_markdown(made[["features", *measures]])


def tuned() -> str:
    """The released weights on the built-in corpus, before and after fine-tuning."""
    results = average_over_seeds(reference("tuned"))
    made = wide(results, "features", "protocol")[list(result_tables.SCORES)]
    return to_markdown(made.rename(columns=result_tables.SCORES).sort_values("MAP").reset_index())


def measurements() -> str:
    """The last lines of the benches."""
    made = pd.read_csv(REFERENCE / "bench.csv", dtype=str, keep_default_na=False)
    made["bench"] = "`bench/" + made["bench"] + ".py`"
    made["line"] = "`" + made["line"] + "`"
    return to_markdown(made)


def published() -> str:
    """Siamese examples a second, by the published way of training and here."""
    made = pd.read_csv(REFERENCE / "published.csv", dtype=str)
    return to_markdown(made)


BLOCKS: dict[str, Callable[[], str]] = {
    "demo": demo,
    "sweep": sweep,
    "verification": lambda: recognition("verification"),
    "identification": lambda: recognition("identification"),
    "log_loss": lambda: groups("log_loss"),
    "macro_f1": lambda: groups("macro_f1"),
    "real_clips": real_clips,
    "tuned": tuned,
    "bench": measurements,
    "published": published,
}
BLOCKS |= {
    f"{paper}_{number}": lambda paper=paper, number=number: table_of(paper, number)
    for paper, number in paper_tables.TABLES
}


if __name__ == "__main__":
    main()
