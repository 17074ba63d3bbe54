"""The figures: whole, at column width, with values and names that can be read."""

import functools
import itertools
import math
import xml.etree.ElementTree
from statistics import NormalDist
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from artist_groups import task_scores
from common.errors import InputError
from evaluation.results import DTYPES
from papers.paper_tables import read_paper_tables, select_paper_numbers
from report.plots import (
    COLUMN_WIDTH,
    DPI,
    MAX_BARS,
    plot_accuracies_by_label,
    plot_det_curves,
    plot_group_genres,
    plot_scores_by_artists,
    plot_scores_by_enrolment,
    plot_scores_by_features,
    plot_scores_by_tasks,
    plot_track_map,
    plot_training_curves,
)
from report.result_tables import SYSTEMS, by_enrolment
from report.training_logs import TrainingLog

NO_PAPER = read_paper_tables().iloc[:0]


def made_up(features=5, dataset="demo_target"):
    """Results with neighbouring scores, from almost 0 to 1."""
    rows = [
        (protocol, min(1.0, 0.01 + 0.24 * i + shift), spread, f"siamese_10000_run_{i}")
        for i in range(features)
        for protocol, shift, spread in (
            ("retrieval", 0, None),
            ("knn", 0.1, None),
            ("linear", 0.11, 0.04),
        )
    ]
    results = pd.DataFrame(rows, columns=["protocol", "value", "spread", "features"])
    return results.assign(dataset=dataset, label="genre")


@pytest.fixture
def drawn(tmp_path):
    """Draw results to a PNG and give its path and the figure that was saved."""

    def draw(results, **settings):
        path = tmp_path / "scores.png"
        save = Figure.savefig
        with mock.patch.object(Figure, "savefig", autospec=True, side_effect=save) as saved:
            plot_scores_by_features(results, path, **settings)
        return path, saved.call_args.args[0]

    return draw


def test_the_figure_is_a_whole_png_at_column_width(drawn, tmp_path):
    path, _ = drawn(made_up())
    assert {each.name for each in tmp_path.iterdir()} == {"scores.png", "scores.svg"}
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
    assert int.from_bytes(content[16:20], "big") == pytest.approx(COLUMN_WIDTH * DPI, abs=1)


@pytest.mark.parametrize("features", [1, 5, 12])
def test_no_text_covers_another_or_leaves_the_figure(drawn, features):
    _, figure = drawn(made_up(features), chance=0.1)
    axes = figure.axes[0]
    texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
    texts += [figure._suptitle, axes.xaxis.label, axes.yaxis.label, *figure.legends[0].texts]
    boxes = [text.get_window_extent() for text in texts]
    assert len(axes.texts) == 3 * features
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_bars_have_the_values_best_map_on_top(drawn):
    results = made_up(3)
    _, figure = drawn(results[~((results["protocol"] == "knn") & (results["value"] < 0.2))])
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    heights = [label.get_window_extent().y0 for label in axes.get_yticklabels()]
    by_height = [name for _, name in sorted(zip(heights, names, strict=True), reverse=True)]
    assert by_height == [f"siamese_10000_run_{i}" for i in (2, 1, 0)]
    bars = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers[::2]}
    assert bars["MAP"] == pytest.approx([0.49, 0.25, 0.01])
    assert bars["k-NN"] == pytest.approx([0.59, 0.35])
    assert bars["linear"] == pytest.approx([0.60, 0.36, 0.12])
    assert [text.get_text() for text in axes.texts[:3]] == ["0.490", "0.250", "0.010"]


def test_chance_is_a_line_where_it_is_given(drawn):
    def lines(figure):
        return [line for line in figure.axes[0].lines if line.get_label() == "chance"]

    _, figure = drawn(made_up(), chance=0.125)
    assert [line.get_xdata()[0] for line in lines(figure)] == [0.125]
    _, figure = drawn(made_up())
    assert lines(figure) == []


