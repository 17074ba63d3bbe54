"""Step 3: train the siamese model, which learns whether two tracks are by the same artist."""

import numpy as np

from common import cli
from data_prep import split_csv
from data_prep.batches import Crops, SiameseBatches, TrackSampler
from data_prep.failures import read_usable_tracks
from data_prep.mel_cache import MelCache
from data_prep.targets import artist_classes
from training.config import SiameseConfig


def main() -> None:
    """Train the siamese model."""
    parser = cli.training_parser(
        __doc__,
        "python train_siamese.py splits/demo.csv cache/demo.h5 --out runs/siamese",
        SiameseConfig(),
    )
    cli.add_count(
        parser,
        "--negatives",
        SiameseConfig.negatives,
        "number of tracks by other artists per anchor",
    )
    parser.add_argument(
        "--margin",
        type=cli.positive_float,
        default=SiameseConfig.margin,
        help="margin of the hinge loss",
    )
    args = parser.parse_args()
    config = cli.fill_dataclass(SiameseConfig, args)

    # Data
    cache = MelCache(args.cache)
    split = read_usable_tracks(args.split, cache.failed, args.cache, config.max_artists)
    artist_classes(split, args.split)  # checks that every artist has training tracks
    tracks = split[split["subset"].isin(["train", "valid"])]
    train_rows, valid_rows = (
        np.flatnonzero(split_csv.subset_mask(tracks, subset, args.split))
        for subset in ("train", "valid")
    )
    artists = tracks["artist"].to_numpy(object)
    crops = Crops(cache, tracks["track_id"].to_numpy(object))
    # The paper's set of 10,000 artists has one validation track per artist. If any artist has only
    # one, the validation positives and negatives are drawn from the training tracks as well.
    _, per_artist = np.unique(artists[valid_rows], return_counts=True)
    valid_pool = valid_rows if per_artist.min() > 1 else np.arange(len(tracks))
    train_batches, valid_batches = (
        SiameseBatches(
            crops,
            anchors,
            config.batch_size,
            config.seed,
            sampler=TrackSampler.from_artists(artists, pool, config.negatives, args.split),
            negatives=config.negatives,
        )
        for anchors, pool in ((train_rows, train_rows), (valid_rows, valid_pool))
    )

    # Import Keras after the arguments are parsed, so that --help stays fast.
    from models.pretrained import load_weights
    from models.siamese import HingeLoss, build_siamese, within_margin
    from training.devices import open_devices
    from training.encoders import encoder_run, initial_encoder, train

    start = load_weights(config.start_from) if config.start_from else None
    run = encoder_run(args.out, "siamese", split, cache, config, start)
    if run.is_complete():
        print(f"{args.out}: already complete")
        return
    with open_devices(config.distribute) as devices:
        norm = start or cache  # source of the mean and std that normalise the input
        encoder = initial_encoder(config, start, devices)
        model = build_siamese(encoder, config.negatives, mean=norm.mean, std=norm.std)
        loss = HingeLoss(config.margin)
        metrics = [within_margin(config.margin)]
        # Uses SGD with Nesterov momentum and the papers' learning rate rules.
        train(model, loss, metrics, train_batches, valid_batches, config, run, devices)


if __name__ == "__main__":
    cli.run_script(main)
