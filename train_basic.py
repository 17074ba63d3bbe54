"""Step 3: train the basic model (artist classification) or, with --labels tags, the tag model."""

import numpy as np

from common import cli
from data_prep import split_csv
from data_prep.batches import Crops, LabelledBatches
from data_prep.failures import read_usable_tracks
from data_prep.mel_cache import MelCache
from data_prep.targets import artist_classes, tag_matrix
from training.config import BasicConfig


def main() -> None:
    """Train the basic or the tag model."""
    parser = cli.training_parser(
        __doc__,
        "python train_basic.py splits/demo.csv cache/demo.h5 --out runs/basic",
        BasicConfig(),
    )
    parser.add_argument(
        "--labels",
        choices=("artist", "tags"),
        default=BasicConfig.labels,
        help="column of the split that contains the labels to learn",
    )
    args = parser.parse_args()
    config = cli.fill_dataclass(BasicConfig, args)

    # Data
    cache = MelCache(args.cache)
    split = read_usable_tracks(args.split, cache.failed, args.cache, config.max_artists)
    if config.labels == "artist":
        name, activation, loss = "basic", "softmax", "sparse_categorical_crossentropy"
        classes, targets = artist_classes(split, args.split)
    else:
        name, activation, loss = "tag", "sigmoid", "binary_crossentropy"
        classes, targets = tag_matrix(split, "tags", args.split)
    train_rows, valid_rows = (
        np.flatnonzero(split_csv.subset_mask(split, subset, args.split))
        for subset in ("train", "valid")
    )
    used = np.union1d(train_rows, valid_rows)
    crops = Crops(cache, split["track_id"].to_numpy(object)[used])
    train_batches, valid_batches = (
        LabelledBatches(
            crops,
            np.searchsorted(used, rows),
            config.batch_size,
            config.seed,
            labels=targets[rows],
        )
        for rows in (train_rows, valid_rows)
    )

    # Import Keras after the arguments are parsed, so that --help stays fast.
    from models.basic import build_basic
    from models.pretrained import load_weights
    from training.devices import open_devices
    from training.encoders import encoder_run, initial_encoder, train

    start = load_weights(config.start_from) if config.start_from else None
    run = encoder_run(args.out, name, split, cache, config, start)
    if run.is_complete():
        print(f"{args.out}: already complete")
        return
    with open_devices(config.distribute) as devices:
        encoder = initial_encoder(config, start, devices)
        norm = start or cache  # source of the mean and std that normalise the input
        model = build_basic(encoder, len(classes), activation, mean=norm.mean, std=norm.std)
        # Uses SGD with Nesterov momentum and the papers' learning rate rules.
        train(model, loss, ["accuracy"], train_batches, valid_batches, config, run, devices)


if __name__ == "__main__":
    cli.run_script(main)
