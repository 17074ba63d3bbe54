"""Step 1: make a split, which lists tracks with their artists, labels and subsets.

If the dataset comes with its own split, that split is used (--split official).
Otherwise, or with --split artists, --tracks-per-artist tracks are drawn per artist, from
as many albums as possible, and assigned to train, valid and test; artists with fewer
tracks are left out. With --split stratified, each genre's tracks are assigned to train
and test. The available datasets are

"""

import sys
from pathlib import Path

# The scripts in this folder run from the repository root: `python data_prep/1_make_splits.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli, provenance
from common.errors import InputError
from common.parallel import available_cores
from data_prep import artist_split, audio_archives, published_splits, split_csv, stratified_split
from data_prep.datasets import DATASETS, Request

ABOUT = "\n".join(f"  {name:12}{dataset.about}" for name, dataset in DATASETS.items())
EXAMPLE = "python data_prep/1_make_splits.py demo --root corpus --out splits/demo.csv"


def main() -> int:
    """Make a split, or describe or validate a dataset; return the exit status."""
    parser = cli.make_parser(__doc__ + ABOUT, EXAMPLE)
    parser.add_argument("dataset", metavar="DATASET", choices=DATASETS, help="dataset name")
    parser.add_argument("--root", type=Path, help="audio folder")
    parser.add_argument("--out", type=Path, help="file to write the split to, splits/NAME.csv")
    parser.add_argument(
        "--metadata", type=Path, help="folder or file with the dataset's own lists; see --where"
    )
    parser.add_argument(
        "--where",
        action="store_true",
        help="only print the dataset's licence, citation, download URLs and checksums",
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="only check the copy of the dataset in the --root and --metadata folders",
    )
    parser.add_argument(
        "--unpack",
        type=Path,
        nargs="+",
        metavar="ARCHIVE",
        help="downloaded archives to verify and extract to --root before making the split",
    )
    parser.add_argument(
        "--pattern",
        help="path pattern from which to read labels, such as {artist}/{album}/{} (folder only)",
    )
    parser.add_argument(
        "--split",
        choices=("official", "artists", "stratified"),
        default="official",
        help="type of split; without an official one, official means artists",
    )
    parser.add_argument(
        "--by",
        help="label to group tracks by (default: artist, or genre with --split stratified)",
    )
    cli.add_count(
        parser,
        "--max-artists",
        None,
        "number of artists, or of --by values (default: all that qualify)",
        old="--artists",
    )
    cli.add_count(
        parser,
        "--tracks-per-artist",
        artist_split.TRACKS_PER_ARTIST,
        "number of tracks per artist",
        old="--songs",
    )
    for subset, size in zip(split_csv.SUBSETS, artist_split.SUBSET_SIZES, strict=True):
        parser.add_argument(
            f"--{subset}",
            type=cli.non_negative,
            default=size,
            help=f"number of tracks per artist in the {subset} subset",
        )
    cli.add_renamed(
        parser,
        "--test-fraction",
        "--test-share",
        type=cli.fraction,
        help="fraction of each genre's tracks assigned to the test subset with --split stratified "
        f"(default: {stratified_split.TEST_FRACTION})",
    )
    parser.add_argument(
        "--exclude-artists-of",
        type=Path,
        nargs="+",
        metavar="SPLIT.csv",
        help="evaluation splits whose artists are excluded from this split",
    )
    cli.add_count(parser, "--workers", available_cores(), "number of worker processes")
    cli.add_seed(parser)
    args = parser.parse_args()

    if args.where:
        print_origin(args.dataset)
        return 0
    required = {"--root": args.root, **({} if args.validate else {"--out": args.out})}
    if missing := [name for name, value in required.items() if value is None]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    stratified = args.split == "stratified"
    if stratified and args.max_artists:
        raise InputError("--max-artists: not used with --split stratified; leave it out")
    if args.test_fraction is not None and not stratified:
        raise InputError("--test-fraction: used with --split stratified only; add that")
    by = args.by or ("genre" if stratified else "artist")
    test_fraction = args.test_fraction
    if stratified and test_fraction is None:
        test_fraction = stratified_split.TEST_FRACTION

    for archive in args.unpack or ():
        files = audio_archives.extract_dataset_archive(
            args.dataset, archive, args.root, args.metadata
        )
        print(f"{archive}: verified, {files} files below {args.root}")
    request = Request(
        root=args.root,
        metadata=args.metadata,
        seed=args.seed,
        pattern=args.pattern,
        workers=args.workers,
        # With other splits, --max-artists limits the artists drawn from the whole catalog.
        max_artists=args.max_artists if args.split == "official" else None,
    )
    if args.validate:
        return validate(args.dataset, request)

    catalog = DATASETS[args.dataset].read_catalog(request)
    notes = [*catalog.notes, *artist_split.check_artists(catalog.table, args.dataset)]
    excluded = frozenset().union(
        *(artist_split.read_artists(split) for split in args.exclude_artists_of or ())
    )
    if args.split == "official" and "subset" in catalog.table.columns:
        if args.max_artists and args.dataset != "msd":
            raise InputError("--max-artists: the dataset has its own split; add --split artists")
        table, split_notes = artist_split.drop_artists(catalog.table, excluded)
    elif stratified:
        table, split_notes = stratified_split.split_by_genre(
            catalog.table, by=by, test_fraction=test_fraction, seed=args.seed, exclude=excluded
        )
    else:
        table, split_notes = artist_split.split_by_artist(
            catalog.table,
            by=by,
            max_groups=args.max_artists,
            tracks_per_group=args.tracks_per_artist,
            subset_sizes=(args.train, args.valid, args.test),
            seed=args.seed,
            exclude=excluded,
        )
    for note in notes + split_notes:
        print(note)

    inputs = {
        "source": args.dataset,
        "pattern": args.pattern,
        "split": args.split,
        "by": by,
        "artists": args.max_artists,
        "songs": args.tracks_per_artist,
        "train": args.train,
        "valid": args.valid,
        "test": args.test,
        "test_share": test_fraction,
        "seed": args.seed,
        "excluded": provenance.digest_rows([sorted(excluded)]) if excluded else None,
        "tracks": provenance.digest_rows(table.itertuples(index=False)),
    }
    if args.out.exists():
        provenance.require_same(args.out, provenance.read_sidecar(args.out)["inputs"], inputs)
        print(f"{args.out}: already complete")
        return 0
    split_csv.write_split(table, args.out, provenance.make_record(inputs))
    counts = table["subset"].value_counts()
    print(f"{args.out}: " + ", ".join(f"{counts.get(s, 0)} {s}" for s in split_csv.SUBSETS))
    return 0


