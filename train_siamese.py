"""Step 3: train the siamese model, which learns whether two tracks are by the same artist."""

# This checks that the dependencies are installed, before any is imported.
from common import cli

# isort: split
import numpy as np

from data_prep.batches import SiameseBatches, TrackSampler
from data_prep.split_csv import artist_classes
from training.config import SiameseConfig, TrainingData


def main() -> None:
    """Train the siamese model."""
    example = "python train_siamese.py splits/demo.csv cache/demo.h5 --out runs/siamese"
    parser = cli.training_parser(__doc__, example, SiameseConfig())
    text = "number of tracks by other artists per anchor"
    cli.add_count(parser, "--negatives", SiameseConfig.negatives, text)
    parser.add_argument(
        "--margin",
        type=cli.positive_float,
        default=SiameseConfig.margin,
        help="margin of the hinge loss",
    )
    args = parser.parse_args()
    config = cli.fill_dataclass(SiameseConfig, args)

    # Data
    data = TrainingData.read(args.split, args.cache, config.max_artists)
    artist_classes(data.split, args.split)  # checks that every artist has training tracks
    artists = data.split["artist"].to_numpy(object)[data.used]
    # The paper's set of 10,000 artists has one validation track per artist. If any artist has only
    # one, the validation positives and negatives are drawn from the training tracks as well.
    _, per_artist = np.unique(artists[data.valid], return_counts=True)
    valid_pool = data.valid if per_artist.min() > 1 else np.arange(len(artists))
    batches = [
        SiameseBatches(
            data.crops,
            anchors,
            config.batch_size,
            config.seed,
            sampler=TrackSampler.from_artists(artists, pool, config.negatives, args.split),
            negatives=config.negatives,
        )
        for anchors, pool in ((data.train, data.train), (data.valid, valid_pool))
    ]

    # Import Keras after the arguments are parsed, so that --help stays fast.
    from models.pretrained import load_weights
    from models.siamese import HingeLoss, build_siamese, within_margin
    from training.devices import open_devices
    from training.loop import Task, TrainingSchedule, encoder_run, fit_encoder, initial_encoder

    # Model
    start = load_weights(config.start_from) if config.start_from else None
    run = encoder_run(args.out, "siamese", data.split, data.cache, config, start)
    with open_devices(config.distribute) as devices:
        encoder, norm = initial_encoder(config, start, devices), start or data.cache
        model = build_siamese(encoder, config.negatives, mean=norm.mean, std=norm.std)

        # Optimizer: SGD with Nesterov momentum, and the papers' learning rate rules
        schedule = TrainingSchedule.of(config)

        # Fit
        metrics = [within_margin(config.margin)]
        task = Task(model, HingeLoss(config.margin), metrics, *batches)
        fit_encoder(task, schedule, config, run, devices)


if __name__ == "__main__":
    cli.run_script(main)
