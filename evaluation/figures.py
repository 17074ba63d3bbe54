"""Figures of the results: layout only, no measure is computed here."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.errors import InputError
from common.files import written_whole
from evaluation.tables import SCORES, by_features, in_order

# Okabe and Ito's colours, told apart with any colour vision.
COLOURS = {"MAP": "#0072B2", "k-NN": "#E69F00", "linear": "#009E73"}

SERIES = ("#000000", "#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73")
MARKERS = "sov^DPX"
MEASURES = {"eer": "equal error rate", "accuracy": "accuracy"}

COLUMN_WIDTH = 3.4  # inches, one column of a two-column paper
DPI = 300
BAR = 0.15  # inches, enough for a 7-point value


def scores_by_features(
    results: pd.DataFrame, path: str | Path, chance: float | None = None
) -> None:
    """Draw MAP, k-NN and linear accuracy of each set of features on one dataset as a PNG.

    Bars lie flat, so that names and values have a line each at column width. Best
    MAP on top; whiskers are the spread over trials where it is known.

    Parameters
    ----------
    results : DataFrame
        From `evaluation.tables.read_results`, of one dataset and one label.
    path : path of the PNG
    chance : float
        The score of guessing, drawn as a line.

    Raises
    ------
    InputError
        No results, or results of several datasets or labels.
    """
    kinds = sorted(set(zip(results["dataset"], results["label"], strict=True)))
    if len(kinds) != 1:
        raise InputError(
            f"{path}: the figure shows one dataset and label, the results have {kinds or 'none'}; "
            "draw one for each"
        )
    values = by_features(results).set_index("features")
    spreads = by_features(results, "spread").set_index("features").loc[values.index]
    height = 0.85 + len(values) * (len(SCORES) + 1) * BAR
    figure = Figure(figsize=(COLUMN_WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, values, spreads)
    if chance is not None:
        axes.axvline(chance, color="black", linestyle=":", linewidth=1, label="chance")
    dataset, label = kinds[0]
    axes.set_title(f"{label} on {dataset}", fontsize=9)
    axes.set_xlabel("MAP, or accuracy", fontsize=8)
    axes.set_ylabel("features", fontsize=8)
    figure.legend(loc="outside upper center", ncols=len(SCORES) + 1, fontsize=7, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png")


def scores_by_artists(results: pd.DataFrame, path: str | Path) -> None:
    """Draw a measure of artist recognition against the number of training artists as a PNG.

    A line a system (arxiv2017, Figures 2 and 3); whiskers are the spread over
    trainings, or else over trials.

    Parameters
    ----------
    results : DataFrame
        From `evaluation.tables.read_results`, of one protocol and dataset.
    path : path of the PNG

    Raises
    ------
    InputError
        Results of several datasets, or none that says its number of artists.
    """
    results = in_order(results.dropna(subset="artists"))
    datasets = sorted(set(results["dataset"]))
    if len(datasets) != 1:
        raise InputError(
            f"{path}: the figure shows one dataset, the results have {datasets or 'none'}; "
            "keep those of each in a folder of their own"
        )
    figure = Figure(figsize=(COLUMN_WIDTH, 3.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (system, of_one) in enumerate(results.groupby("model", sort=False)):
        by_count = of_one.groupby("artists")
        several = by_count["value"].std(ddof=0).where(by_count.size() > 1)
        axes.errorbar(
            by_count["value"].mean().index.astype(int),
            by_count["value"].mean(),
            several.fillna(by_count["spread"].first()).fillna(0),
            color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=system,
        )
    counts = sorted(results["artists"].astype(int).unique())
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("artists trained on", fontsize=8)
    axes.set_ylabel(MEASURES[results["metric"].iloc[0]], fontsize=8)
    axes.set_title(f"{results['protocol'].iloc[0]} on {datasets[0]}", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png")


def _bars(axes: Axes, values: pd.DataFrame, spreads: pd.DataFrame) -> None:
    """A group of bars for each row of `values`, first row on top, each with its value."""
    places = np.arange(len(values)) * (len(SCORES) + 1)
    for place, score in enumerate(SCORES.values()):
        known = values[score].notna().to_numpy()
        length, spread = values[score][known], spreads[score][known]
        axes.barh(places[known] + place, length, height=0.9, color=COLOURS[score], label=score)
        whiskers = {"fmt": "none", "ecolor": "black", "elinewidth": 0.8, "capsize": 1.5}
        axes.errorbar(length, places[known] + place, xerr=spread, **whiskers)
        ends = length + spread.fillna(0)
        for y, end, number in zip(places[known] + place, ends, length, strict=True):
            axes.text(end + 0.015, y, f"{number:.3f}", va="center", fontsize=7)
    axes.set_yticks(places + (len(SCORES) - 1) / 2, values.index, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2)  # a score is at most 1, and its value is written after it
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
