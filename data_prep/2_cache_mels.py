"""Step 2: decode every track of a split once, into one mel cache."""

import sys
from pathlib import Path

# The scripts of this room run from the root: `python data_prep/2_cache_mels.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli
from common.parallel import available_cores
from data_prep import failures, mel_cache, mel_shards, split_csv
from data_prep.mel import FrontEnd


def main() -> int:
    parser = cli.make_parser(
        __doc__,
        "python data_prep/2_cache_mels.py splits/demo.csv --audio corpus --out cache/demo.h5",
    )
    parser.add_argument("split", metavar="SPLIT.csv", type=Path)
    parser.add_argument("--audio", type=Path, required=True, help="folder of the split's paths")
    parser.add_argument("--out", type=Path, required=True, help="the cache, cache/NAME.h5")
    parser.add_argument("--workers", type=cli.positive, default=available_cores(), help="processes")
    parser.add_argument(
        "--dask",
        metavar="SCHEDULER",
        help="decode on this Dask cluster and not in --workers; tcp://HOST:PORT or its "
        "--scheduler-file; its machines see the audio at the same path",
    )
    parser.add_argument(
        "--shard-tracks",
        type=cli.positive,
        metavar="N",
        help="write NAME-00000.h5, NAME-00001.h5 … of N tracks each, which are read as NAME.h5",
    )
    parser.add_argument(
        "--whole-tracks",
        action="store_true",
        help="keep all frames of a track, not the first 1,291 (30 s) as the papers did",
    )
    parser.add_argument(
        "--allow-failures", action="store_true", help="exit with 0 though some tracks failed"
    )
    args = parser.parse_args()
    front_end = FrontEnd(max_frames=None) if args.whole_tracks else FrontEnd()
    report = mel_cache.make_mel_cache(
        split_csv.read_split(args.split),
        args.audio,
        args.out,
        front_end=front_end,
        workers=args.workers,
        shard_tracks=args.shard_tracks,
        scheduler=args.dask,
    )
    verb = "complete already" if report.was_complete else "complete"
    # The failures are listed beside each shard, and a shard is what is deleted to try them again.
    in_shards = report.failed and args.shard_tracks
    out = mel_shards.shard_pattern(args.out) if in_shards else args.out
    return failures.report_failures(out, report.tracks, report.failed, args.allow_failures, verb)


if __name__ == "__main__":
    cli.run_script(main)