def test_several_datasets_or_none_are_refused(tmp_path):
    both = pd.concat([made_up(), made_up(dataset="gtzan")])
    with pytest.raises(InputError, match="one dataset and label are shown"):
        plot_scores_by_features(both, tmp_path / "scores.png")
    with pytest.raises(InputError, match="none"):
        plot_scores_by_features(made_up().iloc[:0], tmp_path / "scores.png")


# ---------------------------------------------------------------- artist recognition


def recognised(seeds=1):
    """Results of every system with 100 and 1,000 artists, a DET curve and the one-shot protocol."""
    rows = []
    for number, system in enumerate(SYSTEMS):
        for artists in (100, 1000):
            for seed in range(seeds):
                value = 0.3 - 0.03 * number - 0.02 * seed - artists / 1e5
                by = {str(n): value + 0.1 / n for n in (1, 10, 15, 2, 5)}
                details = {
                    "DET": {"false alarm": [1.0, 0.3, 0.1, 0.0], "miss": [0.0, 0.1, value, 1.0]},
                    "by enrolment songs": by,
                }
                row = ("verification", "eer", value, 0.01, "unseen", "artist", system, artists)
                rows.append((*row, seed, details))
    columns = ["protocol", "metric", "value", "spread", "dataset", "label", "model", "artists"]
    return complete(pd.DataFrame(rows, columns=[*columns, "seed", "details"]))


def complete(results):
    """Results with what else `read_results` has of them."""
    names = results["model"] + "_" + results["artists"].astype(str) + "_" + results["seed"].map(str)
    return results.assign(features=names, variant=None, trials=pd.NA, n_songs=100).astype(DTYPES)


@pytest.fixture
def saved(tmp_path):
    """Draw by a function to a PNG; the figure that was saved."""

    def draw(function, *given):
        path, save = tmp_path / "figure.png", Figure.savefig
        with mock.patch.object(Figure, "savefig", autospec=True, side_effect=save) as saving:
            function(*given, path)
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
        return saving.call_args.args[0]

    return draw


def lines_of(figure):
    return {handle.get_label(): handle for handle in figure.axes[0].get_legend_handles_labels()[0]}


def readable(figure):
    """No name covers another or leaves the figure."""
    texts = [text for legend in figure.legends for text in legend.texts]
    texts += [figure._suptitle] if figure._suptitle else []
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())  # beyond which ticks are not drawn
            texts += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
    boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
    inside = [box for box in boxes if figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1]
    return len(inside) == len(boxes) and not any(
        a.overlaps(b) for a, b in itertools.combinations(boxes, 2)
    )


def test_systems_against_the_number_of_artists(saved):
    results = recognised(seeds=2)
    figure = saved(plot_scores_by_artists, results, NO_PAPER)
    assert readable(figure)
    assert [text.get_text() for text in figure.legends[0].texts] == list(SYSTEMS)
    for container, system in zip(figure.axes[0].containers, SYSTEMS, strict=True):
        of_one = results[results["model"].eq(system)].groupby("artists")["value"].mean()
        assert container.lines[0].get_ydata() == pytest.approx(of_one.to_numpy())
        assert list(container.lines[0].get_xdata()) == [100, 1000]
    styles = {(c.lines[0].get_color(), c.lines[0].get_marker()) for c in figure.axes[0].containers}
    assert len(styles) == len(SYSTEMS)
    for column in ("dataset", "label"):
        both = pd.concat([results, results.assign(**{column: "other"})])
        with pytest.raises(InputError, match="keep those of each in a folder"):
            plot_scores_by_artists(both, NO_PAPER, "figure.png")


def test_fewer_enrolment_songs(saved):
    table = by_enrolment(recognised(seeds=2).query("artists == 1000"))
    figure = saved(plot_scores_by_enrolment, table, "eer")
    assert readable(figure)
    lines = lines_of(figure)
    for system, of_one in table.groupby("system"):
        expected = of_one.groupby("songs")["value"].mean()
        assert list(lines[system].get_xdata()) == [1, 2, 5, 10, 15]
        assert list(lines[system].get_ydata()) == pytest.approx(expected.tolist())


