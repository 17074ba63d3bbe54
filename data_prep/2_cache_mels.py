"""Step 2: decode every track in a split once and store it in a mel cache."""

import sys
from pathlib import Path

# The scripts in this folder run from the repository root: `python data_prep/2_cache_mels.py …`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli
from common.parallel import available_cores
from data_prep import failures
from data_prep.audio import NORMALISATIONS, describe_quiet
from data_prep.decoding import SID_MODELS
from data_prep.mel import FrontEnd
from data_prep.resampling import RESAMPLERS


def main() -> int:
    """Parse the arguments, make the cache and report tracks that failed."""
    parser = cli.make_parser(
        __doc__,
        "python data_prep/2_cache_mels.py splits/demo.csv --audio corpus --out cache/demo.h5",
    )
    parser.add_argument("split", metavar="SPLIT.csv", type=Path, help="split file")
    parser.add_argument(
        "--audio",
        type=Path,
        required=True,
        help="audio folder to which the split's paths are relative",
    )
    text = "mel cache to write, cache/NAME.h5"
    parser.add_argument("--out", type=cli.output_file(".h5"), required=True, help=text)
    cli.add_count(parser, "--workers", available_cores(), "number of worker processes")
    parser.add_argument(
        "--dask",
        metavar="SCHEDULER",
        help="Dask scheduler, as tcp://HOST:PORT or a scheduler file; its cluster decodes the "
        "tracks instead of --workers, and needs the audio at the same path on every machine",
    )
    cli.add_count(
        parser,
        "--shard-tracks",
        None,
        "number of tracks per shard; the shards NAME-00000.h5, NAME-00001.h5 … are read as NAME.h5 "
        "by later steps (default: write one file)",
    )
    cli.add_front_end(parser, RESAMPLERS, NORMALISATIONS, SID_MODELS)
    cli.add_strict(parser)
    args = parser.parse_args()
    # Imported here because the workers import this script too, and need neither pandas nor h5py.
    from data_prep import mel_cache, mel_cache_writer, split_csv

    # A cache that exists, such as one of version 0.1.0, keeps its resampler unless told otherwise.
    resampler = args.resampler or mel_cache_writer.existing_resampler(args.out)
    report = mel_cache_writer.make_mel_cache(
        split_csv.read_split(args.split),
        args.audio,
        args.out,
        front_end=FrontEnd.of(args.whole_tracks, resampler, args.normalise, args.sid_model),
        workers=args.workers,
        shard_tracks=args.shard_tracks,
        scheduler=args.dask,
    )
    if report.quiet and not report.was_complete:
        print(describe_quiet(report.quiet, report.tracks))
    state = "already complete" if report.was_complete else "complete"
    # Each shard has its own list of failed tracks and must be deleted to retry them.
    in_shards = report.failed and args.shard_tracks
    out = mel_cache.shard_pattern(args.out) if in_shards else args.out
    return failures.report_failures(out, report.tracks, report.failed, args.strict, state)


if __name__ == "__main__":
    cli.run_script(main)
