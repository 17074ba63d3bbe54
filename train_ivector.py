"""Step 3: train the baselines of arxiv2017, GMM-UBM and i-vector, into one file."""

from common import cli
from data_prep import failures, split_csv, targets
from data_prep.mel_cache import MelCache
from data_prep.mfcc import MfccSettings


def main() -> None:
    parser = cli.make_parser(
        __doc__, "python train_ivector.py splits/demo.csv cache/demo.h5 --out runs/ivector"
    )
    cli.add_split_and_cache(parser, out="folder of the run, runs/NAME")
    parser.add_argument("--mixtures", type=cli.positive, default=256, help="of the UBM")
    parser.add_argument(
        "--start", choices=("kmeans", "random"), default="kmeans", help="what the UBM begins with"
    )
    parser.add_argument("--ubm-iterations", type=cli.positive, default=20, help="at the most")
    parser.add_argument("--dimensions", type=cli.positive, default=256, help="of an i-vector")
    parser.add_argument(
        "--iterations", type=cli.positive, default=10, help="of the total variability"
    )
    parser.add_argument("--coefficients", type=cli.positive, default=20, help="MFCCs of a frame")
    parser.add_argument(
        "--deltas", action="store_true", help="put their differences over time beside them"
    )
    parser.add_argument(
        "--level-range",
        type=cli.positive_float,
        metavar="DB",
        help="leave out frames so far below the loudest of their track",
    )
    parser.add_argument(
        "--artists", type=cli.positive, metavar="N", help="only the split's first N"
    )
    cli.add_seed(parser)
    args = parser.parse_args()

    cache = MelCache(args.cache)
    split = split_csv.keep_first_artists(split_csv.read_split(args.split), args.artists, args.split)
    split = failures.drop_failed(split, cache.failed, args.cache)
    targets.artist_classes(split, args.split)  # each track has an artist, each artist a song
    train = split_csv.subset_mask(split, "train", args.split)

    from recognition import ivector_training
    from training.inputs import training_inputs

    run = ivector_training.IVectorRun(
        args.out, training_inputs(args.out, "ivector", split, cache, cli.settings(args))
    )
    ivector_training.train_ivector_model(
        run,
        cache,
        split["track_id"].to_numpy(object)[train],
        split["artist"].to_numpy(object)[train],
        MfccSettings(args.coefficients, args.deltas, args.level_range),
        ivector_training.IVectorSchedule(
            args.mixtures,
            args.start,
            args.ubm_iterations,
            args.dimensions,
            args.iterations,
            args.seed,
        ),
    )


if __name__ == "__main__":
    cli.run_script(main)
