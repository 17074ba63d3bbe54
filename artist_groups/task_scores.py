"""agf2018 scores by task set: the numbers in the paper's tables 3 to 5 and figure 3.

A *combination* is a network type and its task set, named as in the paper's tables: "mtn gse", or
"wstn N=3" for a wSTN with as many weights as three networks.

Functions take a `trainings` argument: a DataFrame with one row per training run and metric, and the
columns `dataset, model, kind, genre, tasks, number, metric, seed, value, n_songs, features`. Here,
`kind` is the network type, `tasks` the task codes (such as "gse"), `number` the number of tasks,
and `genre` "with g" or "without g".
"""

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd

from artist_groups import task_sets
from evaluation.results import format_with_deviation, merge_names

KIND_NAMES = {"stn": "STN", "mtn": "MTN", "wstn": "wSTN"}
METRIC_NAMES = {"log_loss": "log loss", "macro_f1": "F1"}
GENRE_SETS = ("without g", "with g")

# All combinations in the paper, indexed by model name.
NETWORKS = pd.DataFrame(
    [
        (run.model, run.kind, GENRE_SETS["g" in run.tasks], run.model.split()[1], len(run.tasks))
        for run in task_sets.list_runs(task_sets.KINDS, task_sets.list_task_sets(task_sets.TASKS))
    ],
    columns=["model", "kind", "genre", "tasks", "number"],
).set_index("model")

_COMBINATION = ["dataset", "model", "kind", "genre", "tasks", "number", "metric"]
_CELL = ["dataset", "model", "metric", "value", "spread", "over", "n_songs", "features", "lacking"]


def select_trainings(results: pd.DataFrame) -> pd.DataFrame:
    """Select the agf2018 training runs from results of the `genre` protocol."""
    is_genre = results["protocol"].eq("genre") & results["label"].eq("genre")
    log_loss = results[is_genre & results["metric"].eq("log_loss")]
    macro_f1 = [details.get("macro_f1", np.nan) for details in log_loss["details"]]
    both = pd.concat([log_loss, log_loss.assign(metric="macro_f1", value=macro_f1)])
    # If a run's seed is unknown, its feature name is used as the seed, so that such runs are not
    # averaged with each other.
    return _join_networks(both.assign(seed=both["seed"].astype(object).fillna(both["features"])))


def select_paper_scores(paper: pd.DataFrame) -> pd.DataFrame:
    """Select the paper's own scores from the table returned by `paper_tables.read_paper_tables`."""
    is_wide = paper["model"].str.startswith("wstn")  # wSTN scores appear only in table 5
    scores = paper[paper["paper"].eq("agf2018") & (paper["table"].eq(4) | is_wide)]
    return _join_networks(scores.assign(seed="the paper's", features="the paper's", n_songs=0))


def _join_networks(scores: pd.DataFrame) -> pd.DataFrame:
    trainings = scores.join(NETWORKS, on="model", how="inner").dropna(subset="value")
    return trainings[[*_COMBINATION, "seed", "value", "n_songs", "features"]]


def average_seeds(trainings: pd.DataFrame) -> pd.DataFrame:
    """Average each combination and metric over seeds.

    `spread` is the standard deviation over seeds (NaN for a single seed), `over` states the number
    of seeds, `n_songs` is the smallest number of tracks, and `features` names all feature files.
    """
    groups = trainings.groupby(_COMBINATION, sort=False)
    return groups.agg(
        value=("value", "mean"),
        spread=("value", _deviation),
        over=("value", _count_seeds),
        n_songs=("n_songs", "min"),
        features=("features", merge_names),
    ).reset_index()


