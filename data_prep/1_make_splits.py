"""Step 1: one list of tracks, each with its artist, its labels and its subset.

A dataset's own split is kept where it has one (--split official); else, or with
--split artists, songs are dealt by the rule of the paper: artists with at least
--songs tracks, that many of each, over as many albums as possible. With --split
stratified, songs of each genre are dealt to training and test. SOURCE is
"""

import sys
from pathlib import Path

# The scripts of this room run from the root: `python data_prep/1_make_splits.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli, provenance
from common.errors import InputError
from common.parallel import available_cores
from data_prep import artist_split, audio_archives, split_csv, stratified_split
from data_prep.datasets import DATASETS, Request

ABOUT = "\n".join(f"  {name:12}{source.about}" for name, source in DATASETS.items())
EXAMPLE = "python data_prep/1_make_splits.py demo --root corpus --out splits/demo.csv"


def main() -> None:
    parser = cli.make_parser(__doc__ + ABOUT, EXAMPLE)
    parser.add_argument("source", metavar="SOURCE", choices=DATASETS)
    parser.add_argument("--root", type=Path, help="folder of the audio")
    parser.add_argument("--out", type=Path, help="the split, splits/NAME.csv")
    parser.add_argument("--metadata", type=Path, help="the dataset's own lists; see --where")
    parser.add_argument(
        "--where", action="store_true", help="say where the dataset's files are had, and stop"
    )
    parser.add_argument(
        "--unpack",
        type=Path,
        nargs="+",
        default=[],
        metavar="ARCHIVE",
        help="first verify these downloaded archives and unpack them below --root",
    )
    parser.add_argument(
        "--pattern", help="read a folder's labels off its paths, such as {artist}/{album}/{}"
    )
    parser.add_argument(
        "--split", choices=("official", "artists", "stratified"), default="official"
    )
    parser.add_argument(
        "--by",
        help="label whose values share out their songs; artist, or genre of --split stratified",
    )
    parser.add_argument("--artists", type=cli.positive, help="how many (of --by); all by default")
    parser.add_argument("--songs", type=cli.positive, default=20, help="of each artist")
    parser.add_argument("--train", type=cli.non_negative, default=15, help="of these")
    parser.add_argument("--valid", type=cli.non_negative, default=3, help="of these")
    parser.add_argument("--test", type=cli.non_negative, default=2, help="of these")
    parser.add_argument(
        "--test-share",
        type=cli.fraction,
        help=f"of each genre's songs, with --split stratified; {stratified_split.TEST_FRACTION}",
    )
    parser.add_argument(
        "--exclude-artists-of",
        type=Path,
        nargs="+",
        default=[],
        metavar="SPLIT.csv",
        help="leave out the artists of splits to be judged on",
    )
    parser.add_argument("--workers", type=cli.positive, default=available_cores(), help="processes")
    cli.add_seed(parser)
    args = parser.parse_args()
    if args.where:
        where(args.source)
        return
    if args.root is None or args.out is None:
        parser.error("the following arguments are required: --root, --out")
    dealt_by_genre = args.split == "stratified"
    # Not the parser's defaults, since what a split says of itself names those that made it.
    args.by = args.by or ("genre" if dealt_by_genre else "artist")
    if dealt_by_genre and args.artists:
        raise InputError("--artists: all are taken with --split stratified; leave it out")
    if dealt_by_genre:
        args.test_share = (
            stratified_split.TEST_FRACTION if args.test_share is None else args.test_share
        )
    elif args.test_share is not None:
        raise InputError("--test-share: only genres are dealt so; add --split stratified")

    for archive in args.unpack:
        files = audio_archives.extract_dataset_archive(
            args.source, archive, args.root, args.metadata
        )
        print(f"{archive}: verified, {files} files below {args.root}")
    request = Request(
        root=args.root,
        metadata=args.metadata,
        seed=args.seed,
        pattern=args.pattern,
        workers=args.workers,
        artists=args.artists if args.split == "official" else None,  # else the rule's
    )
    catalog = DATASETS[args.source].read(request)
    notes = [*catalog.notes, *artist_split.check_artists(catalog.table, args.source)]
    excluded = frozenset().union(*map(artist_split.read_artists, args.exclude_artists_of))
    if args.split == "official" and "subset" in catalog.table.columns:
        if args.artists and args.source != "msd":
            raise InputError("--artists: the dataset has its own split; add --split artists")
        table, left_out = artist_split.drop_artists(catalog.table, excluded)
        notes += left_out
    elif dealt_by_genre:
        table, left_out = stratified_split.split_by_genre(
            catalog.table,
            by=args.by,
            test_share=args.test_share,
            seed=args.seed,
            exclude=excluded,
        )
        notes += left_out
    else:
        dealt = artist_split.split_by_artist(
            catalog.table,
            by=args.by,
            groups=args.artists,
            songs=args.songs,
            shares=(args.train, args.valid, args.test),
            seed=args.seed,
            exclude=excluded,
        )
        table = dealt.table
        notes += dealt.report.lines()
    print(*notes, sep="\n", end="\n" if notes else "")

    inputs = {
        **cli.settings(args),
        "excluded": provenance.digest_rows([sorted(excluded)]) if excluded else None,
        "tracks": provenance.digest_rows(table.itertuples(index=False)),
    }
    if args.out.exists():
        provenance.require_same(args.out, provenance.read_sidecar(args.out)["inputs"], inputs)
        print(f"{args.out}: complete already")
        return
    split_csv.write_split(table, args.out, provenance.make_record(inputs))
    counts = table["subset"].value_counts()
    print(f"{args.out}: " + ", ".join(f"{counts.get(s, 0)} {s}" for s in split_csv.SUBSETS))


def where(source: str) -> None:
    """Say where the files of a dataset are had."""
    archives = audio_archives.list_archives(source)
    for archive in archives:
        print(archive.describe())
    if DATASETS[source].metadata:
        print(f"--metadata: {DATASETS[source].metadata}")
    if not archives:
        print(f"{source}: there is no archive of its audio to download")


if __name__ == "__main__":
    cli.run_script(main)
