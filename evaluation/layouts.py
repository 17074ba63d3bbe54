"""Step 5's last part: tables and figures of a folder of results, printed and kept beside them.

Each function reads what `evaluate.py --json` wrote, and measures nothing.
"""

from pathlib import Path

import pandas as pd

from common.errors import InputError
from common.files import written_whole
from data_prep import split_csv
from evaluation import combinations, tables

# What the papers measure against the number of training artists.
RECOGNITION = ("verification", "identification")
BY_ARTISTS = (*RECOGNITION, "transfer", "tagging", *tables.SCORES)


def paper_tables(folder: Path, paper: str | None = None) -> None:
    """Every number of the papers' tables beside ours, or what an empty cell needs."""
    table = tables.paper_beside_ours(tables.read_results(folder))
    if paper:
        table = table[table["paper"].eq(paper)]
    _keep(table, tables.with_footnotes(table), folder / "tables")


def summary(folder: Path) -> None:
    """The features side by side on each dataset, as a table and a figure."""
    from evaluation import figures  # Matplotlib, which the protocols do not wait for

    results = tables.read_results(folder)
    results = results[results["protocol"].isin(tables.SCORES)]
    if not len(results):
        raise InputError(f"{folder}: holds no results; make some with --json")
    table = tables.by_features(results)
    _keep(table, tables.to_markdown(table), folder / "summary")
    for (dataset, label), of_one in results.groupby(["dataset", "label"]):
        figures.scores_by_features(of_one, folder / f"{dataset}_{label}.png")
        for line in tables.margins(of_one):
            print(line)


def by_artists(folder: Path) -> None:
    """The measures against the number of training artists, and the accuracy of each genre.

    Verification and identification are arxiv2017's Figures 2 and 3, transfer and tagging
    its Table 1; of the most artists, DET curves and what fewer enrolment songs give are
    added. Retrieval, k-NN and linear softmax are ismir2018's Figures 2 to 4, one for each
    dataset, and the accuracy of each genre its Figure 5.
    """
    results = tables.read_results(folder).dropna(subset="artists")
    found = [name for name in BY_ARTISTS if results["protocol"].eq(name).any()]
    if not found:
        raise InputError(
            f"{folder}: holds no result of {', '.join(BY_ARTISTS)} by features that say "
            "how many artists they were trained on; make some with --json"
        )
    for protocol in found:
        of_one = results[results["protocol"].eq(protocol)]
        if protocol not in tables.SCORES:
            tables.require_one_dataset(of_one, folder)
            _lay_out_by_artists(of_one, folder / protocol)
            if protocol in RECOGNITION:
                _lay_out_recognition(of_one, folder)
            continue
        for (dataset, label), of_dataset in of_one.groupby(["dataset", "label"]):
            _lay_out_by_artists(of_dataset, folder / f"{protocol}_by_artists_{dataset}_{label}")
            _lay_out_by_label(of_dataset, folder / f"{protocol}_by_{label}_{dataset}")


def _lay_out_by_artists(results: pd.DataFrame, path: Path) -> None:
    """One measure on one dataset against the number of training artists."""
    from evaluation import figures  # Matplotlib, which the protocols do not wait for

    table = tables.by_artists(results)
    _keep(table, tables.to_markdown(table), path)
    figures.scores_by_artists(results, tables.of_paper(results), _suffixed(path, ".png"))


def _lay_out_by_label(results: pd.DataFrame, path: Path) -> None:
    """The accuracy of each genre in one dataset, basic against siamese features."""
    from evaluation import figures

    table, first = tables.by_label(results), results.iloc[0]
    if not len(table):
        return
    _keep(table, tables.to_markdown(table), path)
    title = f"{tables.SCORES[first['protocol']]} accuracy on {first['dataset']}"
    if len(table) > figures.MOST_BARS:
        print(f"{path}: not drawn, of {len(table)} labels; {figures.MOST_BARS} are the most")
        return
    figures.accuracies_by_label(table, title, _suffixed(path, ".png"))


def _lay_out_recognition(results: pd.DataFrame, folder: Path) -> None:
    """Of the most training artists the DET curves, and what fewer enrolment songs give."""
    from evaluation import figures

    protocol, metric = results[["protocol", "metric"]].iloc[0]
    most = results[results["artists"].eq(results["artists"].max())]
    if protocol == "verification":
        figures.det_curves(most, folder / "det.png")
    table = tables.by_enrolment(most)
    if len(table):
        path = folder / f"{protocol}_by_enrolment"
        wide = tables.enrolment_side_by_side(table)
        _keep(wide, tables.to_markdown(wide), path)
        figures.scores_by_enrolment(table, metric, _suffixed(path, ".png"))


def by_tasks(folder: Path) -> None:
    """agf2018's log loss and F1 of genre by combination of tasks, beside the paper's numbers.

    Its tables 4, 3 and 5, which are combinations, with_and_without_genre and by_tasks,
    and both measures against the number of tasks, drawn and told.
    """
    from evaluation import figures  # Matplotlib, which the protocols do not wait for

    results, paper = tables.read_results(folder), tables.read_paper_tables()
    results = results[results["protocol"].eq("genre")]
    found = combinations.trainings(results)
    if not len(found):
        raise InputError(
            f"{folder}: holds no result of networks of agf2018; make some with "
            "evaluate.py genre --json"
        )
    tables.require_one_dataset(results, folder)
    for name, table in combinations.side_by_side(found, paper).items():
        _keep(table, tables.to_markdown(table), folder / name)
    title = f"{results['label'].iloc[0]} on {results['dataset'].iloc[0]}"
    figures.scores_by_tasks(combinations.by_number(found), title, folder / "by_tasks.png")
    for line in (*combinations.trends(found, paper), combinations.missing(found)):
        print(line)


def describe_groups(file: Path, split_file: Path, folder: Path) -> None:
    """What artist groups are: top genres and artists of each, and a map of groups and genres.

    A table and a figure for each word that they were made by (agf2018), of the split
    that they were made of, by data_prep/2b_artist_groups.py.
    """
    from data_prep import groups_file
    from evaluation import figures, groups  # Matplotlib, which the protocols do not wait for

    prepared, split = groups_file.load(file), split_csv.read(split_file)
    for word, found in prepared.groups.items():
        given = found.shares, found.artists, split
        strangers = set(found.artists) - set(split["artist"])
        if strangers:
            raise InputError(
                f"{split_file}: has no track by {min(strangers)!r}, of whom {file} has "
                "groups; name the split that they were made of"
            )
        subgenres = {"symbols": found.symbols, "names": prepared.names} if word == "s" else {}
        table, path = groups.interpretation(*given, **subgenres), folder / f"groups_{word}"
        print(f"the word {word}:")
        _keep(table, tables.to_markdown(table), path)
        of_genres = groups.genres_of_groups(*given)
        title = f"genres of artist groups by the word {word}"
        figures.genres_by_group(of_genres, title, _suffixed(path, ".png"))


def _keep(table: pd.DataFrame, text: str, path: Path) -> None:
    """Print a table, and keep it as Markdown and CSV."""
    print(text)
    for suffix, content in ((".md", text), (".csv", table.to_csv(index=False))):
        with written_whole(_suffixed(path, suffix)) as aside:
            aside.write_text(content, encoding="utf-8")


def _suffixed(path: Path, suffix: str) -> Path:
    """`path` with a suffix after its name, in which a dataset's name may have a dot."""
    return path.with_name(path.name + suffix)
