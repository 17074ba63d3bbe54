"""Step 1: make a split, which lists tracks with their artists, labels and subsets.

If the dataset comes with its own split, that split is used (--split official).
Otherwise, or with --split artists, --tracks-per-artist tracks are drawn per artist, from
as many albums as possible, and assigned to train, valid and test; artists with fewer
tracks are left out. With --split stratified, each genre's tracks are assigned to train
and test. With --split disjoint, all tracks by an artist are assigned to train, to valid or
to test. The available datasets are

"""

import argparse
import sys
from pathlib import Path

# The scripts in this folder run from the repository root: `python data_prep/1_make_splits.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli, provenance
from common.errors import InputError
from common.parallel import available_cores
from data_prep import artist_names, split_csv, split_methods
from data_prep.datasets import DATASETS, load_dataset
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request, fetch_lists, read_registry

ABOUT = "\n".join(f"  {name:12}{about}" for name, (_, about) in DATASETS.items())
EXAMPLE = "python data_prep/1_make_splits.py demo --root corpus --out splits/demo.csv"


def main() -> int:
    """Make a split, or describe or validate a dataset; return the exit status."""
    args = parse_arguments()
    read_catalog, info = load_dataset(args.dataset)
    if args.where:
        print_origin(args.dataset, info)
        return 0
    if args.unpack:
        from data_prep import audio_archives  # most runs do not need it

        for archive in args.unpack:
            files = audio_archives.extract_dataset_archive(
                args.dataset, archive, args.root, args.metadata
            )
            print(f"{archive}: verified, {files} files below {args.root}")
    request = Request(
        root=args.root,
        metadata=args.metadata,
        seed=args.seed,
        labels=args.labels,
        pattern=args.pattern,
        workers=args.workers,
        # With other splits, --max-artists limits the artists drawn from the whole catalog.
        max_artists=args.max_artists if args.split == "official" else None,
    )
    if args.validate:
        if args.dataset.startswith("demo"):
            raise InputError(f"{args.dataset}: rendered here; there is no copy to validate")
        for path in fetch_lists(info, request.metadata).values():
            print(f"{path}: content id verified")
        return validate(read_catalog(request), request.root)

    catalog = read_catalog(request)
    tracks, notes = split_methods.clear_not_artists(
        catalog.table, args.not_artists or artist_names.NOT_ARTISTS
    )
    notes = [*catalog.notes, *notes, *split_methods.check_artists(tracks, args.dataset)]
    if args.report_duplicates or args.drop_duplicates:
        from data_prep import duplicates  # most runs do not need it

        groups, undecoded = duplicates.find_copies(tracks["path"], args.root, args.workers)
        notes += undecoded
        tracks = tracks.assign(**{duplicates.COLUMN: groups})
        if args.drop_duplicates:
            tracks, dropped = duplicates.drop_copies(tracks)
            notes += dropped
        else:
            copies = tracks[duplicates.COLUMN].duplicated().sum()
            notes.append(f"copies: {copies} of {len(tracks)} tracks are copies of others")
    for note in notes:
        print(note)
    excluded = frozenset().union(*map(split_methods.read_artists, args.exclude_artists_of or ()))
    options = {"by": args.by, "seed": args.seed, "exclude": excluded}
    if args.split == "official" and "subset" in tracks.columns:
        if args.max_artists and args.dataset != "msd":
            raise InputError("--max-artists: the dataset has its own split; add --split artists")
        table, split_notes = split_methods.drop_artists(tracks, excluded)
    elif args.split == "stratified":
        table, split_notes = split_methods.split_by_genre(
            tracks, test_fraction=args.test_fraction, **options
        )
    elif args.split == "disjoint":
        options = {"seed": args.seed, "exclude": excluded}
        table, split_notes = split_methods.split_disjoint(tracks, **options)
    else:
        table, split_notes = split_methods.split_by_artist(
            tracks,
            max_groups=args.max_artists,
            tracks_per_group=args.tracks_per_artist,
            subset_sizes=(args.train, args.valid, args.test),
            **options,
        )
    if args.report_duplicates or args.drop_duplicates:
        split_notes += duplicates.report_copies(table)
        table = table.drop(columns=duplicates.COLUMN)
    for note in split_notes:
        print(note)

    inputs = {
        "source": args.dataset,
        "pattern": args.pattern,
        "split": args.split,
        "by": args.by,
        "artists": args.max_artists,
        "songs": args.tracks_per_artist,
        "train": args.train,
        "valid": args.valid,
        "test": args.test,
        "test_share": args.test_fraction,
        "seed": args.seed,
        "excluded": provenance.digest_rows([sorted(excluded)]) if excluded else None,
        "tracks": provenance.digest_rows(table.itertuples(index=False)),
    }
    if args.out.exists():
        provenance.require_same(args.out, provenance.read_sidecar(args.out)["inputs"], inputs)
        print(f"{args.out}: already complete")
        return 0
    split_csv.write_split(table, args.out, provenance.make_record(inputs))
    # Stratified splits are for train_agf.py, and disjoint ones for classifiers on features.
    if args.split in ("official", "artists"):
        for note in split_methods.describe_untrainable(table, args.out):
            print(note)
    counts = table["subset"].value_counts()
    print(f"{args.out}: " + ", ".join(f"{counts.get(s, 0)} {s}" for s in split_csv.SUBSETS))
    return 0


