"""Step 2b: group the training artists of a split by what their tracks are made of (agf2018).

The tracks are described by words: m, clusters of MFCC frames; d, clusters of their
differences over time; e, clusters of Essentia's song descriptors; s, sub-genre labels. Each
word makes a distribution over groups of each artist, which networks are trained to tell.
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

# The scripts of this room run from the root: `python data_prep/2b_artist_groups.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import pandas as pd

from artist_groups import descriptors, groups_file, topics, vocabulary
from artist_groups.groups_file import GroupsFile
from common import cli, provenance
from common.errors import InputError
from common.files import make_folder
from common.parallel import available_cores
from data_prep import failures, split_csv, targets
from data_prep.mel import FrontEnd
from data_prep.mel_cache import MelCache
from data_prep.mfcc import DELTA_WIDTH, TrackFrames

ALIKE = 0.05  # variety of groups that are no more than one
REMEDIES = {word: "try other --clusters" for word in "md"} | {
    "e": "try fewer --track-clusters",
    "s": "take a column with more labels for --subgenres",
}
SYMBOLS = {"m": "a frame", "d": f"{DELTA_WIDTH} frames", "e": "descriptors", "s": "a sub-genre"}


def main() -> None:
    parser = cli.make_parser(
        __doc__,
        "python data_prep/2b_artist_groups.py splits/demo_genres.csv cache/demo_genres.h5 "
        "--out groups/demo.h5 --words m d s --subgenres subgenres --clusters 64 --groups 8",
    )
    cli.add_split_and_cache(parser, out="the groups, groups/NAME.h5")
    parser.add_argument(
        "--words",
        nargs="+",
        choices=vocabulary.WORDS,
        help="which; by default all that can be made",
    )
    parser.add_argument("--audio", type=Path, help="folder of the split's paths, for the word e")
    parser.add_argument("--clusters", type=cli.positive, default=topics.CLUSTERS, help="of m and d")
    parser.add_argument(
        "--track-clusters",
        type=cli.positive,
        default=topics.CLUSTERS,
        help="of e, of which a track has one; so many that they have ten tracks each, or more",
    )
    parser.add_argument("--groups", type=cli.positive, default=topics.GROUPS, help="of each word")
    parser.add_argument("--subgenres", metavar="COLUMN", default="genres", help="for the word s")
    parser.add_argument(
        "--workers", type=cli.positive, default=available_cores(), help="processes, for the word e"
    )
    cli.add_seed(parser)
    args = parser.parse_args()

    cache = MelCache(args.cache)
    cache.require_front_end(FrontEnd())
    split = failures.drop_failed(split_csv.read_split(args.split), cache.failed, args.cache)
    train = training(split, args.split)
    cache.rows(train["track_id"])  # all are there
    made_of, labelled = possible(args, train)
    inputs = {
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
        "settings": {**cli.settings(args), "words": " ".join(made_of)},
    }
    making, verb = args.out.with_name(args.out.name + ".making"), "complete already"
    if args.out.exists():
        prepared = groups_file.load_groups(args.out)
        provenance.require_same(args.out, prepared.inputs, inputs)
    else:
        prepared, verb = made(args, made_of, cache, train, labelled, making, inputs), "complete"
        groups_file.save_groups(args.out, prepared)
    shutil.rmtree(making, ignore_errors=True)  # a kill after the file was whole has left it
    artists = set().union(*(groups.artists for groups in prepared.groups.values()))
    print(
        f"{args.out}: {verb}, words {' '.join(made_of)} of {len(artists)} artists "
        f"in {args.groups} groups"
    )


def training(split: pd.DataFrame, source: Path) -> pd.DataFrame:
    """The training tracks that have an artist; says how many have none."""
    train = split[split_csv.subset_mask(split, "train", source)]
    named = train["artist"].ne("")
    if not named.all():
        print(f"{source}: {(~named).sum()} training tracks without artist left out")
    artists = train.loc[named, "artist"].nunique()
    if artists < 2:
        raise InputError(f"{source}: training tracks of {artists} artists; add others'")
    return train[named].reset_index(drop=True)


def possible(args: argparse.Namespace, train: pd.DataFrame) -> tuple[list[str], tuple]:
    """The words to make, and the sub-genres as `labels.tag_matrix` has them.

    What cannot be made is an error where it was asked for, and else a line.
    """
    wanted, labelled = (
        [word for word in vocabulary.WORDS if word in (args.words or vocabulary.WORDS)],
        (),
    )
    if "s" in wanted:
        try:
            labelled = targets.tag_matrix(train, args.subgenres, args.split)
        except InputError as error:
            if args.words:
                raise
            wanted.remove("s")
            print(f"no word s: {error}; name one with --subgenres")
    if "e" in wanted and not args.words and importlib.util.find_spec("essentia") is None:
        wanted.remove("e")
        print("no word e without Essentia: pip install -r requirements-essentia.txt")
    if "e" in wanted:
        require_audio(args, len(train))
    return wanted, labelled


def require_audio(args: argparse.Namespace, tracks: int) -> None:
    """Find what the word e lacks now, and not after the hours that it takes."""
    if args.audio is None:
        raise InputError("--audio: the word e needs it; give its folder, or --words m d s")
    if not args.audio.is_dir():
        raise InputError(f"{args.audio}: no such folder of audio; check the path")
    if tracks < args.track_clusters:
        raise InputError(
            f"--track-clusters {args.track_clusters}: more than the {tracks} training tracks, of "
            "which each makes one symbol of the word e; take fewer"
        )


def made(
    args: argparse.Namespace,
    made_of: list[str],
    cache: MelCache,
    train: pd.DataFrame,
    labelled: tuple,
    making: Path,
    inputs: dict,
) -> GroupsFile:
    """The groups by each word; says which artists have none."""
    settings = vocabulary.VocabularySettings(
        args.clusters, args.track_clusters, args.groups, args.seed
    )
    tracks, artists = (train[name].to_numpy(object) for name in ("track_id", "artist"))
    make_folder(args.out.parent)
    groups, codebooks, names = {}, {}, []
    if "s" in made_of:
        names, hot = labelled
        groups["s"] = vocabulary.group_by_labels(hot, artists, settings)
    if "e" in made_of:
        values, described = normalised_descriptors(args, train, making)
        groups["e"], codebooks["e"] = vocabulary.group_by_descriptors(
            values, artists[described], settings
        )
    mean, std = vocabulary.band_statistics(cache, tracks)
    if frame_words := [word for word in made_of if word in ("m", "d")]:
        frames = TrackFrames.from_cache(cache, tracks, vocabulary.MFCC, args.out.parent)
        of_frames = pd.Series(artists, tracks)[frames.track_id].to_numpy(object)
        short = int((np.diff(frames.start) < DELTA_WIDTH).sum())
        if short and "d" in made_of:
            print(f"{args.cache}: {short} tracks of fewer than {SYMBOLS['d']}: not in the word d")
        for word in frame_words:
            groups[word], codebooks[word] = vocabulary.group_by_frames(word, frames, of_frames, settings)
    for word in made_of:
        without = pd.unique(artists)[~groups[word].contains(pd.unique(artists))]
        if len(without):
            print(
                f"{args.split}: {len(without)} artists without {SYMBOLS[word]}: no groups of the "
                f"word {word} for them, the first is {without[0]!r}"
            )
        if groups[word].diversity < ALIKE:
            print(
                f"{args.out}: by the word {word} all artists have nearly the same groups, of which "
                f"nothing can be learnt; {REMEDIES[word]}"
            )
    return GroupsFile(mean, std, groups, names, inputs, codebooks)


def normalised_descriptors(
    args: argparse.Namespace, train: pd.DataFrame, making: Path
) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) float32, and which of the training tracks these are; says how many failed."""
    paths = [args.audio / path for path in train["path"]]
    found = descriptors.describe_tracks(train["track_id"], paths, making, workers=args.workers)
    if found.failed:
        track, reason = next(iter(found.failed.items()))
        said = f"{args.audio}: {len(found.failed)} of {len(train)} tracks could not be described"
        if not len(found.track_id):
            raise InputError(f"{said}; the first, {track}: {reason}")
        print(f"{said} for the word e, the first, {track}: {reason}")
    kept = descriptors.normalise_descriptors(found.values, args.seed)
    return kept.values, train["track_id"].isin(found.track_id).to_numpy()


if __name__ == "__main__":
    cli.run_script(main)
