"""Step 2b: learn groups of a split's training artists from the content of their tracks (agf2018).

Each track is described in up to four vocabularies (--words): clusters of MFCC frames (m), clusters
of delta MFCC frames (d), clusters of Essentia's track descriptors (e), and sub-genre labels (s).
For each vocabulary, latent Dirichlet allocation assigns every artist a distribution over groups,
which train_agf.py uses as training targets.
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

# The scripts in this folder run from the repository root: `python data_prep/2b_artist_groups.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

# This checks that the dependencies are installed, before any is imported.
from common import cli, provenance

# isort: split
import numpy as np
import pandas as pd

from artist_groups import decibels, descriptors, topics, vocabulary
from artist_groups.topics import GroupsFile, learn_groups
from artist_groups.vocabulary import CLUSTERS, WORDS, learn_codebook, quantise_frames
from common.errors import InputError
from common.files import make_folder
from common.parallel import available_cores
from data_prep import split_csv
from data_prep.mel import FrontEnd
from data_prep.mel_cache import MelCache
from data_prep.mfcc import TrackFrames

EXAMPLE = (
    "python data_prep/2b_artist_groups.py splits/demo_genres.csv cache/demo_genres.h5 "
    "--out groups/demo.h5 --words m d s --subgenres subgenres --clusters 64 --groups 8"
)
MIN_DIVERSITY = 0.05  # below this, all artists have nearly the same group distribution
# {word: (symbols of a track, remedy for groups that are too similar)}
SYMBOLS = {
    "m": ("frames", "try other --clusters"),
    "d": ("tracks of 9 frames", "try other --clusters"),
    "e": ("descriptors", "try fewer --track-clusters"),
    "s": ("sub-genres", "choose a column with more labels for --subgenres"),
}


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.make_parser(__doc__, EXAMPLE)
    cli.add_split_and_cache(
        parser, out="artist group file to write, groups/NAME.h5", kind=cli.output_file(".h5")
    )
    text = "one-letter codes of the vocabularies to use (default: all that are available)"
    parser.add_argument("--words", nargs="+", choices=WORDS, help=text)
    text = "name of the sub-genre column, used by the sub-genre vocabulary (s)"
    parser.add_argument("--subgenres", metavar="COLUMN", default="genres", help=text)
    text = "audio folder to which the split's paths are relative; needed by vocabulary e"
    parser.add_argument("--audio", type=Path, help=text)
    text = "number of clusters in the MFCC and delta MFCC vocabularies (m, d)"
    cli.add_count(parser, "--clusters", CLUSTERS, text)
    text = "number of clusters in the descriptor vocabulary (e), at most the number of tracks"
    cli.add_count(parser, "--track-clusters", CLUSTERS, text)
    text = "number of processes that compute descriptors (e)"
    cli.add_count(parser, "--workers", available_cores(), text)
    cli.add_count(parser, "--groups", topics.GROUPS, "number of groups per vocabulary")
    cli.add_seed(parser)
    return parser.parse_args()


def main() -> None:
    """Learn the artist groups for a split, unless they are already complete."""
    args = parse_arguments()

    # Load the data
    cache = MelCache(args.cache)
    cache.require_front_end(FrontEnd())
    split = split_csv.read_usable_tracks(args.split, cache.failed, args.cache)
    train = select_training_tracks(split, args.split)
    cache.rows(train["track_id"])  # raises if a track is missing
    words = choose_words(args, train)

    # Learn or load the groups
    names = ("clusters", "track_clusters", "groups", "subgenres", "seed")
    inputs = {
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
        "settings": {"words": " ".join(words), **{name: getattr(args, name) for name in names}},
    }
    unfinished, state = args.out.with_name(args.out.name + ".making"), "already complete"
    if args.out.exists():
        content = topics.load_groups(args.out)
        provenance.require_same(args.out, content.inputs, inputs)
    else:
        make_folder(args.out.parent)
        content, state = make_groups(args, words, cache, train, unfinished, inputs), "complete"
        topics.save_groups(args.out, content)
    shutil.rmtree(unfinished, ignore_errors=True)
    artists = set().union(*(groups.artists for groups in content.groups.values()))
    summary = f"words {' '.join(words)} of {len(artists)} artists in {args.groups} groups"
    print(f"{args.out}: {state}, {summary}")


def select_training_tracks(split: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Return the training tracks whose artist is known."""
    train = split[split_csv.subset_mask(split, "train", source)]
    has_artist = train["artist"].ne("")
    if not has_artist.all():
        print(f"{source}: {(~has_artist).sum()} training tracks without an artist are left out")
    train = train[has_artist].reset_index(drop=True)
    if (artists := train["artist"].nunique()) < 2:
        raise InputError(
            f"{source}: its training tracks have {artists} artists; use a split with two or more"
        )
    return train