def test_det_curves_are_on_normal_deviate_axes(saved):
    results = recognised(seeds=2).query("artists == 1000")
    figure = saved(plot_det_curves, results)
    assert readable(figure) and list(lines_of(figure)) == list(SYSTEMS)
    line = lines_of(figure)["GMM-UBM"]
    curve = results.iloc[0]["details"]["DET"]
    assert NormalDist().cdf(line.get_xdata()[1]) == pytest.approx(curve["false alarm"][1])
    assert NormalDist().cdf(line.get_ydata()[2]) == pytest.approx(curve["miss"][2])
    assert all(map(math.isfinite, [*line.get_xdata(), *line.get_ydata()]))


# ---------------------------------------------------------------- genres

HOSTILE = [
    "$x_$",
    "<b>&amp;",
    "_hidden",
    "$",
    "two\nlines",
    "LOUD NAMES " * 9,
    "a^{b",
    "\\frac",
    "R&B",
    "",
]


def by_models(counts, dataset="gtzan", models=("basic", "siamese")):
    """Linear accuracies of genres, two seeds of each model and number of artists."""
    rows = [
        ("linear", "accuracy", 0.5 + 0.02 * place + 0.01 * seed, 0.01, dataset, "genre", *who, seed)
        for place, who in enumerate(itertools.product(models, counts))
        for seed in (0, 1)
    ]
    columns = ["protocol", "metric", "value", "spread", "dataset", "label", "model", "artists"]
    return complete(pd.DataFrame(rows, columns=[*columns, "seed"]))


def test_models_against_the_number_of_artists_with_the_papers_numbers(saved):
    results = by_models([1000, 5000])
    figure = saved(plot_scores_by_artists, results, select_paper_numbers(results))
    assert readable(figure)
    lines = {name: handle.lines[0] for name, handle in lines_of(figure).items()}
    assert list(lines) == ["basic", "basic, the paper", "siamese", "siamese, the paper"]
    assert list(lines["siamese"].get_ydata()) == pytest.approx([0.545, 0.565])
    theirs = lines["siamese, the paper"]
    assert list(theirs.get_xdata()) == [5000, 10000]
    assert list(theirs.get_ydata()) == [0.6993, 0.7203]
    assert theirs.get_linestyle() == "--" and theirs.get_alpha() < 1
    assert theirs.get_color() == lines["siamese"].get_color() != lines["basic"].get_color()
    assert max(theirs.get_ydata()) < figure.axes[0].get_ylim()[1]
    alone = saved(plot_scores_by_artists, results.query("model == 'siamese'"), NO_PAPER)
    assert lines_of(alone)["siamese"].lines[0].get_color() == theirs.get_color()


def test_several_released_weights_are_a_point_each_and_what_has_no_number_a_line(saved):
    results = by_models([1000, 5000], models=("siamese",)).assign(seed=pd.NA)
    across = results.iloc[:1].assign(artists=pd.NA, model="mfcc", value=0.3)
    figure = saved(plot_scores_by_artists, pd.concat([results, across]), NO_PAPER)
    assert readable(figure)
    lines, (points,) = (
        lines_of(figure),
        [line for line in figure.axes[0].lines if line.get_markersize() == 2],
    )
    assert list(points.get_xdata()) == [1000, 1000, 5000, 5000]
    assert list(points.get_ydata()) == pytest.approx([0.5, 0.51, 0.52, 0.53])
    assert list(lines["siamese"].lines[0].get_ydata()) == pytest.approx([0.505, 0.525])
    assert not np.ptp(lines["siamese"].lines[2][0].get_segments(), axis=1).any()  # no whiskers
    assert list(lines["mfcc"].get_ydata()) == [0.3, 0.3]
    assert lines["mfcc"].get_linestyle() == ":"


@pytest.mark.parametrize("counts", [[7], [10, 20, 40, 60, 10000], [*range(900, 1010, 10), 5000]])
def test_numbers_of_artists_are_named_where_there_is_room(saved, counts):
    figure = saved(plot_scores_by_artists, by_models(counts, "mine"), NO_PAPER)
    assert readable(figure)
    axis = figure.axes[0].xaxis
    assert list(axis.get_ticklocs()) == counts
    assert axis.get_ticklabels()[-1].get_text() == f"{counts[-1]:,}"


