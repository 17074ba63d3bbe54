"""Step 1: one list of tracks, each with its artist, its labels and its subset.

SOURCE is `demo` or `demo_target`, the two parts of the built-in corpus (their
audio is made below --root), or `folder`, the audio files that are there.
"""

import sys
from pathlib import Path

# The scripts of this room run from the root: `python data_prep/1_make_splits.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli, provenance
from common.parallel import usable_cores
from data_prep import catalogs, split_csv

SOURCES = ("demo", "demo_target", "folder")


def main() -> None:
    parser = cli.parser(
        __doc__, "python data_prep/1_make_splits.py demo --root corpus --out splits/demo.csv"
    )
    parser.add_argument("source", metavar="SOURCE", choices=SOURCES)
    parser.add_argument("--root", type=Path, required=True, help="folder of the audio")
    parser.add_argument("--out", type=Path, required=True, help="the split, splits/NAME.csv")
    parser.add_argument("--pattern", default="{artist}/{album}/{}", help="of a folder's paths")
    parser.add_argument("--by", default="artist", help="label whose values share out their songs")
    parser.add_argument("--artists", type=cli.positive, help="how many (of --by); all by default")
    parser.add_argument("--songs", type=cli.positive, default=20, help="of each artist")
    parser.add_argument("--train", type=cli.natural, default=15, help="of these")
    parser.add_argument("--valid", type=cli.natural, default=3, help="of these")
    parser.add_argument("--test", type=cli.natural, default=2, help="of these")
    parser.add_argument("--workers", type=cli.positive, default=usable_cores(), help="processes")
    cli.add_seed(parser)
    args = parser.parse_args()

    if args.source == "folder":
        table, left_out = catalogs.from_folder(args.root, args.pattern)
        if left_out:
            print(f"{args.root}: {len(left_out)} files do not fit the pattern: {left_out[0]} …")
    else:
        part = "target" if args.source == "demo_target" else "source"
        table = catalogs.demo(args.root, part, args.seed, args.workers)
    if "subset" not in table.columns:
        shares = (args.train, args.valid, args.test)
        table = catalogs.deal(
            table, by=args.by, groups=args.artists, songs=args.songs, shares=shares, seed=args.seed
        )

    inputs = {**cli.settings(args), "tracks": provenance.digest(table.itertuples(index=False))}
    if args.out.exists():
        provenance.require_same(args.out, provenance.read_sidecar(args.out)["inputs"], inputs)
        print(f"{args.out}: complete already")
        return
    split_csv.write(table, args.out, provenance.record(inputs))
    counts = table["subset"].value_counts()
    print(f"{args.out}: " + ", ".join(f"{counts.get(s, 0)} {s}" for s in split_csv.SUBSETS))


if __name__ == "__main__":
    cli.run(main)
