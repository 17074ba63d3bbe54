"""Commands that present results and features: tables, figures, reports and pages.

The modules of `report` are imported inside the functions, so that --help does not wait for
Matplotlib.
"""

import argparse
from pathlib import Path

from common import cli
from common.errors import InputError
from papers.paper_tables import PAPERS
from protocols.shared import add_command, add_features_and_split, add_perplexity_option


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands of this module to `evaluate.py`."""
    _add_explore(commands)
    example = "groups/demo_genres.h5 splits/demo_genres.csv --out results/groups"
    parser = add_command(commands, "groups", describe_groups, example)
    parser.add_argument("groups", metavar="GROUPS.h5", type=Path, help="file of artist groups")
    parser.add_argument(
        "split", metavar="SPLIT.csv", type=Path, help="split that the groups were made from"
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
            help="folder of the files that evaluate.py --json wrote; output is written there too",
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
        help="feature file of the same tracks for a second map",
    )
    parser.add_argument(
        "--audio", type=Path, help="folder of the split's paths, to play the tracks"
    )
    parser.add_argument(
        "--label",
        dest="labels",
        nargs="+",
        default=["genre"],
        help="label columns of the split to colour and filter by",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PAGE.html", help="page to write"
    )
    cli.add_count(parser, "--neighbours", 10, "number of nearest tracks to list with a track")
    add_perplexity_option(parser)
    cli.add_seed(parser)


def write_tables(results: Path, *, paper: str | None) -> None:
    """Write the tables of the papers as CSV, Markdown and LaTeX, with these results beside them."""
    from report import result_tables

    result_tables.write_tables(results, paper)


def write_figures(results: Path) -> None:
    """Draw the figures of the papers as PNG and SVG, and print what the missing ones need."""
    from report import figures

    figures.write_figures(results)


def write_report(results: Path) -> None:
    """Write one HTML page of all results."""
    from report import html_report

    print(html_report.write_report(results))


def describe_groups(groups: Path, split: Path, *, out: Path) -> None:
    """Write the top genres and artists of each artist group, and a map of groups and genres."""
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
    """Write a page to see, search and hear tracks: t-SNE maps and nearest neighbours.

    The page is one file that a browser opens without a server or network. With two
    feature files, there are two maps of the same tracks, for example by the basic and the siamese
    model.
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
        labels=labels,
        neighbours=neighbours,
    )
    print(f"{out}: {len(table)} tracks, {len(maps)} map{'s' * (len(maps) > 1)}")
