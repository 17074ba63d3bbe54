"""Step 2: decode every track of a split once, into one mel cache."""

import sys
from pathlib import Path

# The scripts in this folder are run from the root: `python data_prep/2_cache_mels.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli
from common.parallel import available_cores
from data_prep import failures, mel_cache, mel_shards, split_csv
from data_prep.mel import FrontEnd


def main() -> int:
    """Parse the arguments, make the cache and report failed tracks."""
    parser = cli.make_parser(
        __doc__,
        "python data_prep/2_cache_mels.py splits/demo.csv --audio corpus --out cache/demo.h5",
    )
    parser.add_argument("split", metavar="SPLIT.csv", type=Path, help="split file")
    parser.add_argument(
        "--audio", type=Path, required=True, help="folder that the split's paths are relative to"
    )
    parser.add_argument("--out", type=Path, required=True, help="mel cache, cache/NAME.h5")
    cli.add_count(parser, "--workers", available_cores(), "number of processes")
    parser.add_argument(
        "--dask",
        metavar="SCHEDULER",
        help="Dask cluster that decodes the tracks instead of --workers: tcp://HOST:PORT or a "
        "--scheduler-file; its machines need the audio at the same path",
    )
    cli.add_count(
        parser,
        "--shard-tracks",
        None,
        "number of tracks per file; writes NAME-00000.h5, NAME-00001.h5 …, which are read "
        "as NAME.h5 (default: one file)",
    )
    parser.add_argument(
        "--whole-tracks",
        action="store_true",
        help="keep all frames of a track instead of the first 1,291 (30 s) as in the papers",
    )
    parser.add_argument(
        "--allow-failures", action="store_true", help="exit with status 0 if some tracks failed"
    )
    args = parser.parse_args()
    report = mel_cache.make_mel_cache(
        split_csv.read_split(args.split),
        args.audio,
        args.out,
        front_end=FrontEnd(max_frames=None) if args.whole_tracks else FrontEnd(),
        workers=args.workers,
        shard_tracks=args.shard_tracks,
        scheduler=args.dask,
    )
    state = "complete already" if report.was_complete else "complete"
    # Each shard has its own list of failures, and is deleted to try its tracks again.
    in_shards = report.failed and args.shard_tracks
    out = mel_shards.shard_pattern(args.out) if in_shards else args.out
    return failures.report_failures(out, report.tracks, report.failed, args.allow_failures, state)


if __name__ == "__main__":
    cli.run_script(main)
