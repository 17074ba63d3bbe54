"""Commands that present results and features as tables, figures, reports and HTML pages."""

import argparse
from functools import partial
from pathlib import Path

from common import cli
from common.errors import InputError
from papers import PAPERS
from protocols import FEATURES, Command, add_files


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Command:
    """Add the arguments of the command `name` to its parser."""
    if name == "explore":
        return _add_explorer_arguments(parser)
    if name == "similar":
        add_files(parser, features=FEATURES)
        text = "track id, or a part of it that no other id contains"
        parser.add_argument("track", metavar="TRACK", help=text)
        cli.add_count(parser, "-k", 10, "number of tracks to print")
        text = "root folder of the audio files, to print artists and titles"
        parser.add_argument("--audio", type=Path, help=text)
        return print_similar, "features/my_music.h5 'yesterday' --audio my_music"
    if name == "groups":
        split = ("SPLIT.csv", "split that the groups were computed from")
        add_files(parser, groups=("GROUPS.h5", "artist group file"), split=split)
        text = "folder to write the tables and figures to"
        parser.add_argument("--out", type=Path, required=True, help=text)
        return describe_groups, "groups/demo_genres.h5 splits/demo_genres.csv --out results/groups"
    text = "folder with result files from evaluate.py --json; output is written there too"
    parser.add_argument("--results", type=Path, default=Path("results"), help=text)
    if name == "tables":
        text = "paper whose tables to print (default: all)"
        parser.add_argument("--paper", choices=PAPERS, help=text)
    return partial(present_results, name), "--results results/demo"


def _add_explorer_arguments(parser: argparse.ArgumentParser) -> Command:
    add_files(parser, features=FEATURES)
    text = "split of the tracks (default: all tracks, labelled from the tags of their audio files)"
    parser.add_argument("split", metavar="SPLIT.csv", type=Path, nargs="?", help=text)
    text = "second feature file of the same tracks, shown as a second map"
    options = {"type": Path, "metavar": "FEATURES.h5", "help": text}
    cli.add_renamed(parser, "--compare-with", "--beside", **options)
    text = "root folder of the audio files, which are played and, without a split, give the labels"
    parser.add_argument("--audio", type=Path, help=text)
    text = "label columns of the split, or tags, by which to colour and filter tracks"
    parser.add_argument("--label", dest="labels", nargs="+", default=["genre"], help=text)
    text, html = "HTML page to write", cli.output_file(".html")
    parser.add_argument("--out", type=html, required=True, metavar="PAGE.html", help=text)
    cli.add_count(parser, "--neighbours", 10, "number of nearest tracks to list for each track")
    text = (
        "t-SNE perplexity, roughly the number of neighbours considered per track (default: 30, or "
        "a third of the tracks if that is less)"
    )
    parser.add_argument("--perplexity", type=cli.positive_float, help=text)
    cli.add_seed(parser)
    example = "features/my_music.h5 --audio my_music --label artist genre --out songs.html"
    return write_explorer_page, example


def present_results(name: str, results: Path, *, paper: str | None = None) -> None:
    """Write the tables, the figures or the report of the results in a folder."""
    if name == "tables":
        from report import result_tables

        result_tables.write_tables(results, paper)
    elif name == "figures":
        from report import figures

        figures.write_figures(results)
    else:
        from report import html_report

        print(html_report.write_report(results))


def describe_groups(groups: Path, split: Path, *, out: Path) -> None:
    """Write the top genres and artists of each artist group, and draw a genre heat map."""
    from report import group_tables

    group_tables.write_groups(groups, split, out)


def print_similar(features: Path, track: str, *, k: int, audio: Path | None) -> None:
    """Print the tracks most similar to one track, nearest first."""
    from common import feature_file
    from evaluation.labelled_tracks import read_track_tags
    from evaluation.neighbours import find_track, similar

    contents = feature_file.read_features(features)
    if not len(contents.track_id):
        raise InputError(f"{features}: contains no track; extract more")
    track = contents.track_id[find_track(contents.track_id, track)]
    table = similar(contents, track, k)
    if not len(table):
        raise InputError(f"{features}: contains one track only; extract more")
    table.insert(0, "rank", [str(rank) for rank in range(1, len(table) + 1)])
    table["cosine"] = table["cosine"].map("{:.3f}".format)
    table = table[["rank", "cosine", "track_id"]]
    if audio:
        labels = read_track_tags(table["track_id"], audio, features).table
        labels = labels.set_index("track_id")[["artist", "title"]]
        labels = labels.map(lambda text: text if len(text) <= 40 else text[:39] + "…")
        table = table.join(labels, on="track_id").fillna("")
    print(f"most similar to {_printable(track)}:")
    rows = [table.columns.str.replace("track_id", "track"), *table.itertuples(index=False)]
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def _printable(text: str) -> str:
    """Replace characters, such as escape sequences, that a terminal would not print."""
    return "".join(character if character.isprintable() else "?" for character in text)


def write_explorer_page(
    features: Path,
    split: Path | None,
    *,
    compare_with: Path | None,
    audio: Path | None,
    out: Path,
    perplexity: float | None,
    seed: int,
    **layout,
) -> None:
    """Write a page of tracks with one t-SNE map, or with a second one to compare two models.

    `layout` are the options `labels` and `neighbours` of `report.explorer.write_explorer`.
    """
    from evaluation.labelled_tracks import read_labelled_tracks, read_tagged_tracks
    from evaluation.projection import fit_map
    from report import explorer

    paths = [path for path in (features, compare_with) if path]
    if split:
        files = [read_labelled_tracks(path, split) for path in paths]
    elif audio:
        files = read_tagged_tracks(paths, audio)
    else:
        raise argparse.ArgumentError(None, "without SPLIT.csv, --audio is required, for the labels")
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
        maps[name] = (tracks.features, fit_map(tracks.features, perplexity, seed))
    source = split or features
    title = f"{source.stem}: {' and '.join(maps)}"
    explorer.write_explorer(out, table, maps, audio, title, source=source, **layout)
    print(f"{out}: {len(table)} tracks, {len(maps)} map{'s' * (len(maps) > 1)}")
