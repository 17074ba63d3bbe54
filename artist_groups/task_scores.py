"""The combinations of agf2018's tasks: their scores one by one, and by how many tasks they have.

A *combination* is a kind of networks and the tasks that they learn, such as `mtn gse`: `g`
is genre; `s`, `e`, `d` and `m` are artist groups out of sub-genres, Essentia's descriptors,
differences of MFCC, and MFCC. STN learn each task apart, an MTN learns them together, and
`wstn N=3` is one network of genre alone, with the weights of three. Here results of
`evaluate.py genre` become the numbers of the paper's tables 3 to 5.

Functions take *trainings*: DataFrames with a row for each training and measure, and
columns `dataset, model, kind, genre, tasks, number, seed, metric, value, n_songs,
features`; `tasks` is "gse", `number` how many that are, `genre` "with g" or "without g".
"""

import itertools

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from artist_groups import task_sets
from evaluation.results import format_with_deviation, merge_names

KIND_NAMES = {"stn": "STN", "mtn": "MTN", "wstn": "wSTN"}
METRIC_NAMES = {"log_loss": "log loss", "macro_f1": "F1"}
BEST = {"log_loss": "idxmin", "macro_f1": "idxmax"}
GENRE_SETS = ("without g", "with g")
_CELL = ["dataset", "model", "kind", "genre", "tasks", "number", "metric"]


def _networks() -> pd.DataFrame:
    """Every combination there can be, by its model's name."""
    rows = [
        (run.model, run.kind, GENRE_SETS["g" in run.tasks], run.model.split()[1], len(run.tasks))
        for run in task_sets.list_runs(task_sets.KINDS, task_sets.list_task_sets(task_sets.TASKS))
    ]
    columns = ["model", "kind", "genre", "tasks", "number"]
    return pd.DataFrame(rows, columns=columns).set_index("model")


NETWORKS = _networks()


def select_trainings(results: pd.DataFrame) -> pd.DataFrame:
    """The trainings among results (`evaluation.results`) of genre; other models are left out."""
    told = results["protocol"].eq("genre") & results["label"].eq("genre")
    found = results[told & results["metric"].eq("log_loss")]
    f1 = pd.Series([told.get("macro_f1", np.nan) for told in found["details"]], found.index, float)
    both = pd.concat([found, found.assign(metric="macro_f1", value=f1)])
    # Of one whose seed is not known, each is a training of its own.
    return _known(both.assign(seed=both["seed"].astype(object).fillna(both["features"])))


def select_paper_scores(paper: pd.DataFrame) -> pd.DataFrame:
    """The paper's own trainings, out of `cells.read_paper_tables`: table 4, and of wSTN 5."""
    wide = paper["model"].str.startswith("wstn")
    found = paper[paper["paper"].eq("agf2018") & (paper["table"].eq(4) | wide)]
    return _known(found.assign(seed="the paper's", features="the paper's", n_songs=0))


def _known(found: pd.DataFrame) -> pd.DataFrame:
    kept = found[found["model"].isin(NETWORKS.index)].join(NETWORKS, on="model")
    return kept.dropna(subset="value")[[*_CELL, "seed", "value", "n_songs", "features"]]


def average_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """Each combination and measure: `value`, the mean over seeds, and `spread`, its deviation.

    Of one seed the spread is NaN; else `over` says of how many it is. `n_songs` is that of
    the fewest, `features` names all.
    """
    return (
        found.groupby(_CELL, sort=False)
        .agg(
            value=("value", "mean"),
            spread=("value", _deviation),
            over=("value", lambda values: _over(len(values))),
            n_songs=("n_songs", "min"),
            features=("features", merge_names),
        )
        .reset_index()
    )


