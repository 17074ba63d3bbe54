"""Step 3: train the basic model (artist classification) or, with --labels tags, the tag model."""

import argparse

from common import cli
from data_prep.batches import LabelledBatches
from data_prep.split_csv import artist_classes, tag_matrix
from training.config import BasicConfig, TrainingData


def main() -> None:
    """Train the basic or the tag model."""
    example = "python train_basic.py splits/demo.csv cache/demo.h5 --out runs/basic"
    parser = cli.training_parser(__doc__, example, BasicConfig())
    parser.add_argument(
        "--labels",
        choices=("artist", "tags"),
        default=BasicConfig.labels,
        help="column of the split that contains the labels to learn",
    )
    text = "loss function for artists: the papers' softmax, or softmax over cosines with a margin"
    losses = ("softmax", "am-softmax")
    parser.add_argument("--loss", choices=losses, default=BasicConfig.loss, help=text)
    number = {"type": cli.positive_float}
    text = "margin of the am-softmax loss"
    parser.add_argument("--margin", **number, default=BasicConfig.margin, help=text)
    text = "scale of the am-softmax loss"
    parser.add_argument("--scale", **number, default=BasicConfig.scale, help=text)
    args = parser.parse_args()
    args.given = frozenset(cli.given_options(parser))
    config = cli.fill_dataclass(BasicConfig, args)
    _check_options(parser, config)

    # Data
    data = TrainingData.read(args.split, args.cache, config.max_artists)
    if config.labels == "artist":
        name = "basic"
        classes, targets = artist_classes(data.split, args.split)
    else:
        name = "tag"
        classes, targets = tag_matrix(data.split, "tags", args.split)
    labels = targets[data.used]
    batches = [
        LabelledBatches(data.crops, rows, config.batch_size, config.seed, labels=labels[rows])
        for rows in (data.train, data.valid)
    ]

    # Import Keras after the arguments are parsed, so that --help stays fast.
    from models.basic import AdditiveMarginLoss, build_basic
    from models.pretrained import load_weights
    from training import loop
    from training.devices import open_devices

    # Model
    start = load_weights(config.start_from) if config.start_from else None
    run = loop.encoder_run(args.out, name, data.split, data.cache, config, start)
    with open_devices(config.distribute) as devices:
        encoder = loop.initial_encoder(config, start, devices)
        normalisation = loop.input_normalisation(config, start, data.cache)
        options = {"augment": config.augment, **normalisation}
        if name == "tag":
            activation, loss = "sigmoid", "binary_crossentropy"
        elif config.loss == "softmax":
            activation, loss = "softmax", "sparse_categorical_crossentropy"
        else:
            activation, loss = "cosine", AdditiveMarginLoss(config.margin, config.scale)
        model = build_basic(encoder, len(classes), activation, **options)

        # Optimizer: SGD with Nesterov momentum, and the rules that lower its learning rate
        schedule = loop.TrainingSchedule.of(config)

        # Fit
        task = loop.Task(model, loss, ["accuracy"], *batches)
        loop.fit_encoder(task, schedule, config, run, devices)


def _check_options(parser: argparse.ArgumentParser, config: BasicConfig) -> None:
    """Refuse options that the loss or the labels do not use or cannot use."""
    if config.loss == "am-softmax":
        if config.labels == "tags":
            parser.error("--loss am-softmax: a track has several tags; leave the option out")
        if config.margin > 2:
            parser.error("--margin: cosines differ by at most 2; use a lower one")
    elif {"margin", "scale"} & config.given:
        parser.error("--margin and --scale need --loss am-softmax")


if __name__ == "__main__":
    cli.run_script(main)
