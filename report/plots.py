"""Result plots, each saved as a PNG file at `path` and as an SVG file with the same name.

Identical results produce byte-identical files.
"""

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style as matplotlib_style
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import ndtri

from artist_groups.task_scores import GENRE_SETS, KIND_NAMES
from common.files import atomic_write
from evaluation.results import DET_CURVE, average_over_seeds
from report.result_tables import SCORES, sort_systems, system_names, tabulate_features
from report.training_logs import TrainingLog

STYLE_SHEET = Path(__file__).with_name("templates") / "figures.mplstyle"

# The Okabe-Ito palette, which remains distinguishable with colour-vision deficiencies.
COLOURS = ("#000000", "#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73")
GREY = "#BBBBBB"
# There is one more marker than colours, so combinations repeat only after 56 lines.
MARKERS = "sov^DPX*"
LINES = ("-", "--", ":")  # one for each round of colours, where there are no markers
SCORE_COLOURS = {"MAP": "#0072B2", "k-NN": "#E69F00", "linear": "#009E73"}
# Each of these models has the same style in every figure. Features without training are dotted.
MODEL_STYLES = {
    "basic": {"color": "#0072B2", "marker": "s"},
    "DeepArtistID": {"color": "#0072B2", "marker": "s"},  # the basic model, in artist recognition
    "siamese": {"color": "#D55E00", "marker": "^"},
    "tag": {"color": "#009E73", "marker": "X"},
    "best": {"color": "#56B4E9", "marker": "D"},
    "siamese fine-tuned": {"color": "#8B4513", "marker": "*"},
    "GMM-UBM": {"color": "#000000", "marker": "v"},
    "i-vector": {"color": "#CC79A7", "marker": "o"},
    "early fusion": {"color": "#E69F00", "marker": "X"},
    "late fusion": {"color": "#009E73", "marker": "P"},
    "mfcc": {"color": "#000000", "linestyle": ":"},
    "untrained": {"color": "#CC79A7", "linestyle": ":"},
    "header": {"color": "#E69F00", "linestyle": ":"},
    "released siamese": {"color": GREY, "linestyle": ":"},
}
# The same model with each scorer of artist recognition.
SCORER_STYLES = {"cosine": {}, "PLDA": {"linestyle": "-.", "markerfacecolor": "white"}}
# Colour, marker and horizontal offset, which keeps error bars apart, of each agf2018 network type.
NETWORK_STYLES = {
    "stn": ("#0072B2", "o", -0.1),
    "mtn": ("#D55E00", "s", 0.1),
    "wstn": ("#009E73", "^", 0),
}
METRIC_NAMES = {
    "map": "MAP",
    "eer": "equal error rate",
    "accuracy": "accuracy",
    "auc": "mean ROC area of the tags",
    "log_loss": "log loss",
    "macro_f1": "macro F1",
}
DET_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)

COLUMN_WIDTH = 3.4  # inches, one column of a two-column paper
BAR_HEIGHT = 0.15  # inches, enough for a 7-point label
CELL_HEIGHT = 0.11  # inches, height of a heat map row
LETTER_WIDTH = 0.06  # inches
NAME_LENGTH, TITLE_LENGTH = 24, 40  # maximum length in characters
LEGEND_HEIGHT = 1.0  # inches, maximum height of a legend that the panels leave space for
MARKER_AREA = 18  # square points, marker size in the legend and maximum size in a track map
MAX_COLOURED_LABELS = 15  # per track map, as in the papers
MAX_LINES = 12  # maximum number of named training runs per figure
MAX_BARS = 40  # maximum number of bar groups per figure


def plot_scores_by_features(results: pd.DataFrame, path: Path) -> None:
    """Plot the MAP, k-NN accuracy and linear accuracy of each feature set, the best MAP on top."""
    values = tabulate_features(results).set_index("features")[list(SCORES.values())]
    spreads = tabulate_features(results, "spread").set_index("features").loc[values.index]
    dataset, label = results[["dataset", "label"]].iloc[0]
    with _bars(path, values, spreads, SCORE_COLOURS, f"{label} on {dataset}") as axes:
        axes.set_xlabel("MAP, or accuracy")
        axes.set_ylabel("features")


def plot_accuracies_by_label(table: pd.DataFrame, title: str, path: Path) -> None:
    """Plot a table from `tabulate_by_label` with one bar per model (ismir2018, Figure 5)."""
    values = table.set_index(table.columns[0])
    styles = {name: MODEL_STYLES.get(re.split("[ ,]", name)[0], {}) for name in values}
    colours = {name: style.get("color", GREY) for name, style in styles.items()}
    with _bars(path, values, values * np.nan, colours, title) as axes:
        axes.set_xlabel("accuracy")