def average_combinations(found: pd.DataFrame) -> pd.DataFrame:
    """STN and MTN without and with genre, as `each`: the mean over the combinations there are.

    The paper's table 3 is that of its table 4, single tasks among them (which MTN have not).
    The spread is that of this mean over the seeds that have all of these combinations.
    """
    rows = []
    groups = found[found["kind"].ne("wstn")].groupby(["dataset", "kind", "genre", "metric"])
    for (dataset, kind, genre, metric), group in groups:
        wide = group.pivot_table(index="tasks", columns="seed", values="value")
        rows.append(
            {
                "dataset": dataset,
                "model": f"{kind} {genre}",
                "metric": metric,
                "value": wide.mean(axis=1).mean(),
                "spread": _deviation(wide.dropna(axis=1).mean()),
                "over": _over(len(wide.dropna(axis=1).columns)),
                "n_songs": group["n_songs"].min(),
                "features": f"mean of {_share(wide, kind=kind, genre=genre)}",
                "lacking": _can_be(kind=kind, genre=genre) - len(wide),
            }
        )
    return pd.DataFrame(rows)


def best_combinations(found: pd.DataFrame) -> pd.DataFrame:
    """The best combination of each kind and number of tasks, as `each`, measure by measure.

    So the lowest log loss and the highest F1 may be those of different combinations, as
    they are in the paper's table 5.
    """
    rows = []
    groups = average_seeds(found).groupby(["dataset", "kind", "number", "metric"])
    for (_, kind, number, metric), group in groups:
        row = group.loc[getattr(group["value"], BEST[metric])()]
        of_all = "" if kind == "wstn" else f", best of {_share(group, kind=kind, number=number)}"
        about = {"model": f"{kind} N={number}", "features": row["features"] + of_all}
        rows.append({**row, **about, "lacking": _can_be(kind=kind, number=number) - len(group)})
    return pd.DataFrame(rows)


def _share(there: pd.DataFrame, **columns) -> str:
    """How many combinations are there of those that there can be."""
    return f"{len(there)} of {_can_be(**columns)} combinations"


def _can_be(**columns) -> int:
    return (NETWORKS[list(columns)] == pd.Series(columns)).all(axis=1).sum()


def _over(seeds: int) -> str:
    return f"{seeds} seeds" if seeds > 1 else ""


def _deviation(values: pd.Series) -> float:
    return values.std(ddof=0) if len(values) > 1 else np.nan


# ---------------------------------------------------------------- tables


def compute_cells(found: pd.DataFrame) -> pd.DataFrame:
    """What fills the paper's tables 3 to 5: `each` combination, `means` and `best`.

    Columns `dataset, model, metric, value, spread, over, n_songs, features`, and `lacking`, of how
    many combinations more a mean or best is in the paper; `model` is "stn gs", "stn with g" or
    "stn N=2".
    """
    columns = ["dataset", "model", "metric", "value", "spread", "over", "n_songs", "features"]
    columns.append("lacking")
    if not len(found):
        return found.reindex(columns=columns)
    one_by_one = average_seeds(found)
    parts = [
        one_by_one[one_by_one["kind"].ne("wstn")],
        average_combinations(found),
        best_combinations(found),
    ]
    return pd.concat([part.reindex(columns=columns) for part in parts if len(part)])