def test_names_of_any_kind_are_written_as_they_are(saved):
    figure = saved(plot_scores_by_artists, by_models([9, 10], "$x_$" * 30, HOSTILE[:-1]), NO_PAPER)
    assert readable(figure)
    told = [text.get_text().strip() for text in figure.legends[0].texts]
    assert told[:5] == ["$x_$", "<b>&amp;", "_hidden", "$", "two lines"]
    assert all(len(text) <= 24 for text in told) and len(told) == len(HOSTILE) - 1


def accuracies(genres, seed=0):
    random = np.random.default_rng(seed)
    table = pd.DataFrame(random.random((len(genres), 2)), columns=["basic, 5 artists", "siamese"])
    table.insert(0, "genre", genres)
    return table


@pytest.mark.parametrize("genres", [["rock"], HOSTILE, [f"genre {n}" for n in range(MAX_BARS)]])
def test_the_accuracy_of_each_genre_is_a_bar_a_model(saved, genres):
    table = accuracies(genres)
    figure = saved(plot_accuracies_by_label, table, "linear accuracy on a dataset of a long name")
    assert readable(figure)
    axes = figure.axes[0]
    for bars, name in zip(axes.containers[::2], table.columns[1:], strict=True):
        assert [bar.get_width() for bar in bars] == pytest.approx(table[name].tolist())
    colours = {bars[0].get_facecolor() for bars in axes.containers[::2]}
    assert len(colours) == 2
    assert axes.get_yticklabels()[0].get_text() == genres[0]
    assert [text.get_text() for text in figure.legends[0].texts] == list(table.columns[1:])


def test_more_labels_than_bars_have_room_are_refused():
    table = accuracies([f"artist {n}" for n in range(MAX_BARS + 1)])
    with pytest.raises(InputError, match="41 labels are too many to draw, 40 can be; see the tab"):
        plot_accuracies_by_label(table, "k-NN", "never.png")


@pytest.mark.parametrize(("labels", "most"), [(22, 15), (10, 15), (60, 56), (1, 1)])
def test_songs_of_the_first_labels_have_colours_and_the_others_are_grey(saved, labels, most):
    random = np.random.default_rng(0)
    names = np.array([*HOSTILE[:-1], *(f"an artist {n}" for n in range(60))], object)[:labels]
    of_each = np.concatenate([names, random.choice(names, 200)])
    plane = random.normal(size=(len(of_each), 2))
    draw = functools.partial(plot_track_map, most=most)
    figure = saved(draw, plane, of_each, "siamese: songs by artist")
    assert readable(figure)
    clouds = figure.axes[0].collections
    told = [text.get_text().strip() for text in figure.legends[0].texts]
    assert len(told) == len(clouds) == min(labels, most) + (labels > most)
    for cloud, name in zip(clouds, names[:most], strict=False):
        np.testing.assert_array_equal(cloud.get_offsets(), plane[of_each == name])
    looks = [(tuple(c.get_facecolor()[0]), str(c.get_paths()[0].vertices)) for c in clouds]
    assert len(set(looks)) == len(clouds)
    if labels > most:
        assert told[-1] == f"{labels - most} others"
        others = np.isin(of_each, names[most:])
        np.testing.assert_array_equal(clouds[-1].get_offsets(), plane[others])
        assert clouds[-1].get_zorder() < clouds[0].get_zorder()


def run_of(name: str, *, validation: bool = True) -> TrainingLog:
    """A training of 30 epochs whose losses fall."""
    losses = 1 / np.arange(1, 31) + len(name) / 50
    curves = {"training": losses} | ({"validation": losses + 0.1} if validation else {})
    return TrainingLog(name, "basic", pd.DataFrame(curves, range(1, 31)), "loss", {})


