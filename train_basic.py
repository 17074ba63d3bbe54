"""Step 3: train the basic model (artist classification) or, with --labels tags, the tag model."""

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
    args = parser.parse_args()
    config = cli.fill_dataclass(BasicConfig, args)

    # Data
    data = TrainingData.read(args.split, args.cache, config.max_artists)
    if config.labels == "artist":
        name, activation, loss = "basic", "softmax", "sparse_categorical_crossentropy"
        classes, targets = artist_classes(data.split, args.split)
    else:
        name, activation, loss = "tag", "sigmoid", "binary_crossentropy"
        classes, targets = tag_matrix(data.split, "tags", args.split)
    labels = targets[data.used]
    batches = [
        LabelledBatches(data.crops, rows, config.batch_size, config.seed, labels=labels[rows])
        for rows in (data.train, data.valid)
    ]

    # Import Keras after the arguments are parsed, so that --help stays fast.
    from models.basic import build_basic
    from models.pretrained import load_weights
    from training import loop
    from training.devices import open_devices

    # Model
    start = load_weights(config.start_from) if config.start_from else None
    run = loop.encoder_run(args.out, config.name_model(name), data.split, data.cache, config, start)
    with open_devices(config.distribute) as devices:
        encoder = loop.initial_encoder(config, start, devices)
        normalisation = loop.input_normalisation(config, start, data.cache)
        model = build_basic(
            encoder, len(classes), activation, augment=config.augment, **normalisation
        )

        # Optimizer: SGD with Nesterov momentum, and the papers' learning rate rules
        schedule = loop.TrainingSchedule.of(config)

        # Fit
        task = loop.Task(model, loss, ["accuracy"], *batches)
        loop.fit_encoder(task, schedule, config, run, devices)


if __name__ == "__main__":
    cli.run_script(main)
