"""Figures of the results: layout only, no measure is computed here.

Each is a PNG, and an SVG of the same name beside it; the same results give the same bytes.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from scipy.special import ndtri

from artist_groups.task_scores import GENRE_SETS, KIND_NAMES
from common.errors import InputError
from common.files import atomic_write
from evaluation.results import average_over_seeds, require_one_dataset
from report.result_tables import SCORES, by_features, sort_features, systems
from report.training_logs import TrainingLog

# Okabe and Ito's colours, told apart with any colour vision.
COLOURS = {"MAP": "#0072B2", "k-NN": "#E69F00", "linear": "#009E73"}

SERIES = ("#000000", "#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73")
MARKERS = "sov^DPX*"  # one more than colours, so that no pair of both comes again soon
# The models of ismir2018, in the same style whichever of them is there.
MODELS = {"basic": {"color": "#0072B2", "marker": "s"}}
MODELS |= {"siamese": {"color": "#D55E00", "marker": "^"}}
MODELS |= {"tag": {"color": "#009E73"}, "mfcc": {"color": "#000000"}}
MODELS |= {"untrained": {"color": "#CC79A7"}}
OTHERS = "#BBBBBB"  # of songs whose label has no colour
MAX_COLOURED_LABELS = 15  # labels of a map that have one, as in the papers
MEASURES = {
    "map": "MAP",
    "eer": "equal error rate",
    "accuracy": "accuracy",
    "auc": "mean ROC area of the tags",
}
MEASURES |= {"log_loss": "log loss", "macro_f1": "macro F1"}
# Of agf2018's networks; without genre their lines are broken and their markers hollow.
# They stand a little aside of each other, so that their whiskers can be told apart.
NETWORKS = {"stn": ("#0072B2", "o", -0.1), "mtn": ("#D55E00", "s", 0.1)}
NETWORKS |= {"wstn": ("#009E73", "^", 0)}
DET_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
DET_LIMITS = 1e-6, 1 - 1e-6

COLUMN_WIDTH = 3.4  # inches, one column of a two-column paper
DPI = 300
BAR = 0.15  # inches, enough for a 7-point value
CELL = 0.11  # inches, a line of a heat map
LONGEST, LETTER = 24, 0.06  # letters of a name beside it, and inches of one
TITLE = 40  # letters
MARK = 18  # square points of a song's marker, of few songs and in a legend
MAX_LINES = 12  # of trainings that have names in a figure
MAX_BARS = 40  # groups of them that a figure is not too long for


def plot_scores_by_features(
    results: pd.DataFrame, path: str | Path, chance: float | None = None
) -> None:
    """Draw MAP, k-NN and linear accuracy of each set of features on one dataset as a PNG.

    Bars lie flat, so that names and values have a line each at column width. Best
    MAP on top; whiskers are the spread over trials where it is known.

    Parameters
    ----------
    results : DataFrame
        From `evaluation.results.read_results`, of one dataset and one label.
    path : path of the PNG
    chance : float
        The score of guessing, drawn as a line.

    Raises
    ------
    InputError
        No results, or results of several datasets or labels.
    """
    require_one_dataset(results, path)
    scores = list(SCORES.values())
    values = by_features(results).set_index("features")[scores]
    spreads = by_features(results, "spread").set_index("features").loc[values.index]
    dataset, label = results[["dataset", "label"]].iloc[0]
    figure, axes = _bars(values, spreads, COLOURS, f"{label} on {dataset}")
    if chance is not None:
        axes.axvline(chance, color="black", linestyle=":", linewidth=1, label="chance")
    axes.set_xlabel("MAP, or accuracy", fontsize=8)
    axes.set_ylabel("features", fontsize=8)
    _legend(figure, columns=len(SCORES) + 1)
    _save(figure, path)


def plot_accuracies_by_label(table: pd.DataFrame, title: str, path: str | Path) -> None:
    """Draw the accuracy of each genre as a PNG, a bar a model (ismir2018, Figure 5).

    `table` is `report.result_tables.by_label`'s, of one dataset, label and protocol.

    Raises
    ------
    InputError
        More genres than a figure has room for.
    """
    values = table.set_index(table.columns[0])
    if len(values) > MAX_BARS:
        raise InputError(
            f"{path}: {len(values)} labels are too many to draw, {MAX_BARS} can be; see the table"
        )
    models = [re.split("[ ,]", name)[0] for name in values]
    colours = [MODELS.get(model, {}).get("color", OTHERS) for model in models]
    colours = dict(zip(values, colours, strict=True))
    figure, axes = _bars(values, values * np.nan, colours, title)
    axes.set_xlabel("accuracy", fontsize=8)
    _legend(figure)
    _save(figure, path)


def plot_scores_by_artists(results: pd.DataFrame, paper: pd.DataFrame, path: str | Path) -> None:
    """Draw a measure against the number of training artists as a PNG.

    A line a system (arxiv2017, Figures 2 and 3) or model (ismir2018, Figures 2 to 4);
    whiskers are the spread over seeds, or else over trials. Where a model has several
    released weights of a number of artists, it is their mean, and each is a small point.
    What has no number of artists, such as MFCC, is a dotted line across. The paper's numbers
    for the same are broken, fainter lines with hollow markers.

    Parameters
    ----------
    results : DataFrame
        From `evaluation.results.read_results`, of one protocol and dataset.
    paper : DataFrame
        `papers.paper_tables.tables_of_paper`'s numbers beside them; it may have no rows.
    path : path of the PNG

    Raises
    ------
    InputError
        Results of several datasets or labels, or none that says its number of artists.
    """
    counted = results.dropna(subset="artists")
    require_one_dataset(counted, path)
    results = sort_features(average_over_seeds(results)).assign(system=systems)
    figure, axes = _panel(f"{results['protocol'].iloc[0]} on {results['dataset'].iloc[0]}")
    for (system, of_one), style in zip(
        results.groupby("system", sort=False), _styles(), strict=False
    ):
        style |= MODELS.get(system, {})
        by_count = of_one.dropna(subset="artists").groupby("artists")
        if len(by_count):
            means, alone = by_count["value"].mean(), by_count.size() == 1
            whiskers = by_count["spread"].first().where(alone).fillna(0)
            x = means.index.astype(int)
            axes.errorbar(x, means, whiskers, capsize=2, label=_short(system), **style)
            each = of_one[of_one["artists"].isin(alone.index[~alone])]
            points = {**style, "linestyle": "", "markersize": 2}
            axes.plot(each["artists"].astype(int), each["value"], **points)
        for _, result in of_one[of_one["artists"].isna()].iterrows():
            line = {"color": style["color"], "linewidth": style["linewidth"], "linestyle": ":"}
            axes.axhline(result["value"], label=_short(system), **line)
        theirs = paper[paper["model"].eq(system)].sort_values("artists")
        if len(theirs):
            style |= {"linestyle": "--", "markerfacecolor": "white", "alpha": 0.6}
            x, y = theirs["artists"].astype(int), theirs["value"]
            axes.errorbar(x, y, label=_short(f"{system}, the paper"), zorder=1, **style)
    counts = pd.concat([counted["artists"], paper["artists"]]).astype(int)
    _counts_below(axes, counts, "artists trained on")
    _measure_beside(axes, results["metric"].iloc[0])
    _legend(figure)
    _save(figure, path)


def plot_scores_by_enrolment(table: pd.DataFrame, metric: str, path: str | Path) -> None:
    """Draw a measure against the number of enrolment songs as a PNG, a line a system.

    `table` is `report.result_tables.by_enrolment`'s, of one number of training artists.
    """
    figure, axes = _panel("few songs to know an artist by")
    for (system, of_one), style in zip(
        table.groupby("system", sort=False), _styles(), strict=False
    ):
        by_songs = of_one.groupby("songs")["value"].mean()
        axes.plot(by_songs.index, by_songs, label=_short(system), **style)
    _counts_below(axes, table["songs"], "enrolment songs")
    _measure_beside(axes, metric)
    _legend(figure)
    _save(figure, path)


def plot_det_curves(results: pd.DataFrame, path: str | Path) -> None:
    """Draw detection error trade-offs as a PNG, a line a system, on normal-deviate axes.

    `results` is from `evaluation.results.read_results`, of verification; the first of
    a system is drawn.
    """
    figure, axes = _panel("verification errors")
    named = sort_features(results).assign(system=systems).drop_duplicates("system")
    for (_, result), style in zip(named.iterrows(), _styles(), strict=False):
        curve = result["details"].get("DET")
        if curve is None:
            continue
        # A rate of 0 or 1 lies infinitely far out.
        rates = np.clip([curve["false alarm"], curve["miss"]], *DET_LIMITS)
        axes.plot(*ndtri(rates), label=_short(result["system"]), **{**style, "marker": ""})
    places, names = ndtri(DET_TICKS), [f"{100 * tick:g}" for tick in DET_TICKS]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set_xlim(*ndtri([DET_TICKS[0] / 2, 0.6]))
    axes.set_ylim(*ndtri([DET_TICKS[0] / 2, 0.6]))
    axes.set_xlabel("false alarms, %", fontsize=8)
    axes.set_ylabel("misses, %", fontsize=8)
    _legend(figure)
    _save(figure, path)


def plot_scores_by_tasks(table: pd.DataFrame, title: str, path: str | Path) -> None:
    """Draw log loss and macro F1 against the number of tasks as a PNG, a panel each.

    A line for each kind of networks, with genre among the tasks or without: what Figure 3
    of agf2018 is taken to be. Whiskers are the spread over combinations. `table` is
    `artist_groups.task_scores.average_by_number`'s, of one dataset.
    """
    figure, axes = _panel(title, rows=2, height=4.8)
    for panel, metric in zip(axes, ("log_loss", "macro_f1"), strict=True):
        of_metric = table[table["metric"].eq(metric)].sort_values("number")
        by_line = dict(list(of_metric.groupby(["kind", "genre"])))
        for kind, genre in itertools.product(NETWORKS, reversed(GENRE_SETS)):
            if (kind, genre) not in by_line:
                continue
            of_one, (colour, marker, aside) = by_line[kind, genre], NETWORKS[kind]
            broken = genre == GENRE_SETS[0]
            panel.errorbar(
                of_one["number"] + aside,
                of_one["value"],
                of_one["spread"].fillna(0),
                capsize=1.5,
                elinewidth=0.8,
                color=colour,
                marker=marker,
                markersize=4,
                markerfacecolor="white" if broken else colour,
                linestyle="--" if broken else "-",
                linewidth=1.2,
                label=KIND_NAMES[kind] if kind == "wstn" else f"{KIND_NAMES[kind]} {genre}",
            )
        panel.set_ylabel(MEASURES[metric], fontsize=8)
    numbers = sorted(table["number"].unique())
    axes[-1].set_xticks(numbers)
    axes[-1].set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes[-1].set_xlabel("number of tasks", fontsize=8)
    _legend(figure, columns=3)
    _save(figure, path)


def plot_group_genres(table: pd.DataFrame, title: str, path: str | Path) -> None:
    """Draw what genres artist groups are of as a PNG: a heat map, a line a group.

    Groups of one main genre stand together, in the order of the genres, the purest on
    top. `table` is `report.group_tables.genres_of_groups`'s, (groups, genres) of shares.
    """
    main, purity = table.to_numpy().argmax(axis=1), table.max(axis=1)
    table = table.iloc[np.lexsort((-purity, main))]
    genres, groups = ([_short(name) for name in axis] for axis in table.axes[::-1])
    height = 1.2 + len(groups) * CELL + max(map(len, genres)) * LETTER
    figure = Figure(figsize=(COLUMN_WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="cividis", vmin=0, aspect="auto", interpolation="nearest")
    for axis, names, width in (
        (axes.xaxis, genres, (COLUMN_WIDTH - 0.9) / len(genres)),
        (axes.yaxis, groups, CELL),
    ):
        axis.set_ticks(range(len(names)), names, fontsize=min(7, 60 * width))
    axes.tick_params(length=0)
    axes.tick_params(axis="x", rotation=90)
    axes.set_title(_short(title, TITLE), fontsize=9)
    axes.set_ylabel(table.index.name, fontsize=8)
    bar = figure.colorbar(image, location="bottom", shrink=0.8, aspect=30)
    bar.set_label("part of the group", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    _save(figure, path)


def plot_track_map(
    plane: np.ndarray,
    labels: np.ndarray,
    title: str,
    path: str | Path,
    most: int = MAX_COLOURED_LABELS,
) -> None:
    """Draw a map of songs as a PNG, coloured by label, such as artist or genre (arxiv2017).

    Parameters
    ----------
    plane : (n, 2) float
        From `evaluation.projection.fit_tsne`.
    labels : (n,) str
    title : what the map shows
    path : path of the PNG
    most : int
        The first so many labels, in the order of the songs, have a colour and a marker
        of their own; the songs of all others are small and grey.
    """
    names = list(dict.fromkeys(labels))
    grey = np.isin(labels, names[most:])
    size = np.clip(10_000 / len(labels), 3, MARK)
    figure, axes = _panel(title)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()  # neither places nor directions mean anything, only distances
    for name, style in zip(names[:most], _styles(), strict=False):
        of_one, shape = plane[labels == name], {key: style[key] for key in ("color", "marker")}
        shape |= {"s": size, "linewidth": 0.3, "edgecolor": "white"}
        axes.scatter(*of_one.T, label=_short(name), **shape)
    if grey.any():
        told = f"{len(names) - most} others"
        axes.scatter(*plane[grey].T, s=size / 4, color=OTHERS, linewidth=0, zorder=0.5, label=told)
    figure.set_figheight(COLUMN_WIDTH + _legend(figure, columns=4))
    _save(figure, path)


def plot_training_curves(runs: Sequence[TrainingLog], title: str, path: str | Path) -> None:
    """Draw the curves of trainings of one kind as a PNG, by epoch or iteration.

    Of training they are broken and faint where there was validation, whose are whole. More
    than `MOST_LINES` have one colour and no names.
    """
    figure, axes = _panel(title)
    named = len(runs) <= MAX_LINES
    for one, style in zip(runs, _styles(), strict=False):
        colour = style["color"] if named else SERIES[2]
        line = {"color": colour, "linewidth": 1.2 if named else 0.7}
        aside = {"linestyle": "--", "alpha": 0.5} if "validation" in one.curves else {}
        axes.plot(one.curves.index, one.curves["training"], **{**line, **aside})
        if "validation" in one.curves:
            axes.plot(one.curves.index, one.curves["validation"], **line)
        axes.plot([], [], label=_short(one.name) if named else None, **line)
    if not named:
        axes.plot([], [], color=SERIES[2], label=f"{len(runs)} trainings")
    if any("validation" in one.curves for one in runs):
        axes.plot([], [], color="black", linestyle="--", alpha=0.5, label="on training songs")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch" if runs[0].measure == "loss" else "iteration", fontsize=8)
    axes.set_ylabel(runs[0].measure, fontsize=8)
    _legend(figure, columns=3)
    _save(figure, path)


def _panel(title: str, rows: int = 1, height: float = 3.6) -> tuple[Figure, Axes]:
    """A figure at column width with one panel for lines, or an array of them."""
    figure = Figure(figsize=(COLUMN_WIDTH, height), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, sharex=True, squeeze=False)[:, 0]
    panels[0].set_title(_short(title, TITLE), fontsize=9)
    for axes in panels:
        axes.tick_params(labelsize=7)
        axes.yaxis.get_offset_text().set_fontsize(7)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels if rows > 1 else panels[0]


def _styles() -> Iterator[dict]:
    """Of one line after the other, told apart by colour and by marker."""
    for colour, marker in zip(itertools.cycle(SERIES), itertools.cycle(MARKERS), strict=False):
        yield {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}


def _counts_below(axes: Axes, counts: Iterable[int], name: str) -> None:
    """A logarithmic axis with a tick at each count, named where there is room for its name."""
    counts = sorted(set(counts))
    inch = (COLUMN_WIDTH - 1) / max(np.log(counts[-1] / counts[0]), 1e-9)
    names, room = [], np.inf
    for count in reversed(counts):
        told, place = f"{count:,}", inch * np.log(count)
        fits = place + LETTER * len(told) / 2 < room
        room = place - LETTER * len(told) / 2 if fits else room
        names.append(told if fits else "")
    axes.set_xscale("log")
    axes.set_xticks(counts, reversed(names))
    axes.minorticks_off()
    axes.set_xlabel(name, fontsize=8)


def _measure_beside(axes: Axes, metric: str) -> None:
    axes.set_ylim(0, 1.03 * axes.get_ylim()[1])
    axes.set_ylabel(MEASURES.get(metric, metric), fontsize=8)


def _bars(
    values: pd.DataFrame, spreads: pd.DataFrame, colours: Mapping[str, str], title: str
) -> tuple[Figure, Axes]:
    """A group of bars for each row of `values`, first row on top, a bar a column with its value.

    Columns that have no value at all are left out.
    """
    values = values.dropna(axis="columns", how="all")
    height = 0.85 + len(values) * (len(values.columns) + 1) * BAR
    figure = Figure(figsize=(COLUMN_WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(_short(title, TITLE), fontsize=9)
    places = np.arange(len(values)) * (len(values.columns) + 1)
    for place, column in enumerate(values):
        known = values[column].notna().to_numpy()
        length, spread = values[column][known], spreads[column][known]
        shape = {"height": 0.9, "color": colours[column], "label": _short(column, TITLE)}
        axes.barh(places[known] + place, length, **shape)
        whiskers = {"fmt": "none", "ecolor": "black", "elinewidth": 0.8, "capsize": 1.5}
        axes.errorbar(length, places[known] + place, xerr=spread, **whiskers)
        ends = length + spread.fillna(0)
        for y, end, number in zip(places[known] + place, ends, length, strict=True):
            axes.text(end + 0.015, y, f"{number:.3f}", va="center", fontsize=7)
    middle = places + (len(values.columns) - 1) / 2
    axes.set_yticks(middle, _told_apart(values.index), fontsize=8)
    axes.set_ylim(places[-1] + len(values.columns), -1)
    axes.set_xlim(0, 1.2)  # a score is at most 1, and its value is written after it
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _short(name: object, longest: int = LONGEST) -> str:
    """A name on one line, its middle left out where it is too long to stand in a figure."""
    name = " ".join(str(name).split())
    if name.startswith("_"):
        name = f" {name}"  # else Matplotlib leaves it out of legends
    end = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"


def _told_apart(names: Iterable[object]) -> list[str]:
    """Names `_short`, but longer where two would read alike."""
    names = list(names)
    short = [_short(name) for name in names]
    return [
        _short(name, TITLE) if short.count(told) > 1 else told
        for name, told in zip(names, short, strict=True)
    ]


def _as_written(artist: Artist) -> None:
    """A `$` in a name begins no formula."""
    for text in artist.findobj(Text):
        text.set_parse_math(False)


def _legend(figure: Figure, columns: int = 2) -> float:
    """All names below the panels, once though every panel has them, in columns that fit.

    Gives its height in inches.
    """
    names = figure.axes[0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "fontsize": 7, "frameon": False}
    for ncols in range(columns, 0, -1):
        made = figure.legend(*names, ncols=ncols, **place)
        _as_written(made)
        for handle in made.findobj(PathCollection):
            handle.set_sizes([MARK])
        box = made.get_window_extent()
        if box.width <= figure.bbox.width or ncols == 1:
            return box.height / figure.dpi
        made.remove()


def _save(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG and, beside it, as SVG, each whole or not at all."""
    _as_written(figure)
    # With random ids and the date, an SVG would differ each time.
    settings = {"svg.hashsalt": "figure"}
    for kind, metadata in (("svg", {"Date": None}), ("png", {})):
        with atomic_write(Path(path).with_suffix(f".{kind}")) as partial, rc_context(settings):
            figure.savefig(partial, format=kind, metadata=metadata)