def plot_scores_by_artists(results: pd.DataFrame, paper: pd.DataFrame, path: Path) -> None:
    """Plot a score against the number of training artists, one line per system or model.

    This reproduces ismir2018, Figures 2 to 4, and arxiv2017, Figures 2 and 3. Error bars show the
    standard deviation over seeds if there are several, otherwise over trials. If there are several
    results for the same number of artists, each is drawn as a small point, and the line follows
    their mean. Systems without training artists, such as MFCC, are dotted horizontal lines. The
    numbers in the paper are faint dashed lines.
    """
    protocol, dataset, label, metric = results[["protocol", "dataset", "label", "metric"]].iloc[0]
    results = sort_systems(average_over_seeds(results)).assign(system=system_names)
    with _figure(path, f"{protocol} by {label} on {dataset}") as (_, (axes,)):
        for (system, group), style in _with_styles(results.groupby("system", sort=False)):
            style |= _system_style(system)
            by_count = group.dropna(subset="artists").groupby("artists")
            if len(by_count):
                means, single = by_count["value"].mean(), by_count.size() == 1
                spreads = by_count["spread"].first().where(single).fillna(0)
                counts = means.index.astype(int)
                axes.errorbar(counts, means, spreads, label=_shorten(system), **style)
                points = group[group["artists"].isin(single.index[~single])]
                counts = points["artists"].astype(int)
                axes.plot(counts, points["value"], **style | {"linestyle": "", "markersize": 2})
            for value in group.loc[group["artists"].isna(), "value"]:
                line = {"linestyle": ":"} | style | {"marker": ""}
                axes.axhline(value, label=_shorten(system), **line)
            numbers = paper[paper["model"].eq(system)].sort_values("artists")
            if len(numbers):
                style |= {"linestyle": "--", "alpha": 0.6}
                name, counts = _shorten(f"{system}, the paper"), numbers["artists"].astype(int)
                axes.errorbar(counts, numbers["value"], label=name, zorder=1, **style)
        counts = pd.concat([results["artists"].dropna(), paper["artists"]]).astype(int)
        _set_axes(axes, counts, "training artists", metric)


def plot_scores_by_enrolment(table: pd.DataFrame, metric: str, title: str, path: Path) -> None:
    """Plot a table from `enrolment_scores`, one line per system."""
    with _figure(path, title) as (_, (axes,)):
        for (system, group), style in _with_styles(table.groupby("system", sort=False)):
            means = group.groupby("tracks")["value"].mean()
            axes.plot(means.index, means, label=_shorten(system), **style | _system_style(system))
        _set_axes(axes, table["tracks"], "enrolment tracks", metric)


def plot_det_curves(results: pd.DataFrame, path: Path) -> None:
    """Plot the DET curve of the first result of each system on normal-deviate axes."""
    results = sort_systems(results).assign(system=system_names).drop_duplicates("system")
    with _figure(path, "verification errors") as (_, (axes,)):
        for number, ((_, result), style) in enumerate(_with_styles(results.iterrows())):
            style["linestyle"] = LINES[number // len(COLOURS) % len(LINES)]
            style |= _system_style(result["system"])
            if curve := result["details"].get(DET_CURVE):
                rates = np.clip([curve["false alarm"], curve["miss"]], 1e-6, 1 - 1e-6)
                name = _shorten(result["system"])
                axes.plot(*ndtri(rates), label=name, **style | {"marker": ""})
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ndtri(DET_TICKS), [f"{100 * tick:g}" for tick in DET_TICKS])
        limits = ndtri([DET_TICKS[0] / 2, 0.6])
        axes.set(xlim=limits, ylim=limits, xlabel="false alarms, %", ylabel="misses, %")


def plot_scores_by_tasks(table: pd.DataFrame, title: str, path: Path) -> None:
    """Plot log loss and macro F1 against the number of tasks (presumably agf2018, Figure 3).

    There is one line per network type, with and without the genre task; error bars show the
    standard deviation over task sets.
    """
    with _figure(path, title, height=4.8, rows=2, legend_columns=3) as (_, panels):
        for axes, metric in zip(panels, ("log_loss", "macro_f1"), strict=True):
            scores = table[table["metric"].eq(metric)].sort_values("number")
            for kind, genre in itertools.product(NETWORK_STYLES, reversed(GENRE_SETS)):
                line = scores[scores["kind"].eq(kind) & scores["genre"].eq(genre)]
                if line.empty:
                    continue
                colour, marker, offset = NETWORK_STYLES[kind]
                style: dict[str, Any] = {"color": colour, "marker": marker, "elinewidth": 0.8}
                if genre == GENRE_SETS[0]:
                    style |= {"linestyle": "--", "markerfacecolor": "white"}
                label = KIND_NAMES[kind] + (f" {genre}" if kind != "wstn" else "")
                numbers, spreads = line["number"] + offset, line["spread"].fillna(0)
                axes.errorbar(numbers, line["value"], spreads, label=label, **style)
            axes.set_ylabel(METRIC_NAMES[metric])
        numbers = sorted(table["number"].unique())
        axes.set(xticks=numbers, xlabel="number of tasks")
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)


