"""Tests that plots are complete, one column wide and readable, and show the right values."""

import itertools
import math
from statistics import NormalDist
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from artist_groups import task_scores
from evaluation.results import DTYPES
from papers.paper_tables import read_paper_tables, select_paper_numbers
from report import plots
from report.result_tables import SYSTEMS, enrolment_scores
from report.training_logs import TrainingLog

NO_PAPER = read_paper_tables().iloc[:0]
HOSTILE = ["$x_$", "<b>&amp;", "_hidden", "$", "two\nlines"]
HOSTILE += ["LOUD NAMES " * 9, "a^{b", "\\frac", "R&B", ""]


@pytest.fixture
def draw(tmp_path):
    """Return a function that calls a plot function, checks its files and returns the figure."""

    def draw_one(function, *data):
        path, save = tmp_path / "figure.png", Figure.savefig
        with mock.patch.object(Figure, "savefig", autospec=True, side_effect=save) as saved:
            function(*data, path)
        assert {one.name for one in tmp_path.iterdir()} == {"figure.png", "figure.svg"}
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
        assert int.from_bytes(content[16:20], "big") == round(plots.COLUMN_WIDTH * 300)
        figure = saved.call_args.args[0]
        assert_readable(figure)
        return figure

    return draw_one


def assert_readable(figure):
    """Check that no text overlaps another or extends beyond the sides of the figure."""
    texts = [text for legend in figure.legends for text in legend.texts]
    texts += [figure._suptitle] if figure._suptitle else []
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())  # ticks outside it are not drawn
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in ticks]
    boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def lines_by_name(figure):
    return {handle.get_label(): handle for handle in figure.axes[0].get_legend_handles_labels()[0]}


def legend_names(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def complete(rows):
    """Return results in the format of `read_results`, from rows that end with seed and details."""
    columns = ["protocol", "metric", "value", "spread", "dataset", "label", "model", "artists"]
    results = pd.DataFrame(rows, columns=[*columns, "seed", "details"])
    names = results["model"] + "_" + results["artists"].astype(str) + "_" + results["seed"].map(str)
    return results.assign(features=names, variant=None, trials=pd.NA, n_songs=100).astype(DTYPES)


# ---------------------------------------------------------------- features and labels


def feature_scores(features):
    """Return results with closely spaced scores between almost 0 and 1."""
    protocols = (("retrieval", 0, None), ("knn", 0.1, None), ("linear", 0.11, 0.04))
    rows = [
        (protocol, min(1.0, 0.01 + 0.24 * i + shift), spread, f"siamese_10000_run_{i}")
        for i, (protocol, shift, spread) in itertools.product(range(features), protocols)
    ]
    results = pd.DataFrame(rows, columns=["protocol", "value", "spread", "features"])
    return results.assign(dataset="demo_target", label="genre")


@pytest.mark.parametrize("features", [1, 12])
def test_scores_by_features_are_readable(draw, features):
    figure = draw(plots.plot_scores_by_features, feature_scores(features))
    assert len(figure.axes[0].texts) == 3 * features


def test_scores_by_features_show_the_values_with_the_best_map_on_top(draw):
    results = feature_scores(3)
    missing = results["protocol"].eq("knn") & (results["value"] < 0.2)
    axes = draw(plots.plot_scores_by_features, results[~missing]).axes[0]
    labels = sorted(axes.get_yticklabels(), key=lambda label: -label.get_window_extent().y0)
    assert [label.get_text() for label in labels] == [f"siamese_10000_run_{i}" for i in (2, 1, 0)]
    bars = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers[::2]}
    assert bars["MAP"] == pytest.approx([0.49, 0.25, 0.01])
    assert bars["k-NN"] == pytest.approx([0.59, 0.35])
    assert bars["linear"] == pytest.approx([0.60, 0.36, 0.12])
    assert [text.get_text() for text in axes.texts[:3]] == ["0.490", "0.250", "0.010"]


def accuracies(genres):
    values = np.random.default_rng(0).random((len(genres), 2))
    table = pd.DataFrame(values, columns=["basic, 5 artists", "siamese"])
    table.insert(0, "genre", genres)
    return table