@pytest.mark.parametrize("validation", [True, False])
def test_curves_of_few_trainings_have_names(saved, validation):
    runs = [run_of(f"basic_{n}_0", validation=validation) for n in (10, 20, 40, 60)]
    figure = saved(
        plot_training_curves, [*runs, run_of(HOSTILE[0], validation=validation)], "basic"
    )
    assert readable(figure)
    told = [text.get_text() for text in figure.legends[0].texts]
    assert told[:4] == [one.name for one in runs]
    assert told[5:] == ["on training songs"] * validation
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert len(drawn) == 5 * (1 + validation)
    np.testing.assert_array_equal(drawn[0].get_ydata(), runs[0].curves["training"])
    assert drawn[0].get_linestyle() == ("--" if validation else "-")


def test_curves_of_many_trainings_have_one_colour(saved):
    figure = saved(
        plot_training_curves, [run_of(f"mtn_{n}", validation=False) for n in range(26)], "mtn"
    )
    assert readable(figure)
    assert [text.get_text() for text in figure.legends[0].texts] == ["26 trainings"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 1


def test_an_svg_is_whole_and_the_same_each_time(tmp_path):
    for folder in ("one", "two"):
        plot_accuracies_by_label(accuracies(HOSTILE), "$linear_", tmp_path / folder / "genres.png")
    one, two = (tmp_path / folder / "genres.svg" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert xml.etree.ElementTree.parse(one).getroot().tag.endswith("svg")
    assert one.with_suffix(".png").read_bytes() == two.with_suffix(".png").read_bytes()
    assert {path.name for path in one.parent.iterdir()} == {"genres.png", "genres.svg"}


# ---------------------------------------------------------------- combinations of tasks


def test_both_measures_against_the_number_of_tasks(saved):
    table = task_scores.average_by_number(task_scores.select_paper_scores(read_paper_tables()))
    figure = saved(plot_scores_by_tasks, table, "genre on fma_medium")
    assert readable(figure)
    names = ["STN with g", "STN without g", "MTN with g", "MTN without g", "wSTN"]
    assert [text.get_text() for text in figure.legends[0].texts] == names
    for axes, metric in zip(figure.axes, ("log_loss", "macro_f1"), strict=True):
        for container, name in zip(axes.containers, names, strict=True):
            kind, _, genre = name.lower().partition(" ")
            of_one = table[
                table["kind"].eq(kind)
                & table["metric"].eq(metric)
                & table["genre"].eq(genre or "with g")
            ]
            line = container.lines[0]
            assert line.get_ydata() == pytest.approx(of_one["value"].to_numpy())
            assert line.get_xdata() == pytest.approx(of_one["number"].to_numpy(), abs=0.2)
    looks = [c.lines[0] for c in figure.axes[0].containers]
    assert len({(each.get_color(), each.get_linestyle()) for each in looks}) == len(names)


def test_one_number_of_tasks_is_drawn_too(saved):
    table = task_scores.average_by_number(task_scores.select_paper_scores(read_paper_tables()))
    figure = saved(plot_scores_by_tasks, table[table["number"].eq(5)], "genre on demo")
    assert readable(figure)
    names = [text.get_text() for text in figure.legends[0].texts]
    assert names == ["STN with g", "MTN with g", "wSTN"]


# ---------------------------------------------------------------- artist groups


@pytest.mark.parametrize(("groups", "genres"), [(40, 16), (1, 1), (8, 30)])
def test_groups_stand_by_their_main_genre(saved, groups, genres):
    names = [f"a genre of a long name, $_{n}$" for n in range(genres)]
    shares = np.random.default_rng(0).dirichlet(np.full(genres, 0.2), groups)
    table = pd.DataFrame(shares, columns=names).rename_axis("group")
    figure = saved(plot_group_genres, table, "genres of artist groups by the word s")
    assert readable(figure)
    axes = figure.axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    order = [int(label.get_text()) for label in axes.get_yticklabels()]
    assert sorted(order) == list(range(groups))
    np.testing.assert_array_equal(drawn, shares[order])
    main = drawn.argmax(axis=1)
    assert (np.diff(main) >= 0).all()
    of_one = [drawn[main == genre].max(axis=1) for genre in set(main)]
    assert all((np.diff(purity) <= 0).all() for purity in of_one)
    told = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(told)) == genres and max(map(len, told)) <= 24
    assert told[0].startswith("a genre of ") and told[0].endswith("$_0$")