def plot_group_genres(table: pd.DataFrame, title: str, path: Path) -> None:
    """Plot `genre_fractions` as a heat map, sorted by main genre, then by its fraction."""
    main, purity = table.to_numpy().argmax(axis=1), table.max(axis=1)
    table = table.iloc[np.lexsort((-purity, main))]
    groups, genres = ([_shorten(name) for name in axis] for axis in table.axes)
    height = 1.2 + len(groups) * CELL_HEIGHT + max(map(len, genres)) * LETTER_WIDTH
    with _figure(path, title, height, legend_columns=0) as (figure, (axes,)):
        image = axes.imshow(table, cmap="cividis", vmin=0, aspect="auto", interpolation="nearest")
        column_width = (COLUMN_WIDTH - 0.9) / len(genres)
        axes.set_xticks(range(len(genres)), genres, rotation=90, fontsize=min(7, 60 * column_width))
        axes.set_yticks(range(len(groups)), groups, fontsize=60 * CELL_HEIGHT)
        axes.spines[:].set_visible(True)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.set_ylabel(table.index.name)
        bar = figure.colorbar(image, location="bottom", shrink=0.8, aspect=30)
        bar.set_label("fraction of the group")


def plot_track_map(plane: np.ndarray, labels: np.ndarray, title: str, path: Path) -> None:
    """Plot tracks in the plane (n, 2), coloured by labels (n,) such as artist or genre.

    The first `MAX_COLOURED_LABELS` labels in track order each get their own colour and marker;
    tracks with any other label are drawn as small grey points.
    """
    names = list(dict.fromkeys(labels))
    coloured, others = names[:MAX_COLOURED_LABELS], names[MAX_COLOURED_LABELS:]
    area = np.clip(10_000 / len(labels), 3, MARKER_AREA)
    with _figure(path, title, legend_columns=0) as (figure, (axes,)):
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_axis_off()  # coordinates have no meaning, only distances do
        edge: dict[str, Any] = {"linewidth": 0.3, "edgecolor": "white"}
        for name, style in _with_styles(coloured):
            x, y = plane[labels == name].T
            axes.scatter(x, y, s=area, label=_shorten(name), **style, **edge)
        if others:
            x, y = plane[np.isin(labels, others)].T
            grey: dict[str, Any] = {"color": GREY, "linewidth": 0, "zorder": 0.5}
            axes.scatter(x, y, s=area / 4, label=f"{len(others)} others", **grey)
        figure.set_figheight(COLUMN_WIDTH + _add_legend(figure, columns=4))


def plot_training_curves(logs: Sequence[TrainingLog], title: str, path: Path) -> None:
    """Plot the learning curves of training runs of one model type by epoch or iteration.

    Validation curves are solid, and the accompanying training curves are dashed and faint. More
    than `MAX_LINES` runs are drawn in a single colour and without names.
    """
    named = len(logs) <= MAX_LINES
    with _figure(path, title, legend_columns=3) as (_, (axes,)):
        for log, style in _with_styles(logs):
            name, colour = (_shorten(log.name), style["color"]) if named else (None, COLOURS[2])
            line: dict[str, Any] = {"color": colour, "linewidth": 1.2 if named else 0.7}
            if "validation" in log.curves:
                axes.plot(log.curves["training"], linestyle="--", alpha=0.5, **line)
            axes.plot(log.curves.get("validation", log.curves["training"]), label=name, **line)
        if not named:
            axes.plot([], [], color=COLOURS[2], label=f"{len(logs)} training runs")
        if any("validation" in log.curves for log in logs):
            axes.plot([], [], color="black", linestyle="--", alpha=0.5, label="training tracks")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch" if logs[0].metric == "loss" else "iteration")
        axes.set_ylabel(logs[0].metric)


# ---------------------------------------------------------------- parts of figures


