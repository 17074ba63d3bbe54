"""Tables of results side by side: layout only, no measure is computed here.

Functions take results as `evaluation.results.read_results` gives them.
"""

import pandas as pd

from evaluation.results import BY_ENROLMENT, EACH_GENRE, average_over_seeds, format_with_deviation

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
    tells = results["model"].isin(COMPARED) & results["details"].map(lambda d: EACH_GENRE in d)
    told = results[tells].dropna(subset="artists")
    told = told.assign(model=systems)
    models = told.groupby("artists")["model"].nunique()
    common = models.index[models.eq(told["model"].nunique())].max()
    columns = {}
    for model, of_one in told.groupby("model"):
        artists = of_one["artists"].max() if pd.isna(common) else common
        details = of_one.loc[of_one["artists"].eq(artists), "details"]
        means = pd.DataFrame([each[EACH_GENRE] for each in details]).mean()
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
