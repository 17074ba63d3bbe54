"""The numbers of the papers' tables, beside them ours, or what would make them."""

from pathlib import Path

import pandas as pd

from artist_groups import task_scores
from evaluation.results import average_over_seeds
from papers.requirements import missing_parts, requirements_of

PAPERS = ("ismir2018", "arxiv2017", "agf2018")

# What each table is of, by paper and number.
TABLES = {
    ("ismir2018", 1): "retrieval, mean average precision",
    ("ismir2018", 2): "k-NN on the features, accuracy",
    ("ismir2018", 3): "linear softmax on the features, accuracy",
    ("ismir2018", 4): "linear softmax beside the work of others, accuracy",
    ("arxiv2017", 1): "genre and tags by the number of training artists",
    ("arxiv2017", 2): "genre and tags with and without LDA, beside the work of others",
    ("agf2018", 3): "genre without and with the task g, mean over the sets of tasks",
    ("agf2018", 4): "genre by each set of tasks",
    ("agf2018", 5): "genre by the best set of N tasks",
}

# What names a cell of a paper's table.
CELL = ["protocol", "dataset", "model", "artists", "metric"]

WITHOUT_LDA = "basic without LDA"


def read_paper_tables() -> pd.DataFrame:
    """Every number of the three papers' tables, one row a cell, in the papers' order."""
    table = pd.read_csv(
        Path(__file__).with_name("paper_tables.csv"),
        dtype={"artists": "Int64"},
        keep_default_na=False,
        na_values={"artists": ""},
    )
    # The tag model learned tags: the number stands there for the artist models of its column.
    table.loc[table["model"] == "tag", "artists"] = pd.NA
    return table


def compare_with_paper(results: pd.DataFrame) -> pd.DataFrame:
    """Every cell of the papers' tables with what this package measured for it.

    A result fills a cell of the same protocol, dataset, model, number of artists
    and metric, where its label is genre, or tags for tagging. Trainings that differ in
    their seed alone are averaged; else a cell that several features fill has a row for
    each, in the order of their names. Cells of agf2018 are filled by
    `combinations.cells`: means over seeds and combinations, and the best.

    Below the cells of a table stand its measures on datasets that the paper has not, such
    as the built-in corpus, of the same models; of as many artists as there are at the
    most, unless the paper has several numbers of them in that table.

    Parameters
    ----------
    results : DataFrame
        From `evaluation.results.read_results`.

    Returns
    -------
    DataFrame
        `paper, table, protocol, dataset, model, artists, metric`; the `paper's` number,
        `ours`, their `difference`, `spread` and what it is `over` ("10 trials",
        "3 seeds"), `songs` judged, which `weights`; `note` of the papers' own numbers, and
        `needs`: where there is no result, the data, weights, time and commands that would
        make it; where it is of fewer songs than the paper's, how many; else empty.
    """
    ours, theirs = _filling(results), read_paper_tables().rename(columns={"value": "paper's"})
    table = theirs.merge(ours, on=CELL, how="left")
    table["needs"] = [
        requirements_of(cell) if pd.isna(cell["ours"]) else missing_parts(cell)
        for cell in table.to_dict("records")
    ]
    table = pd.concat([table, *_elsewhere(theirs, ours)])
    table["difference"] = table["ours"] - table["paper's"]
    words = ["over", "weights", "note", "needs"]
    table[words] = table[words].fillna("")
    order = table["paper"].map(PAPERS.index)
    table = table.iloc[(order * 10 + table["table"]).to_numpy().argsort(kind="stable")]
    columns = ["paper", "table", *CELL, "paper's", "ours", "difference", "spread", "over"]
    return table[[*columns, "songs", "weights", "note", "needs"]].reset_index(drop=True)


def tables_of_paper(results: pd.DataFrame) -> pd.DataFrame:
    """The papers' numbers by the number of training artists, for what some results are of.

    Rows of `read_paper_tables` with the protocol, dataset, metric and model of a result
    (whose label is genre, or tags for tagging), and with a number of artists, if any.
    """
    named = ["protocol", "dataset", "metric", "model"]
    ours = results[results["label"].eq(_asked(results))]
    paper = read_paper_tables().dropna(subset="artists")
    return paper.merge(ours[named].drop_duplicates(), on=named)


def _filling(results: pd.DataFrame) -> pd.DataFrame:
    """What can fill a cell: `CELL`, `ours`, `spread`, `over`, `songs` and `weights`."""
    asked = results[results["label"].eq(_asked(results)) & results["variant"].fillna("").eq("")]
    by_tasks = task_scores.compute_cells(task_scores.select_trainings(asked)).assign(protocol="genre")
    plain = asked[asked["protocol"].ne("genre")]
    # arxiv2017's Table 2 calls the basic model so, to tell it from that with LDA.
    again = plain[plain["model"].eq("basic")].assign(model=WITHOUT_LDA)
    ours = pd.concat([average_over_seeds(pd.concat([plain, again])), by_tasks])
    ours = ours.rename(columns={"value": "ours", "n_songs": "songs", "features": "weights"})
    columns = [*CELL, "ours", "spread", "over", "songs", "weights", "lacking"]
    ours = ours.reindex(columns=columns).astype({"artists": "Int64", "songs": "Int64"})
    return ours.sort_values("weights", kind="stable", ignore_index=True)


def _elsewhere(theirs: pd.DataFrame, ours: pd.DataFrame) -> list[pd.DataFrame]:
    """For each table of the papers, our rows of its measures and models on other datasets."""
    parts = []
    for (paper, number), table in theirs.groupby(["paper", "table"], sort=False):
        own = table[table["note"].ne("quoted by the paper")]
        pairs = own[["protocol", "metric", "model"]].drop_duplicates()
        in_paper = theirs.loc[theirs["paper"].eq(paper), "dataset"]
        other = ours[~ours["dataset"].isin(set(in_paper))]
        found = other.merge(pairs, on=["protocol", "metric", "model"])
        if (own.groupby(["dataset", "model", "metric"])["artists"].nunique() <= 1).all():
            most = found.groupby(["protocol", "dataset", "model"])["artists"].transform("max")
            found = found[found["artists"].isna() | found["artists"].eq(most)]
        place = {model: at for at, model in enumerate(pairs["model"].unique())}
        found = found.sort_values(
            ["protocol", "dataset", "model", "artists"],
            key=lambda column, place=place: column.map(place) if column.name == "model" else column,
            kind="stable",
        )
        parts.append(found.assign(paper=paper, table=number))
    return parts


def _asked(results: pd.DataFrame) -> pd.Series:
    """The label that the papers judge by in each result's protocol, artists left aside."""
    return results["protocol"].eq("tagging").map({True: "tags", False: "genre"})
