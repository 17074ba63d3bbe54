"""The papers' tables beside this package's results: layout only, no measure is computed here.

A *result* is one JSON file in a results folder, a dict with the keys of `FIELDS`:

    protocol  "retrieval", "knn", "linear", …    metric    "map", "accuracy", "auc" or "eer"
    value     the score                          spread    standard deviation over trials, or null
    trials    how many, or null                  n_songs   how many songs were judged
    dataset   the split file's stem              label     the split's column, such as "genre"
    features  the features' name                 model     "siamese", "basic", "tag", "mfcc", ...
    artists   artists trained on, or null        made_from what the number was made from, a dict

and, where there is more to tell, `details`, a dict.
"""

import json
import re
from pathlib import Path, PurePath

import pandas as pd

from common.errors import InputError
from evaluation import combinations

NUMBER, COUNT, MAYBE = (int, float), (int,), (type(None),)
FIELDS = {
    "protocol": (str,),
    "metric": (str,),
    "value": NUMBER,
    "spread": NUMBER + MAYBE,
    "trials": COUNT + MAYBE,
    "n_songs": COUNT,
    "dataset": (str,),
    "label": (str,),
    "features": (str,),
    "model": (str,),
    "artists": COUNT + MAYBE,
    "made_from": (dict,),
}
BY_ENROLMENT = "by enrolment songs"  # the details of the one-shot protocol
EACH_GENRE = "accuracy of each genre"  # those of knn and linear; or of each of another label
LARGEST = 1e12  # of any number in a result
DTYPES = {
    "value": "float64",
    "spread": "float64",
    "trials": "Int64",
    "n_songs": "Int64",
    "artists": "Int64",
}

PAPERS = ("ismir2018", "arxiv2017", "agf2018")

# What names a cell of a paper's table, and what names a result.
CELL = ["protocol", "dataset", "model", "artists", "metric"]
RESULT = ["protocol", "metric", "dataset", "label", "features"]

WITHOUT_LDA = "basic without LDA"
BASELINES = ("mfcc", "untrained")

# Who is compared genre by genre in ismir2018's figure 5.
COMPARED = ("basic", "siamese")

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

AUDIO = {
    "gtzan": "GTZAN audio (930 clips)",
    "fma_small": "FMA small audio (8,000 clips)",
    "naver": "the NAVER Korean songs (8,000 clips; a private list: bring your own)",
    "mtat": "MagnaTagATune audio (21,105 clips, 50 tags)",
    "fma_medium": "FMA medium audio (25,000 clips) with its tracks.csv and genres.csv",
}

# The released weights for each column of ismir2018's tables. Which of several the paper
# measured is not known, so that every one counts.
WEIGHTS = {
    ("basic", 1000): ["basic_1000_149"],
    ("basic", 5000): ["basic_5000"],
    ("siamese", 5000): ["siamese_5000", "siamese_5000_best"],
    ("basic", 10000): ["basic_10000_889", "basic_10000_999"],
    ("siamese", 10000): ["siamese_10000_149", "siamese_10000_399", "siamese_10000_final"],
}

CACHE = (
    "python data_prep/2_cache_mels.py splits/{dataset}.csv --audio DIR --out cache/{dataset}.h5; "
)
MEASURE = (
    "python extract_features.py {weights} cache/{dataset}.h5 "
    "--out features/{name}_{dataset}.h5; "
    "python evaluate.py {protocol} features/{name}_{dataset}.h5 splits/{dataset}.csv "
    "--label {label} --json results/{protocol}_{name}_{dataset}.json"
)
REPRODUCE = (
    "MSD previews to train on: python reproduce.py arxiv2017 --train splits/msd.csv cache/msd.h5 "
    "--unseen splits/unseen.csv cache/unseen.h5 --{kind} splits/{dataset}.csv cache/{dataset}.h5 "
    "--artists {artists} --out results/arxiv2017"
)
TRAIN_TAGS = (
    "MSD previews with Last.fm tags, as the tag model was not released: "
    "python train_basic.py splits/msd_tags.csv cache/msd_tags.h5 --out runs/tag --labels tags; "
)