def average_combinations(trainings: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of STNs and MTNs, with and without genre, over combinations (table 3).

    As in the paper, the STN averages include single tasks. `spread` is the standard deviation of
    the average over seeds, using only seeds for which every combination has a score.
    """
    rows = []
    narrow = trainings[trainings["kind"].ne("wstn")]
    for key, group in narrow.groupby(["dataset", "kind", "genre", "metric"]):
        dataset, kind, genre, metric = key
        by_seed = group.pivot_table(index="tasks", columns="seed", values="value")
        complete = by_seed.dropna(axis=1).mean()
        count, possible = len(by_seed), _count_combinations(kind=kind, genre=genre)
        scores = (by_seed.mean(axis=1).mean(), _deviation(complete), _count_seeds(complete))
        tracks, features = group["n_songs"].min(), f"mean of {count} of {possible} combinations"
        rows.append(
            (dataset, f"{kind} {genre}", metric, *scores, tracks, features, possible - count)
        )
    return pd.DataFrame(rows, columns=_CELL)


def best_combinations(trainings: pd.DataFrame) -> pd.DataFrame:
    """Find the best combination per network type, number of tasks and metric (table 5).

    As in the paper, the lowest log loss and the highest F1 may come from different combinations.
    """
    rows = []
    keys = ["dataset", "kind", "number", "metric"]
    for (_, kind, number, metric), group in average_seeds(trainings).groupby(keys):
        values, possible = group["value"], _count_combinations(kind=kind, number=number)
        row = group.loc[values.idxmin() if metric == "log_loss" else values.idxmax()].to_dict()
        if kind != "wstn":
            row["features"] += f", best of {len(group)} of {possible} combinations"
        rows.append({**row, "model": f"{kind} N={number}", "lacking": possible - len(group)})
    return pd.DataFrame(rows)


def average_by_number(trainings: pd.DataFrame) -> pd.DataFrame:
    """Average over combinations, by network type, use of genre and number of tasks (figure 3).

    The result has the columns `kind, genre, metric, number, value, spread`. The spread is the
    standard deviation over combinations or, if there is only one, over its seeds.
    """
    keys = ["kind", "genre", "metric", "number"]
    groups = average_seeds(trainings).groupby(keys)
    table = groups.agg(
        value=("value", "mean"), spread=("value", _deviation), of_seeds=("spread", "first")
    )
    table["spread"] = table["spread"].fillna(table.pop("of_seeds"))
    return table.reset_index()


def _deviation(values: pd.Series) -> float:
    return values.std(ddof=0) if len(values) > 1 else np.nan


def _count_seeds(values: pd.Series) -> str:
    return f"{len(values)} seeds" if len(values) > 1 else ""


def _count_combinations(**columns) -> int:
    return (NETWORKS[list(columns)] == pd.Series(columns)).all(axis=1).sum()


def compute_cells(trainings: pd.DataFrame) -> pd.DataFrame:
    """Compute our values for the cells of the paper's tables 3 to 5.

    `model` has the form "stn gs", "stn with g" or "stn N=2". `lacking` is the number of
    combinations that are missing from an average or best value compared with the paper.
    """
    if trainings.empty:
        return trainings.reindex(columns=_CELL)
    each = average_seeds(trainings)
    parts = [each[each["kind"].ne("wstn")]]
    parts += [average_combinations(trainings), best_combinations(trainings)]
    return pd.concat([part.reindex(columns=_CELL) for part in parts if len(part)])


def tabulate_scores(trainings: pd.DataFrame, paper: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Lay out the paper's tables 4, 3 and 5 with our numbers beside the paper's, as {name: table}.

    `trainings` are runs on one dataset, and `paper` is from `paper_tables.read_paper_tables`. Each
    network type and metric has a column with our score ("", a single value or "mean ± standard
    deviation over seeds") and one with the paper's.
    """
    paper = paper[paper["paper"].eq("agf2018")]
    theirs = paper.set_index(["model", "metric"])["value"].to_dict()
    ours = {
        (cell.model, cell.metric): format_with_deviation(cell.value, cell.spread)
        for cell in compute_cells(trainings).itertuples()
    }
    sets = paper[paper["table"].eq(4)]["model"].str.split(" ").str[1].unique()
    counts = range(2, len(task_sets.TASKS) + 1)
    return {
        "combinations": _tabulate("tasks", sets, ("stn", "mtn"), ours, theirs),
        "with_and_without_genre": _tabulate("tasks", GENRE_SETS, ("stn", "mtn"), ours, theirs),
        "by_tasks": _tabulate("number of tasks", counts, KIND_NAMES, ours, theirs, "N="),
    }


def _tabulate(
    title: str, rows: Iterable, kinds: Iterable[str], ours: dict, theirs: dict, prefix: str = ""
) -> pd.DataFrame:
    table = {title: [str(row) for row in rows]}
    for owner, numbers, missing in (("", ours, ""), ("paper's ", theirs, np.nan)):
        for kind, metric in itertools.product(kinds, METRIC_NAMES):
            keys = [(f"{kind} {prefix}{row}", metric) for row in table[title]]
            column = f"{owner}{KIND_NAMES[kind]} {METRIC_NAMES[metric]}"
            table[column] = [numbers.get(key, missing) for key in keys]
    return pd.DataFrame(table)


def describe_trends(trainings: pd.DataFrame, paper: pd.DataFrame) -> list[str]:
    """Describe how both metrics depend on the number of tasks, one line per type and metric.

    STNs and MTNs also have lines with and without genre, because larger task sets are more likely
    to contain it. Spearman's rank correlation over combinations is averaged over seeds. The paper's
    correlation covers the combinations for which we have scores.
    """
    paper_scores, lines = select_paper_scores(paper), []
    for (kind, name), metric in itertools.product(KIND_NAMES.items(), METRIC_NAMES):
        for genre in ("", *GENRE_SETS) if kind != "wstn" else ("",):
            ours = trainings[trainings["kind"].eq(kind) & trainings["metric"].eq(metric)]
            ours = ours[ours["genre"].eq(genre)] if genre else ours
            if ours.empty:
                continue
            is_same = paper_scores["model"].isin(ours["model"]) & paper_scores["metric"].eq(metric)
            means = average_seeds(ours).groupby("number")["value"].mean()
            lines.append(
                f"{name}{genre and ' '}{genre}, {METRIC_NAMES[metric]} by number of tasks: "
                + ", ".join(f"{value:.4f} of {number}" for number, value in means.items())
                + f"; rank correlation {_rank_correlation(ours)} "
                f"(the paper's {_rank_correlation(paper_scores[is_same])})"
            )
    return lines


def _rank_correlation(trainings: pd.DataFrame) -> str:
    """Format the mean and standard deviation over the seeds for which both variables vary."""
    from scipy.stats import spearmanr  # imported here to keep `evaluate.py --help` fast

    values = [
        float(spearmanr(of_seed["number"], of_seed["value"]).statistic)
        for _, of_seed in trainings.groupby("seed")
        if of_seed["number"].nunique() > 1 and of_seed["value"].nunique() > 1
    ]
    if not values:
        return "not known"
    return f"{np.mean(values):+.2f}" + (f" ± {np.std(values):.2f}" if len(values) > 1 else "")


def describe_missing(trainings: pd.DataFrame) -> str:
    """Return a message saying how many of the paper's combinations have no results."""
    models = NETWORKS[NETWORKS["kind"].ne("wstn")].index
    missing = len(models.difference(trainings["model"]))
    line = f"{missing} of {len(models)} combinations have no result"
    return line + ("; means and the best are of those that have" if missing else "")