def parse_arguments() -> argparse.Namespace:
    """Return the checked options, with the defaults that depend on the type of split."""
    parser = cli.make_parser(__doc__ + ABOUT, EXAMPLE)
    add = parser.add_argument
    add("dataset", metavar="DATASET", choices=DATASETS, help="dataset name")
    add("--root", type=Path, help="audio folder")
    add("--out", type=cli.output_file(".csv"), help="file to write the split to, splits/NAME.csv")
    add("--metadata", type=Path, help="folder or file with the dataset's own lists; see --where")
    text = "licence, citation, download URLs and checksums of the dataset, without making a split"
    add("--where", action="store_true", help=text)
    text = "only check the copy of the dataset in the --root and --metadata folders"
    add("--validate", action="store_true", help=text)
    text = "downloaded archives to verify and extract to --root before making the split"
    add("--unpack", type=Path, nargs="+", metavar="ARCHIVE", help=text)
    text = "path pattern from which to read labels, such as {artist}/{album}/{} (folder only)"
    add("--pattern", help=text)
    text = "source of labels: tags alone, or any, folder names where tags are missing (folder only)"
    add("--labels", choices=("any", "tags"), default="any", help=text)
    text = "list of names that stand for no artist (default: data_prep/not_artists.txt)"
    add("--not-artists", type=Path, metavar="FILE", help=text)
    text = "print which tracks are copies of the same recording, by bytes and by their first 30 s"
    add("--report-duplicates", action="store_true", help=text)
    text = "use only one track of each recording"
    add("--drop-duplicates", action="store_true", help=text)
    text = "type of split; without an official one, official means artists"
    kinds = ("official", "artists", "stratified", "disjoint")
    add("--split", choices=kinds, default=kinds[0], help=text)
    text = "label to group tracks by (default: artist, or genre with --split stratified)"
    add("--by", help=text)
    text = "number of artists, or of --by values (default: all that qualify)"
    cli.add_count(parser, "--max-artists", None, text, old="--artists")
    text, count = "number of tracks per artist", split_methods.TRACKS_PER_ARTIST
    cli.add_count(parser, "--tracks-per-artist", count, text, old="--songs")
    for subset, size in zip(split_csv.SUBSETS, split_methods.SUBSET_SIZES, strict=True):
        text = f"number of tracks per artist in the {subset} subset"
        add(f"--{subset}", type=cli.non_negative, default=size, help=text)
    text = (
        "fraction of each genre's tracks assigned to the test subset with --split stratified "
        f"(default: {split_methods.TEST_FRACTION})"
    )
    cli.add_renamed(parser, "--test-fraction", "--test-share", type=cli.fraction, help=text)
    text = "evaluation splits whose artists are excluded from this split"
    add("--exclude-artists-of", type=Path, nargs="+", metavar="SPLIT.csv", help=text)
    cli.add_count(parser, "--workers", available_cores(), "number of worker processes")
    cli.add_seed(parser)
    args = parser.parse_args()

    required = {"--root": args.root, **({} if args.validate else {"--out": args.out})}
    missing = [name for name, value in required.items() if value is None and not args.where]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    stratified = args.split == "stratified"
    if args.max_artists and args.split in ("stratified", "disjoint"):
        raise InputError(f"--max-artists: not used with --split {args.split}; leave it out")
    if args.by and args.split == "disjoint":
        raise InputError("--by: not used with --split disjoint; leave it out")
    if args.test_fraction is not None and not stratified:
        raise InputError("--test-fraction: used with --split stratified only; add that")
    args.by = args.by or ("genre" if stratified else "artist")
    if stratified and args.test_fraction is None:
        args.test_fraction = split_methods.TEST_FRACTION
    return args


def print_origin(name: str, info: DatasetInfo) -> None:
    """Print where to get a dataset, its terms of use, and its file checksums."""
    from data_prep import audio_archives

    print(info.title)
    for label in ("licence", "citation", "homepage", "metadata"):
        if text := getattr(info, label):
            print(f"{'--metadata' if label == 'metadata' else label}: {text}")
    registry = read_registry()
    for row in (registry[listed] for listed in info.lists):
        url = f"https://github.com/{row['repository']}/blob/{row['commit']}/{row['path']}"
        print(f"list: {url}  git blob {row['git_blob']}")
    archives = [archive.describe() for archive in audio_archives.list_archives(name)]
    for archive in archives or ["there is no archive to download"]:
        print(f"archive: {archive}")


def validate(catalog: Catalog, root: Path) -> int:
    """Check a copy of a dataset; return exit status 1 if any files are missing or empty, else 0."""
    for note in catalog.notes:
        print(note)
    paths = catalog.table["path"]
    empty = [path for path in paths if not (root / path).stat().st_size]
    if empty:
        print(f"{root}: {len(empty)} files are empty, such as {empty[0]!r}")
    print(
        f"{root}: {len(paths) + catalog.missing} tracks listed, {len(paths)} present, "
        f"{catalog.missing} missing, {len(empty)} empty"
    )
    return 1 if catalog.missing or empty else 0


if __name__ == "__main__":
    cli.run_script(main)