TRAIN_GROUPS = (
    "{audio}: python reproduce.py agf2018 --songs splits/{dataset}.csv cache/{dataset}.h5 "
    "--audio DIR --subgenres genres --out results/agf2018"
)

# What an empty cell needs: the first line whose columns all match the paper's row.
NEEDS = [
    ({"note": "quoted by the paper"}, "nothing to run: the paper quotes this number from others"),
    ({"model": "basic with LDA"}, "{audio}, and " + REPRODUCE),
    ({"paper": "arxiv2017", "artists": 1000}, "{audio}: " + CACHE + MEASURE),
    ({"paper": "arxiv2017", "artists": 5000}, "{audio}: " + CACHE + MEASURE),
    ({"paper": "arxiv2017"}, "{audio}, and " + REPRODUCE),
    ({"paper": "agf2018"}, TRAIN_GROUPS),
    ({"model": "tag"}, "{audio}; " + TRAIN_TAGS + CACHE + MEASURE),
    ({"paper": "ismir2018"}, "{audio}: " + CACHE + MEASURE),
]


def read_results(folder: str | Path) -> pd.DataFrame:
    """All results of a folder, a row a `*.json` file: `FIELDS`, `details` and `file`.

    Keys beyond `FIELDS` are left out, and so are files of other names. An empty
    folder gives an empty table.

    Raises
    ------
    InputError
        The folder does not exist; a JSON file is no result; two files hold the
        same result.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that evaluate.py --json wrote to")
    rows = [{**read_result(path), "file": path.name} for path in sorted(folder.glob("*.json"))]
    results = pd.DataFrame(rows, columns=[*FIELDS, "details", "file"]).astype(DTYPES)
    for _, same in results.groupby(RESULT):
        if len(same) > 1:
            raise InputError(
                f"{folder}: {' and '.join(same['file'])} hold the same result "
                f"({' '.join(same.iloc[0][RESULT])}); remove all but one"
            )
    return results


def read_result(path: Path) -> dict:
    """`FIELDS` and `details` of the result in one file, or an `InputError` that says why not."""
    remedy = "move it out of the folder, or make it again with evaluate.py --json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as JSON ({reason}); {remedy}") from error
    if not isinstance(result, dict):
        raise InputError(f"{path}: not a result but a {type(result).__name__}; {remedy}")
    for key, kinds in FIELDS.items():
        if key not in result:
            raise InputError(f"{path}: not a result, it lacks {key!r}; {remedy}")
        value = result[key]
        # Python counts True among the integers and reads NaN from JSON; neither is a score.
        wrong = isinstance(value, bool) or not isinstance(value, kinds)
        if wrong or (isinstance(value, NUMBER) and not abs(value) < LARGEST):
            raise InputError(f"{path}: not a result, {key!r} is {str(value)[:40]!r}; {remedy}")
    for key in ("dataset", "label"):  # which files are named by
        if PurePath(result[key]).name != result[key] or "\\" in result[key]:
            raise InputError(f"{path}: not a result, {key!r} is {result[key]!r}; {remedy}")
    details = result.get("details", {})
    if not isinstance(details, dict) or not _as_told(details):
        raise InputError(f"{path}: not a result, its details are damaged; {remedy}")
    return {**{key: result[key] for key in FIELDS}, "details": details}


def _as_told(details: dict) -> bool:
    """Whether the details that tables and figures use are what `evaluate.py` writes."""
    curve = details.get("DET", {"false alarm": [], "miss": []})
    by, each = details.get(BY_ENROLMENT, {}), details.get(EACH_GENRE, {})
    return (
        _rates([details.get("macro_f1", 0.0)])
        and isinstance(by, dict)
        and all(re.fullmatch(r"[0-9]{1,6}", songs) for songs in by)
        and all(isinstance(value, float) for value in by.values())
        and isinstance(each, dict)
        and _rates(list(each.values()))
        and isinstance(curve, dict)
        and all(_rates(curve.get(name)) for name in ("false alarm", "miss"))
        and len(curve["false alarm"]) == len(curve["miss"])
    )


def _rates(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, float) and 0 <= value <= 1 for value in values
    )


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


def paper_beside_ours(results: pd.DataFrame) -> pd.DataFrame:
    """Every cell of the papers' tables with what this package measured for it.

    A result fills a cell of the same protocol, dataset, model, number of artists
    and metric, where its label is genre, or tags for tagging. A cell that several
    features fill has a row for each, in the order of their names. Those of agf2018 are
    filled by `combinations.cells`: means over seeds and combinations, and the best.

    Parameters
    ----------
    results : DataFrame
        From `read_results`.

    Returns
    -------
    DataFrame
        The columns of `paper_tables.csv`, then `ours`, `difference` (ours minus
        the paper's), `spread`, `n_songs`, `features`, and `needs`: where there is
        no result, the data and commands that would make it, else empty.
    """
    paper = read_paper_tables()
    ours = results[results["label"].eq(_asked(results))]
    by_tasks = combinations.cells(combinations.trainings(ours)).assign(protocol="genre")
    ours = ours[ours["protocol"].ne("genre")]
    # arxiv2017's Table 2 calls the basic model so, to tell it from that with LDA.
    plain = ours[ours["model"].eq("basic")].assign(model=WITHOUT_LDA)
    ours = pd.concat([ours, plain, by_tasks]).rename(columns={"value": "ours"})
    ours = ours.sort_values("features")[[*CELL, "ours", "spread", "n_songs", "features"]]
    table = paper.merge(ours, on=CELL, how="left")
    table.insert(table.columns.get_loc("ours") + 1, "difference", table["ours"] - table["value"])
    table["features"] = table["features"].fillna("")
    cells = table.to_dict("records")
    table["needs"] = [_needs(cell) if pd.isna(cell["ours"]) else "" for cell in cells]
    return table


def _asked(results: pd.DataFrame) -> pd.Series:
    """The label that the papers judge by in each result's protocol, artists left aside."""
    return results["protocol"].eq("tagging").map({True: "tags", False: "genre"})


def _needs(cell: dict) -> str:
    """What would fill `cell`, a row of `paper_tables.csv`, in words and commands."""
    template = next(
        text for columns, text in NEEDS if all(cell[c] == value for c, value in columns.items())
    )
    model = "basic" if cell["model"] == WITHOUT_LDA else cell["model"]
    names = WEIGHTS.get((model, cell["artists"]), [cell["model"]])
    weights = "runs/tag/best.h5" if cell["model"] == "tag" else names[0]
    text = template.format(
        audio=AUDIO[cell["dataset"]],
        dataset=cell["dataset"],
        protocol=cell["protocol"],
        kind="tags" if cell["protocol"] == "tagging" else "genres",
        label="tags" if cell["protocol"] == "tagging" else "genre",
        artists=cell["artists"],
        weights=weights,
        name=names[0],
    )
    others = (
        f" (likewise {', '.join(names[1:])})" if len(names) > 1 and "{weights}" in template else ""
    )
    return text + others


def with_footnotes(table: pd.DataFrame) -> str:
    """A table of `paper_beside_ours` as Markdown, each distinct need told once, below it."""
    distinct = [need for need in table["needs"].unique() if need]
    needs = {need: number for number, need in enumerate(distinct, 1)}
    short = table.drop(columns="note").rename(columns={"value": "paper's"})
    short["needs"] = [f"[{needs[need]}]" if need else "" for need in table["needs"]]
    notes = "".join(f"{number}. {need}\n" for need, number in needs.items())
    return f"{to_markdown(short)}\nWhat the empty cells need:\n\n{notes}"


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
    return wide.reset_index().sort_values(
        ["dataset", "label", "MAP", "features"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )


def by_artists(results: pd.DataFrame) -> pd.DataFrame:
    """Artist recognition, a row for each system, a column for each number of training artists.

    Parameters
    ----------
    results
        From `read_results`, of one protocol. Several of a system and number, such as of
        models of other seeds, are averaged.

    Returns
    -------
    DataFrame
        `dataset`, `label`, `system`, and for each number a column of "mean ± deviation" (over
        trainings, or else over trials), or the one value; "" where not measured.
    """
    columns = sorted(results["artists"].dropna().unique())
    rows = []
    for names, of_one in in_order(results).groupby(["dataset", "label", "model"], sort=False):
        cells = {n: _mean_and_spread(of_one[of_one["artists"].eq(n)]) for n in columns}
        rows.append({**dict(zip(("dataset", "label", "system"), names, strict=True)), **cells})
    return pd.DataFrame(rows).rename(columns={n: f"{n} artists" for n in columns})


def of_paper(results: pd.DataFrame) -> pd.DataFrame:
    """The papers' numbers by the number of training artists, for what some results are of.

    Rows of `read_paper_tables` with the protocol, dataset, metric and model of a result
    (whose label is genre, or tags for tagging), and with a number of artists, if any.
    """
    named = ["protocol", "dataset", "metric", "model"]
    ours = results[results["label"].eq(_asked(results))]
    paper = read_paper_tables().dropna(subset="artists")
    return paper.merge(ours[named].drop_duplicates(), on=named)


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
        measured); no rows if no result tells it.
    """
    tells = results["model"].isin(COMPARED) & results["details"].map(lambda d: EACH_GENRE in d)
    told = results[tells].dropna(subset="artists")
    models = told.groupby("artists")["model"].nunique()
    common = models.index[models.eq(told["model"].nunique())].max()
    columns = {}
    for model, of_one in told.groupby("model"):
        artists = of_one["artists"].max() if pd.isna(common) else common
        details = of_one.loc[of_one["artists"].eq(artists), "details"]
        means = pd.DataFrame([each[EACH_GENRE] for each in details]).mean()
        columns[f"{model}, {artists:,} artists"] = means
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
    for _, result in in_order(results).iterrows():
        told = result["details"].get(BY_ENROLMENT, {})
        rows += [(result["model"], int(songs), value) for songs, value in told.items()]
    # JSON has the numbers of songs in the order of the alphabet.
    table = pd.DataFrame(rows, columns=["system", "songs", "value"])
    return table.sort_values("songs", kind="stable", ignore_index=True)


def enrolment_side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `by_enrolment`, a row a system, a column for each number of songs."""
    wide = table.pivot_table(index="system", columns="songs", values="value", sort=False)
    names = {songs: f"enrolled by {songs}" for songs in sorted(wide)}
    return wide[list(names)].rename(columns=names).rename_axis(columns=None).reset_index()


def require_one_dataset(results: pd.DataFrame, source: str | Path) -> None:
    """Raise `InputError`, naming `source`, unless all results are of one dataset and label."""
    kinds = sorted(set(zip(results["dataset"], results["label"], strict=True)))
    if len(kinds) != 1:
        raise InputError(
            f"{source}: one dataset and label are shown at a time, the results have "
            f"{kinds or 'none'}; keep those of each in a folder of their own"
        )


def _mean_and_spread(results: pd.DataFrame) -> str:
    if not len(results):
        return ""
    spread = results["value"].std(ddof=0) if len(results) > 1 else results["spread"].iloc[0]
    mean = f"{results['value'].mean():.4f}"
    return mean if pd.isna(spread) else f"{mean} ± {spread:.4f}"


def in_order(results: pd.DataFrame) -> pd.DataFrame:
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
    scores = by_features(results).set_index("features")[list(SCORES.values())]
    models = results.drop_duplicates("features").set_index("features")["model"]
    is_baseline = models.isin(BASELINES).reindex(scores.index)
    lines = []
    for features, ours in scores[~is_baseline].iterrows():
        for baseline, theirs in scores[is_baseline].iterrows():
            gains = (ours - theirs).dropna()
            said = ", ".join(f"{gain:+.3f} {score}" for score, gain in gains.items())
            lines.append(f"{features} against {baseline}: {said}")
    return lines


def to_markdown(table: pd.DataFrame) -> str:
    """`table` as a Markdown table, without its index, ending in a line break.

    Floats have 4 decimals; missing values are empty; `|` within a cell is escaped.
    Columns of numbers align right.
    """
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [[_cell(name) for name in table.columns], rules, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:z.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", r"\|")
