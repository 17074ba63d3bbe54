"""The numbers in the papers' tables, alongside this package's results."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from artist_groups import task_scores
from evaluation.results import average_over_seeds
from papers.requirements import QUOTED, describe_incomplete_result, describe_requirements

# Content of each table, keyed by paper and table number.
TABLES = {
    ("ismir2018", 1): "retrieval, mean average precision",
    ("ismir2018", 2): "k-NN on the features, accuracy",
    ("ismir2018", 3): "linear softmax on the features, accuracy",
    ("ismir2018", 4): "linear softmax compared with other work, accuracy",
    ("arxiv2017", 1): "genre and tags by the number of training artists",
    ("arxiv2017", 2): "genre and tags with and without LDA, compared with other work",
    ("agf2018", 3): "genre without and with the genre task, mean over task sets",
    ("agf2018", 4): "genre by task set",
    ("agf2018", 5): "genre by the best set of N tasks",
}

# Columns that identify a table cell.
CELL = ["protocol", "dataset", "model", "artists", "metric"]


def read_paper_tables() -> pd.DataFrame:
    """Return all numbers in the three papers' tables, one row per cell, in the papers' order."""
    path, kinds = Path(__file__).with_suffix(".csv"), {"artists": "Int64"}
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={"artists": ""})
    # The file lists a number of artists for the tag model too, although it is trained on tags.
    table.loc[table["model"] == "tag", "artists"] = pd.NA
    return table


def compare_with_paper(results: pd.DataFrame) -> pd.DataFrame:
    """Return every cell of the papers' tables, with its match in the output of `read_results`.

    A result matches a cell if both have the same protocol, dataset, model, number of artists and
    metric, and the result's label is genre (tags for the tagging protocol). Runs that differ only
    in the seed are averaged. If several feature sets match a cell, each has its own row, sorted
    by name. The agf2018 cells are means and best values over task sets; see
    `artist_groups.task_scores`.

    Each table's rows are followed by the results of its models on datasets that the paper does
    not use, such as the synthetic corpus. These results are limited to the largest number of
    training artists, unless the table itself compares numbers of artists.

    Besides `paper`, `table` and `CELL`, the columns are `paper's` number, `ours` and their
    `difference`; `spread` (standard deviation) and what it is computed `over` ("10 trials"); the
    number of evaluated `songs`; `weights` (name of the features); `note` on the paper's number;
    and `needs`, from `papers.requirements`, which is empty if nothing is missing.
    """
    ours, paper = _select_results(results), read_paper_tables().rename(columns={"value": "paper's"})
    table = paper.merge(ours, on=CELL, how="left")
    table["needs"] = [
        describe_requirements(cell) if pd.isna(cell["ours"]) else describe_incomplete_result(cell)
        for cell in table.to_dict("records")
    ]
    table = pd.concat([table, *_other_datasets(paper, ours)])
    table["difference"] = table["ours"] - table["paper's"]
    texts = ["over", "weights", "note", "needs"]
    table[texts] = table[texts].fillna("")
    number = {key: number for number, key in enumerate(TABLES)}
    order = [number[key] for key in zip(table["paper"], table["table"], strict=True)]
    table = table.assign(order=order).sort_values("order", kind="stable", ignore_index=True)
    columns = ["paper's", "ours", "difference", "spread", "over", "songs", "weights"]
    return table[["paper", "table", *CELL, *columns, "note", "needs"]]


def select_paper_numbers(results: pd.DataFrame) -> pd.DataFrame:
    """Return the papers' numbers for a number of artists and a model and dataset in `results`."""
    columns = ["protocol", "dataset", "metric", "model"]
    models = results.loc[_has_paper_label(results), columns].drop_duplicates()
    return read_paper_tables().dropna(subset="artists").merge(models, on=columns)


def _select_results(results: pd.DataFrame) -> pd.DataFrame:
    """Return the results that can fill a table cell, with the columns of `compare_with_paper`."""
    results = results[
        _has_paper_label(results) & (results["variant"].isna() | results["variant"].eq(""))
    ]
    by_tasks = task_scores.compute_cells(task_scores.select_trainings(results))
    results = results[results["protocol"].ne("genre")]
    # Table 2 of arxiv2017 calls the basic model "basic without LDA".
    without_lda = results[results["model"].eq("basic")].assign(model="basic without LDA")
    averages = average_over_seeds(pd.concat([results, without_lda]))
    ours = pd.concat([averages, by_tasks.assign(protocol="genre")])
    ours = ours.rename(columns={"value": "ours", "n_songs": "songs", "features": "weights"})
    columns = [*CELL, "ours", "spread", "over", "songs", "weights", "lacking"]
    ours = ours.reindex(columns=columns).astype({"artists": "Int64", "songs": "Int64"})
    return ours.sort_values("weights", kind="stable", ignore_index=True)


def _other_datasets(paper: pd.DataFrame, ours: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield, for each table, its models' results on datasets that the paper does not use."""
    for (name, number), table in paper.groupby(["paper", "table"], sort=False):
        table = table[table["note"].ne(QUOTED)]
        rows = table[["protocol", "metric", "model"]].drop_duplicates()
        paper_datasets = paper.loc[paper["paper"].eq(name), "dataset"]
        found = ours[~ours["dataset"].isin(paper_datasets)].merge(rows, on=list(rows))
        sizes = table.groupby(["dataset", "model", "metric"])["artists"].nunique()
        if sizes.max() <= 1:
            largest = found.groupby(["protocol", "dataset", "model"])["artists"].transform("max")
            found = found[found["artists"].isna() | found["artists"].eq(largest)]
        order = found["model"].map(list(rows["model"].unique()).index)
        found = found.assign(paper=name, table=number, order=order)
        yield found.sort_values(["protocol", "dataset", "order", "artists"]).drop(columns="order")


def _has_paper_label(results: pd.DataFrame) -> pd.Series:
    """Return whether each result has the label that the papers use for its protocol."""
    label = results["protocol"].eq("tagging").map({True: "tags", False: "genre"})
    return results["label"].eq(label)