def tabulate_scores(found: pd.DataFrame, paper: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The paper's tables 4, 3 and 5 by the name of what they show, its numbers beside ours.

    Parameters
    ----------
    found : trainings of one dataset
    paper : from `cells.read_paper_tables`, whose rows are ours

    Returns
    -------
    A column for each kind and measure of ours, "mean ± deviation over the seeds", the one
    value or "", and one for each of the paper's.
    """
    paper = paper[paper["paper"].eq("agf2018")]
    in_order = paper[paper["table"].eq(4)]["model"].str.split(" ").str[1].unique()
    numbers = {str(number): f"N={number}" for number in range(2, len(task_sets.TASKS) + 1)}
    ours = {
        key: format_with_deviation(row["value"], row["spread"])
        for key, row in compute_cells(found).set_index(["model", "metric"]).iterrows()
    }
    theirs = paper.set_index(["model", "metric"])["value"].to_dict()
    return {
        "combinations": _wide("tasks", {name: name for name in in_order}, 2, ours, theirs),
        "with_and_without_genre": _wide(
            "tasks", {name: name for name in GENRE_SETS}, 2, ours, theirs
        ),
        "by_tasks": _wide("number of tasks", numbers, 3, ours, theirs),
    }


def _wide(name: str, rows: dict[str, str], kinds: int, ours: dict, theirs: dict) -> pd.DataFrame:
    """A row for each of `rows`, {what it is called: what its models are}, of the first kinds."""
    columns = list(itertools.product(list(KIND_NAMES)[:kinds], METRIC_NAMES))
    table = {name: list(rows)}
    for prefix, numbers, empty in (("", ours, ""), ("paper's ", theirs, np.nan)):
        for kind, metric in columns:
            cells = [numbers.get((f"{kind} {of}", metric), empty) for of in rows.values()]
            table[f"{prefix}{KIND_NAMES[kind]} {METRIC_NAMES[metric]}"] = cells
    return pd.DataFrame(table)


# ---------------------------------------------------------------- against the number of tasks


def average_by_number(found: pd.DataFrame) -> pd.DataFrame:
    """The mean over the combinations of so many tasks, those with genre and without apart.

    Returns
    -------
    DataFrame
        `kind, genre, metric, number, value, spread`; the spread is the deviation over the
        combinations, or over the seeds where there is but one combination.
    """
    groups = average_seeds(found).groupby(["kind", "genre", "metric", "number"])
    table = groups.agg(
        value=("value", "mean"), over=("value", _deviation), of_one=("spread", "first")
    )
    return table.assign(spread=table["over"].fillna(table["of_one"])).reset_index()[
        ["kind", "genre", "metric", "number", "value", "spread"]
    ]


def describe_trends(found: pd.DataFrame, paper: pd.DataFrame) -> list[str]:
    """Both measures by number of tasks in words, with Spearman's rank correlation of the two.

    A line for each kind and measure; for STN and MTN also of the combinations with genre
    and of those without, as more tasks are likelier to have it among them. The correlation
    is over the combinations of a seed, mean and deviation over the seeds; that of the paper
    is of the same combinations, out of `cells.read_paper_tables`.
    """
    theirs, lines = select_paper_scores(paper), []
    for kind, metric in itertools.product(KIND_NAMES, METRIC_NAMES):
        of_kind = found[found["kind"].eq(kind) & found["metric"].eq(metric)]
        for genre in ("", *GENRE_SETS) if kind != "wstn" else ("",):
            ours = of_kind[of_kind["genre"].eq(genre)] if genre else of_kind
            if len(ours):
                same = theirs[theirs["model"].isin(ours["model"]) & theirs["metric"].eq(metric)]
                means = average_seeds(ours).groupby("number")["value"].mean()
                lines.append(
                    f"{KIND_NAMES[kind]}{genre and ' '}{genre}, {METRIC_NAMES[metric]} by number of tasks: "
                    + ", ".join(f"{value:.4f} of {number}" for number, value in means.items())
                    + f"; rank correlation {_correlation(ours)} (the paper's {_correlation(same)})"
                )
    return lines


def rank_correlations(found: pd.DataFrame) -> list[float]:
    """Spearman's correlation of value and number of tasks in each seed that varies in both."""
    return [
        float(spearmanr(of_seed["number"], of_seed["value"]).statistic)
        for _, of_seed in found.groupby("seed")
        if of_seed["number"].nunique() > 1 and of_seed["value"].nunique() > 1
    ]


def _correlation(found: pd.DataFrame) -> str:
    values = rank_correlations(found)
    if not values:
        return "not known"
    return f"{np.mean(values):+.2f}" + (f" ± {np.std(values):.2f}" if len(values) > 1 else "")


def describe_missing(found: pd.DataFrame) -> str:
    """How many of the paper's combinations have no result, in words."""
    asked = NETWORKS[NETWORKS["kind"].ne("wstn")].index
    lacking = len(asked.difference(found["model"]))
    return f"{lacking} of {len(asked)} combinations have no result" + (
        "; means and the best are of those that have" if lacking else ""
    )
