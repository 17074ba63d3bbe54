"""Commands that present results and features as tables, figures, reports and HTML pages.

The modules of `report` are imported inside the functions, so that --help does not wait for
Matplotlib.
"""

import argparse
from pathlib import Path

from common import cli
from common.errors import InputError
from papers import PAPERS
from protocols.shared import add_command, add_features_and_split, add_perplexity_option


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands of this module to `evaluate.py`."""
    _add_explore(commands)
    example = "groups/demo_genres.h5 splits/demo_genres.csv --out results/groups"
    parser = add_command(commands, "groups", describe_groups, example)
    parser.add_argument("groups", metavar="GROUPS.h5", type=Path, help="artist group file")
    parser.add_argument(
        "split", metavar="SPLIT.csv", type=Path, help="split that the groups were computed from"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write the tables and figures to"
    )
    for name, run in (
        ("tables", write_tables),
        ("figures", write_figures),
        ("report", write_report),
    ):
        parser = add_command(commands, name, run, "--results results/demo")
        parser.add_argument(
            "--results",
            type=Path,
            default=Path("results"),
            help="folder with result files from evaluate.py --json; output is written there too",
        )
        if name == "tables":
            parser.add_argument(
                "--paper", choices=PAPERS, help="paper whose tables to print (default: all)"
            )


def _add_explore(commands: argparse._SubParsersAction) -> None:
    example = (
        "features/siamese.h5 splits/demo_target.csv --compare-with features/mfcc.h5 "
        "--audio corpus --label genre tags --out results/tracks.html"
    )
    parser = add_command(commands, "explore", write_explorer_page, example)
    add_features_and_split(parser, label=None)
    cli.add_renamed(
        parser,
        "--compare-with",
        "--beside",
        type=Path,
        metavar="FEATURES.h5",
        help="second feature file of the same tracks, shown as a second map",
    )
    parser.add_argument(
        "--audio",
        type=Path,
        help="root folder of the audio paths in the split, to make tracks playable",
    )
    parser.add_argument(
        "--label",
        dest="labels",
        nargs="+",
        default=["genre"],
        help="label columns of the split by which to colour and filter tracks",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PAGE.html", help="HTML page to write"
    )
    cli.add_count(parser, "--neighbours", 10, "number of nearest tracks to list for each track")
    add_perplexity_option(parser)
    cli.add_seed(parser)


def write_tables(results: Path, *, paper: str | None) -> None:
    """Write the papers' tables with our numbers next to theirs, as CSV, Markdown and LaTeX."""
    from report import result_tables

    result_tables.write_tables(results, paper)


def write_figures(results: Path) -> None:
    """Draw the papers' figures as PNG and SVG, and print what any missing figures need."""
    from report import figures

    figures.write_figures(results)


def write_report(results: Path) -> None:
    """Write a single HTML page that shows all results."""
    from report import html_report

    print(html_report.write_report(results))


def describe_groups(groups: Path, split: Path, *, out: Path) -> None:
    """Write the top genres and artists of each artist group, and draw a genre heat map."""
    from report import group_tables

    group_tables.write_groups(groups, split, out)


def write_explorer_page(
    features: Path,
    split: Path,
    *,
    compare_with: Path | None,
    audio: Path | None,
    labels: list[str],
    out: Path,
    neighbours: int,
    perplexity: float,
    seed: int,
) -> None:
    """Write an HTML page for browsing tracks: t-SNE maps, nearest neighbours, search and playback.

    The page is a single file that a browser opens without a server or network connection. With two
    feature files, it shows two maps of the same tracks, for example one for the basic and one for
    the siamese model.
    """
    from evaluation.labelled_tracks import read_labelled_tracks
    from evaluation.projection import fit_tsne
    from report import explorer

    paths = [path for path in (features, compare_with) if path]
    files = [read_labelled_tracks(path, split) for path in paths]
    table = files[0].split
    if any(not tracks.split["track_id"].equals(table["track_id"]) for tracks in files):
        raise InputError(
            f"{features} and {compare_with} contain different tracks; extract both from the same "
            "cache"
        )
    maps = {}
    for tracks, path in zip(files, paths, strict=True):
        name = tracks.weights.get("name") or path.stem
        name = f"{name} ({path.stem})" if name in maps else name
        plane, _ = fit_tsne(tracks.features, perplexity, seed)
        maps[name] = (tracks.features, plane)
    explorer.write_explorer(
        out,
        table,
        maps,
        audio,
        f"{split.stem}: {' and '.join(maps)}",
        source=split,
        labels=labels,
        neighbours=neighbours,
    )
    print(f"{out}: {len(table)} tracks, {len(maps)} map{'s' * (len(maps) > 1)}")