def print_origin(name: str) -> None:
    """Print where to get a dataset, its terms of use, and its file checksums."""
    info = DATASETS[name].info
    print(info.title)
    for label, text in (
        ("licence", info.licence),
        ("citation", info.citation),
        ("homepage", info.homepage),
        ("--metadata", info.metadata),
    ):
        if text:
            print(f"{label}: {text}")
    registry = published_splits.read_registry()
    for row in (registry[listed] for listed in info.lists):
        url = f"https://github.com/{row['repository']}/blob/{row['commit']}/{row['path']}"
        print(f"list: {url}  git blob {row['git_blob']}")
    archives = audio_archives.list_archives(name)
    for archive in archives:
        print(f"audio: {archive.describe()}")
    if not archives:
        print("audio: there is no archive to download")


def validate(name: str, request: Request) -> int:
    """Check a copy of a dataset; return exit status 1 if any files are missing or empty, else 0."""
    if name.startswith("demo"):
        raise InputError(f"{name}: rendered by this package; there is no copy to validate")
    for listed in DATASETS[name].info.lists:
        path = published_splits.published_split(listed, request.metadata)
        print(f"{path}: content id verified")
    catalog = DATASETS[name].read_catalog(request)
    for note in catalog.notes:
        print(note)
    paths = catalog.table["path"]
    empty = [path for path in paths if not (request.root / path).stat().st_size]
    if empty:
        print(f"{request.root}: {len(empty)} files are empty, such as {empty[0]!r}")
    print(
        f"{request.root}: {len(paths) + catalog.missing} tracks listed, {len(paths)} present, "
        f"{catalog.missing} missing, {len(empty)} empty"
    )
    return 1 if catalog.missing or empty else 0


if __name__ == "__main__":
    cli.run_script(main)