@pytest.mark.parametrize("genres", [["rock"], HOSTILE], ids=len)
def test_accuracies_by_label_have_one_bar_per_model(draw, genres):
    table, title = accuracies(genres), "linear accuracy on a dataset of a long name"
    figure = draw(plots.plot_accuracies_by_label, table, title)
    axes = figure.axes[0]
    for bars, name in zip(axes.containers[::2], table.columns[1:], strict=True):
        assert [bar.get_width() for bar in bars] == pytest.approx(table[name].tolist())
    assert len({bars[0].get_facecolor() for bars in axes.containers[::2]}) == 2
    assert axes.get_yticklabels()[0].get_text() == genres[0]
    assert legend_names(figure) == list(table.columns[1:])


def test_identical_data_produce_byte_identical_files(tmp_path):
    for folder in ("one", "two"):
        path = tmp_path / folder / "genres.png"
        plots.plot_accuracies_by_label(accuracies(HOSTILE), "$linear_", path)
    for name in ("genres.png", "genres.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


# ---------------------------------------------------------------- artist recognition


@pytest.fixture
def verification():
    """Return results with details of every system for 100 and 1,000 artists and two seeds."""
    rows = []
    conditions = itertools.product(enumerate(SYSTEMS), (100, 1000), (0, 1))
    for (number, system), artists, seed in conditions:
        value = 0.3 - 0.03 * number - 0.02 * seed - artists / 1e5
        details = {
            "DET": {"false alarm": [1.0, 0.3, 0.1, 0.0], "miss": [0.0, 0.1, value, 1.0]},
            "by enrolment songs": {str(n): value + 0.1 / n for n in (1, 10, 15, 2, 5)},
        }
        row = ("verification", "eer", value, 0.01, "unseen", "artist", system, artists)
        rows.append((*row, seed, details))
    return complete(rows)


def test_scores_by_artists_show_the_mean_of_each_system(draw, verification):
    figure = draw(plots.plot_scores_by_artists, verification, NO_PAPER)
    assert legend_names(figure) == list(SYSTEMS)
    for container, system in zip(figure.axes[0].containers, SYSTEMS, strict=True):
        means = verification[verification["model"].eq(system)].groupby("artists")["value"].mean()
        assert container.lines[0].get_ydata() == pytest.approx(means.to_numpy())
        assert list(container.lines[0].get_xdata()) == [100, 1000]
    assert len({style_of(container.lines[0]) for container in figure.axes[0].containers}) == len(
        SYSTEMS
    )


def style_of(line):
    return line.get_color(), line.get_linestyle(), line.get_marker(), line.get_markerfacecolor()


def test_a_system_has_the_same_style_in_every_figure(draw, verification):
    """The style of a system does not depend on the other systems in the figure."""
    by_artists = lines_by_name(draw(plots.plot_scores_by_artists, verification, NO_PAPER))
    some = verification[verification["model"].isin(SYSTEMS[::2])]
    by_enrolment = lines_by_name(
        draw(plots.plot_scores_by_enrolment, enrolment_scores(some), "eer", "title")
    )
    det = lines_by_name(draw(plots.plot_det_curves, some))
    for system in SYSTEMS[::2]:
        expected = style_of(by_artists[system].lines[0])
        assert style_of(by_enrolment[system]) == expected
        assert style_of(det[system])[:2] == expected[:2]


def test_scores_by_enrolment_show_the_mean_of_each_system(draw, verification):
    table = enrolment_scores(verification.query("artists == 1000"))
    lines = lines_by_name(draw(plots.plot_scores_by_enrolment, table, "eer", "title"))
    for system, group in table.groupby("system"):
        means = group.groupby("tracks")["value"].mean()
        assert list(lines[system].get_xdata()) == [1, 2, 5, 10, 15]
        assert list(lines[system].get_ydata()) == pytest.approx(means.tolist())


def test_high_legend_extends_the_figure(draw):
    """The lines of many systems have as much space as those of few."""

    def panel_height(systems):
        rows = [(f"system {n}", tracks, 0.1) for n in range(systems) for tracks in (1, 5)]
        table = pd.DataFrame(rows, columns=["system", "tracks", "value"])
        figure = draw(plots.plot_scores_by_enrolment, table, "eer", "title")
        return figure.axes[0].get_window_extent().height / figure.dpi

    assert panel_height(40) == pytest.approx(panel_height(10), rel=0.2)


def test_det_curves_use_normal_deviate_axes(draw, verification):
    results = verification.query("artists == 1000")
    lines = lines_by_name(draw(plots.plot_det_curves, results))
    assert list(lines) == list(SYSTEMS)
    assert len({style_of(line)[:2] for line in lines.values()}) == len(SYSTEMS)
    line, curve = lines["GMM-UBM"], results.iloc[0]["details"]["DET"]
    assert NormalDist().cdf(line.get_xdata()[1]) == pytest.approx(curve["false alarm"][1])
    assert NormalDist().cdf(line.get_ydata()[2]) == pytest.approx(curve["miss"][2])
    assert all(map(math.isfinite, [*line.get_xdata(), *line.get_ydata()]))


# ---------------------------------------------------------------- number of artists


def linear(counts, dataset="gtzan", models=("basic", "siamese")):
    """Return linear softmax accuracies with two seeds per model and number of artists."""
    return complete(
        [
            *("linear", "accuracy", 0.5 + 0.02 * place + 0.01 * seed, 0.01, dataset, "genre", *who),
            *(seed, {}),
        ]
        for place, who in enumerate(itertools.product(models, counts))
        for seed in (0, 1)
    )


def test_scores_by_artists_include_the_numbers_in_the_paper(draw):
    results = linear([1000, 5000])
    figure = draw(plots.plot_scores_by_artists, results, select_paper_numbers(results))
    lines = {name: handle.lines[0] for name, handle in lines_by_name(figure).items()}
    assert list(lines) == ["basic", "basic, the paper", "siamese", "siamese, the paper"]
    assert list(lines["siamese"].get_ydata()) == pytest.approx([0.545, 0.565])
    paper = lines["siamese, the paper"]
    assert list(paper.get_xdata()) == [5000, 10000]
    assert list(paper.get_ydata()) == [0.6993, 0.7203]
    assert paper.get_linestyle() == "--" and paper.get_alpha() < 1
    assert paper.get_color() == lines["siamese"].get_color() != lines["basic"].get_color()
    assert max(paper.get_ydata()) < figure.axes[0].get_ylim()[1]


def test_repeated_results_are_points_and_systems_without_artists_are_lines(draw):
    results = linear([1000, 5000], models=("siamese",)).assign(seed=pd.NA)
    mfcc = results.iloc[:1].assign(artists=pd.NA, model="mfcc", value=0.3)
    figure = draw(plots.plot_scores_by_artists, pd.concat([results, mfcc]), NO_PAPER)
    lines = lines_by_name(figure)
    (points,) = [line for line in figure.axes[0].lines if line.get_markersize() == 2]
    assert list(points.get_xdata()) == [1000, 1000, 5000, 5000]
    assert list(points.get_ydata()) == pytest.approx([0.5, 0.51, 0.52, 0.53])
    assert list(lines["siamese"].lines[0].get_ydata()) == pytest.approx([0.505, 0.525])
    error_bars = lines["siamese"].lines[2][0]
    assert not np.ptp(error_bars.get_segments(), axis=1).any()
    assert list(lines["mfcc"].get_ydata()) == [0.3, 0.3]
    assert lines["mfcc"].get_linestyle() == ":"


@pytest.mark.parametrize("counts", [[7], [10, 20, 40, 60, 10000], [*range(900, 1010, 10), 5000]])
def test_artist_counts_are_labelled_without_overlap(draw, counts):
    figure = draw(plots.plot_scores_by_artists, linear(counts, "mine"), NO_PAPER)
    axis = figure.axes[0].xaxis
    assert list(axis.get_ticklocs()) == counts
    assert axis.get_ticklabels()[-1].get_text() == f"{counts[-1]:,}"


def test_hostile_names_are_drawn_as_text(draw):
    results = linear([9, 10], "$x_$" * 30, HOSTILE[:-1])
    names = legend_names(draw(plots.plot_scores_by_artists, results, NO_PAPER))
    assert names[:5] == ["$x_$", "<b>&amp;", " _hidden", "$", "two lines"]
    assert all(len(name) <= 24 for name in names) and len(names) == len(HOSTILE) - 1


# ---------------------------------------------------------------- track maps and training curves


@pytest.mark.parametrize("labels", [22, 10, 1])
def test_track_map_colours_the_first_labels_and_greys_the_others(draw, labels):
    random, coloured = np.random.default_rng(0), plots.MAX_COLOURED_LABELS
    names = np.array([*HOSTILE[:-1], *(f"an artist {n}" for n in range(60))], object)[:labels]
    of_tracks = np.concatenate([names, random.choice(names, 200)])
    plane = random.normal(size=(len(of_tracks), 2))
    figure = draw(plots.plot_track_map, plane, of_tracks, "siamese: tracks by artist")
    clouds, legend = figure.axes[0].collections, legend_names(figure)
    assert len(legend) == len(clouds) == min(labels, coloured) + (labels > coloured)
    for cloud, name in zip(clouds, names[:coloured], strict=False):
        np.testing.assert_array_equal(cloud.get_offsets(), plane[of_tracks == name])
    looks = [(tuple(c.get_facecolor()[0]), str(c.get_paths()[0].vertices)) for c in clouds]
    assert len(set(looks)) == len(clouds)
    if labels > coloured:
        assert legend[-1] == f"{labels - coloured} others"
        others = np.isin(of_tracks, names[coloured:])
        np.testing.assert_array_equal(clouds[-1].get_offsets(), plane[others])
        assert clouds[-1].get_zorder() < clouds[0].get_zorder()


def training_log(name: str, *, validation: bool) -> TrainingLog:
    """Return the log of a training run with 30 epochs and decreasing losses."""
    losses = 1 / np.arange(1, 31) + len(name) / 50
    curves = {"training": losses} | ({"validation": losses + 0.1} if validation else {})
    return TrainingLog(name, "basic", pd.DataFrame(curves, range(1, 31)), "loss", {})


@pytest.mark.parametrize("validation", [True, False])
def test_few_training_curves_are_named_in_the_legend(draw, validation):
    names = [*(f"basic_{n}_0" for n in (10, 20, 40, 60)), HOSTILE[0]]
    logs = [training_log(name, validation=validation) for name in names]
    figure = draw(plots.plot_training_curves, logs, "basic")
    assert legend_names(figure) == [*names, *["training tracks"] * validation]
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert len(lines) == 5 * (1 + validation)
    np.testing.assert_array_equal(lines[0].get_ydata(), logs[0].curves["training"])
    assert lines[0].get_linestyle() == ("--" if validation else "-")


def test_many_training_curves_share_one_colour(draw):
    logs = [training_log(f"mtn_{n}", validation=False) for n in range(26)]
    figure = draw(plots.plot_training_curves, logs, "mtn")
    assert legend_names(figure) == ["26 training runs"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 1


# ---------------------------------------------------------------- agf2018


def test_scores_by_tasks_show_both_metrics(draw):
    table = task_scores.average_by_number(task_scores.select_paper_scores(read_paper_tables()))
    figure = draw(plots.plot_scores_by_tasks, table, "genre on fma_medium")
    names = ["STN with g", "STN without g", "MTN with g", "MTN without g", "wSTN"]
    assert legend_names(figure) == names
    for axes, metric in zip(figure.axes, ("log_loss", "macro_f1"), strict=True):
        for container, name in zip(axes.containers, names, strict=True):
            kind, _, genre = name.lower().partition(" ")
            line_of = {"kind": kind, "metric": metric, "genre": genre or "with g"}
            scores = table[(table[list(line_of)] == pd.Series(line_of)).all(axis=1)]
            line = container.lines[0]
            assert line.get_ydata() == pytest.approx(scores["value"].to_numpy())
            assert line.get_xdata() == pytest.approx(scores["number"].to_numpy(), abs=0.2)
    lines = [container.lines[0] for container in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(names)
    figure = draw(plots.plot_scores_by_tasks, table[table["number"].eq(5)], "genre on demo")
    assert legend_names(figure) == ["STN with g", "MTN with g", "wSTN"]


@pytest.mark.parametrize(("groups", "genres"), [(40, 16), (1, 1), (8, 30)])
def test_group_genres_are_sorted_by_main_genre(draw, groups, genres):
    names = [f"a genre of a long name, $_{n}$" for n in range(genres)]
    fractions = np.random.default_rng(0).dirichlet(np.full(genres, 0.2), groups)
    table = pd.DataFrame(fractions, columns=names).rename_axis("group")
    axes = draw(plots.plot_group_genres, table, "genres of artist groups by vocabulary s").axes[0]
    order = [int(label.get_text()) for label in axes.get_yticklabels()]
    assert order == sorted(
        range(groups), key=lambda n: (fractions[n].argmax(), -fractions[n].max())
    )
    np.testing.assert_array_equal(axes.images[0].get_array(), fractions[order])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(labels)) == genres and max(map(len, labels)) <= 24
    assert labels[0].startswith("a genre of ") and labels[0].endswith("$_0$")
