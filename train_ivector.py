"""Step 3: train the GMM-UBM and i-vector baselines of arxiv2017, and save both in one file."""

from dataclasses import asdict

from common import cli
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from data_prep.mfcc import MfccSettings


def main() -> None:
    """Train the i-vector model."""
    parser = cli.make_parser(
        __doc__, "python train_ivector.py splits/demo.csv cache/demo.h5 --out runs/ivector"
    )
    cli.add_split_and_cache(parser, out="run folder, runs/NAME")
    text = "number of Gaussians in the universal background model (UBM)"
    cli.add_count(parser, "--components", 256, text, old="--mixtures")
    cli.add_renamed(
        parser,
        "--ubm-init",
        "--start",
        choices=("kmeans", "random"),
        default="kmeans",
        help="initialisation method for the UBM",
    )
    cli.add_count(parser, "--ubm-iterations", 20, "maximum number of EM iterations for the UBM")
    cli.add_count(parser, "--dimensions", 256, "number of i-vector dimensions")
    text = "number of EM iterations for the total-variability matrix"
    cli.add_count(parser, "--iterations", 10, text)
    cli.add_count(parser, "--coefficients", MfccSettings.coefficients, "number of MFCCs per frame")
    parser.add_argument(
        "--deltas",
        action="store_true",
        help="first-order time derivatives in addition to the MFCCs",
    )
    parser.add_argument(
        "--level-range",
        type=cli.positive_float,
        metavar="DB",
        help="maximum level difference from a track's loudest frame, in dB; quieter frames are "
        "skipped (default: use all frames)",
    )
    text = "number of artists to train on, taken from the start of the split (default: all)"
    cli.add_count(parser, "--max-artists", None, text, old="--artists")
    cli.add_seed(parser)
    args = parser.parse_args()

    # Data
    cache = MelCache(args.cache)
    split = split_csv.read_usable_tracks(args.split, cache.failed, args.cache, args.max_artists)
    split_csv.artist_classes(split, args.split)  # checks the artist labels
    train_rows = split_csv.subset_mask(split, "train", args.split)
    track_ids = split["track_id"].to_numpy(object)[train_rows]
    artists = split["artist"].to_numpy(object)[train_rows]

    # Import scikit-learn after the arguments are parsed, so that --help stays fast.
    from recognition.ivector_training import IVectorRun, IVectorSchedule, train_ivector_model
    from training.config import training_inputs

    # Model
    mfcc = MfccSettings(args.coefficients, args.deltas, args.level_range)
    schedule = IVectorSchedule(
        args.components,
        args.ubm_init,
        args.ubm_iterations,
        args.dimensions,
        args.iterations,
        args.seed,
    )
    settings = {**asdict(schedule), **mfcc.to_dict(), "artists": args.max_artists}
    run = IVectorRun(args.out, training_inputs(args.out, "ivector", split, cache, settings))
    train_ivector_model(run, cache, track_ids, artists, mfcc, schedule)


if __name__ == "__main__":
    cli.run_script(main)