def choose_words(args: argparse.Namespace, train: pd.DataFrame) -> list[str]:
    """Return the vocabularies to use: the requested ones, or by default all that are available."""
    words = [word for word in WORDS if word in (args.words or WORDS)]
    if "s" in words:
        try:
            split_csv.tag_matrix(train, args.subgenres, args.split)
        except InputError as error:
            if args.words:
                raise
            words.remove("s")
            remedy = "name a column with --subgenres"
            print(f"the sub-genre vocabulary (s) is left out: {error}; {remedy}")
    if "e" in words and not args.words and importlib.util.find_spec("essentia") is None:
        words.remove("e")
        remedy = "pip install -r requirements-essentia.txt"
        print(f"the descriptor vocabulary (e) is left out: it needs Essentia; {remedy}")
    if "e" in words:
        if args.audio is None:
            others = " ".join(word for word in words if word != "e")
            raise InputError(
                f"--audio: vocabulary e needs it; give the folder, or --words {others}"
            )
        if not args.audio.is_dir():
            raise InputError(f"{args.audio}: no such folder of audio; check the path")
        if len(train) < args.track_clusters:
            raise InputError(
                f"--track-clusters {args.track_clusters}: more than the {len(train)} training "
                "tracks, each of which is one symbol of vocabulary e; use fewer"
            )
    return words


def make_groups(
    args: argparse.Namespace,
    words: list[str],
    cache: MelCache,
    train: pd.DataFrame,
    unfinished: Path,
    inputs: dict,
) -> GroupsFile:
    """Learn groups from each vocabulary; print which tracks and artists have none."""
    tracks, artists = (train[name].to_numpy(object) for name in ("track_id", "artist"))
    sizes = {"groups": args.groups, "seed": args.seed}
    groups, codebooks, subgenres = {}, {}, []
    if "s" in words:
        subgenres, hot = split_csv.tag_matrix(train, args.subgenres, args.split)
        groups["s"] = learn_groups("s", map(np.flatnonzero, hot), artists, len(subgenres), **sizes)
    if "e" in words:
        paths = [args.audio / path for path in train["path"]]
        table, failed = descriptors.describe_tracks(tracks, paths, unfinished, workers=args.workers)
        if failed:
            track, reason = next(iter(failed.items()))
            message = f"{args.audio}: {len(failed)} of {len(train)} tracks could not be described"
            if table.empty:
                raise InputError(f"{message}; the first, {track}: {reason}")
            print(f"{message} for vocabulary e, the first, {track}: {reason}")
        vectors = descriptors.normalise_descriptors(table, args.seed)
        codebooks["e"] = learn_codebook([vectors], args.track_clusters, seed=args.seed)
        symbols = codebooks["e"].assign(vectors)[:, None]
        described = artists[train["track_id"].isin(table.index)]
        groups["e"] = learn_groups("e", symbols, described, args.track_clusters, **sizes)
    mean, std = decibels.band_statistics(cache, tracks)
    if frame_words := [word for word in words if word in ("m", "d")]:
        frames = TrackFrames.from_cache(cache, tracks, vocabulary.MFCC, args.out.parent)
        frame_artists = pd.Series(artists, tracks)[frames.track_id].to_numpy(object)
        for word in frame_words:
            symbols, codebooks[word] = quantise_frames(word, frames, args.clusters, seed=args.seed)
            groups[word] = learn_groups(word, symbols, frame_artists, args.clusters, **sizes)
    for word in words:
        symbols, remedy = SYMBOLS[word]
        missing = pd.unique(artists)[groups[word].rows_of(pd.unique(artists)) < 0]
        if len(missing):
            problem = f"{len(missing)} artists without {symbols} get no groups by vocabulary {word}"
            print(f"{args.split}: {problem}; the first is {missing[0]!r}")
        if groups[word].diversity < MIN_DIVERSITY:
            problem = f"by vocabulary {word}, all artists have nearly the same groups, from which"
            print(f"{args.out}: {problem} nothing can be learned; {remedy}")
    return GroupsFile(mean, std, groups, subgenres, inputs, codebooks)


if __name__ == "__main__":
    cli.run_script(main)