@contextlib.contextmanager
def _figure(
    path: Path, title: str, height: float = 3.6, rows: int = 1, legend_columns: int = 2
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """Create a column-width figure with one panel per row; on exit, add a legend and save it.

    `height` in inches includes a legend of up to `LEGEND_HEIGHT`; a higher one extends the figure.
    If `legend_columns` is 0, there is no legend.
    """
    with matplotlib_style.context(STYLE_SHEET):
        figure = Figure(figsize=(COLUMN_WIDTH, height))
        panels = list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0])
        figure.suptitle(_shorten(title, TITLE_LENGTH))
        yield figure, panels
        if legend_columns:
            excess = _add_legend(figure, legend_columns) - LEGEND_HEIGHT
            figure.set_figheight(height + max(excess, 0))
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            with atomic_write(path.with_suffix(f".{kind}")) as partial:
                figure.savefig(partial, format=kind, metadata=metadata)


@contextlib.contextmanager
def _bars(
    path: Path, values: pd.DataFrame, spreads: pd.DataFrame, colours: dict[str, str], title: str
) -> Iterator[Axes]:
    """Create a figure with a bar per row and column of `values`, labelled with its value."""
    values = values.dropna(axis="columns", how="all")
    step = len(values.columns) + 1
    height = 0.85 + len(values) * step * BAR_HEIGHT
    with _figure(path, title, height, legend_columns=len(values.columns)) as (_, (axes,)):
        axes.grid(visible=False)
        positions = pd.Series(np.arange(len(values)) * step, values.index)
        for offset, name in enumerate(values):
            lengths = values[name].dropna()
            y, spread = positions[lengths.index] + offset, spreads[name][lengths.index]
            label = _shorten(name, TITLE_LENGTH)
            axes.barh(y, lengths, height=0.9, color=colours[name], label=label)
            error_bar: dict[str, Any] = {"ecolor": "black", "elinewidth": 0.8, "capsize": 1.5}
            axes.errorbar(lengths, y, xerr=spread, fmt="none", **error_bar)
            for x, place, number in zip(lengths + spread.fillna(0), y, lengths, strict=True):
                axes.text(x + 0.015, place, f"{number:.3f}", va="center")
        middle = positions + (len(values.columns) - 1) / 2
        names = pd.Series([_shorten(name) for name in values.index])
        longer = [_shorten(name, TITLE_LENGTH) for name in values.index]
        axes.set_yticks(middle, names.where(~names.duplicated(keep=False), longer), fontsize=8)
        axes.set_ylim(positions.iloc[-1] + len(values.columns), -1)
        axes.set_xlim(0, 1.2)  # scores are at most 1; the rest is for the number after the bar
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.tick_params(axis="y", length=0)
        yield axes


def _with_styles(items: Iterable) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each item with a colour and a marker for its line."""
    for item, colour, marker in zip(items, itertools.cycle(COLOURS), itertools.cycle(MARKERS)):
        yield item, {"color": colour, "marker": marker}


def _system_style(system: str) -> dict[str, Any]:
    """Return the style of a model, or of a model and a scorer such as "siamese + PLDA", if any."""
    model, _, scorer = system.partition(" + ")
    if model in MODEL_STYLES and scorer in ("", *SCORER_STYLES):
        return MODEL_STYLES[model] | SCORER_STYLES.get(scorer, {})
    return {}


def _set_axes(axes: Axes, counts: Iterable[int], name: str, metric: str) -> None:
    """Make a logarithmic axis of counts, with a label wherever one fits, and an axis of scores."""
    counts = sorted(set(counts))
    inches = (COLUMN_WIDTH - 1) / max(np.log(counts[-1] / counts[0]), 1e-9)
    names, left = [], np.inf  # from right to left
    for count in reversed(counts):
        text, centre = f"{count:,}", inches * np.log(count)
        half = LETTER_WIDTH * len(text) / 2
        fits = centre + half < left
        names.append(text if fits else "")
        left = centre - half if fits else left
    axes.set_xscale("log")
    axes.set_xticks(counts, reversed(names))
    axes.minorticks_off()
    axes.set_ylim(0, 1.03 * axes.get_ylim()[1])
    axes.set(xlabel=name, ylabel=METRIC_NAMES.get(metric, metric))


def _shorten(name: object, longest: int = NAME_LENGTH) -> str:
    """Return a name on one line, with an ellipsis in the middle if it is too long."""
    name = " ".join(str(name).split())
    if name.startswith("_"):
        name = f" {name}"  # Matplotlib omits names with a leading underscore from legends
    end = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"


def _add_legend(figure: Figure, columns: int) -> float:
    """Add a common legend with at most `columns` columns, and return its height in inches."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    for count in range(columns, 0, -1):
        legend = figure.legend(handles, names, ncols=count, loc="outside lower center")
        for handle in legend.findobj(PathCollection):
            handle.set_sizes([MARKER_AREA])
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width or count == 1:
            break
        legend.remove()
    return box.height / figure.dpi
