"""Step 3: train the siamese model, which learns whether two tracks are by the same artist."""

import argparse

# This checks that the dependencies are installed, before any is imported.
from common import cli

# isort: split
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep.batches import ArtistBatches, Batches, SiameseBatches, TrackSampler
from data_prep.split_csv import artist_classes, label_column
from training.config import SIAMESE_LOSSES as LOSSES
from training.config import SIAMESE_RECIPES, SiameseConfig, TrainingData

# The semi-hard loss needs four bytes for each triple of tracks in a batch, and its gradient too.
MAX_TRACKS = 640


def main() -> None:
    """Train the siamese model."""
    example = "python train_siamese.py splits/demo.csv cache/demo.h5 --out runs/siamese"
    parser = cli.training_parser(__doc__, example, SiameseConfig())
    _add_arguments(parser)
    given = cli.given_options(parser)
    parser.set_defaults(**SIAMESE_RECIPES[given.get("recipe", "paper")], given=frozenset(given))
    args = parser.parse_args()  # options take precedence over the recipe
    config = _check_options(parser, cli.fill_dataclass(SiameseConfig, args))

    # Data
    data = TrainingData.read(args.split, args.cache, config.max_artists)
    classes, targets = artist_classes(data.split, args.split)
    artists = data.split["artist"].to_numpy(object)[data.used]
    # The paper's set of 10,000 artists has one validation track per artist. If any artist has only
    # one, the validation positives and negatives are drawn from the training tracks as well.
    _, per_artist = np.unique(artists[data.valid], return_counts=True)
    valid_pool = data.valid if per_artist.min() > 1 else np.arange(len(artists))
    batches = [
        _make_batches(data, config, anchors, pool, targets[data.used], args.split)
        for anchors, pool in ((data.train, data.train), (data.valid, valid_pool))
    ]

    # Import Keras after the arguments are parsed, so that --help stays fast.
    from models.metric_losses import build_in_batch, make_loss, nearest_by_other_artist
    from models.pretrained import load_weights
    from models.siamese import HingeLoss, build_siamese, within_margin
    from training import loop
    from training.devices import open_devices

    # Model
    start = load_weights(config.start_from) if config.start_from else None
    run = loop.encoder_run(args.out, "siamese", data.split, data.cache, config, start)
    with open_devices(config.distribute) as devices:
        encoder = loop.initial_encoder(config, start, devices)
        normalisation = loop.input_normalisation(config, start, data.cache)
        options = {"augment": config.augment, **normalisation}
        if config.loss == "hinge":
            model = build_siamese(encoder, config.negatives, **options)
            loss, metric = HingeLoss(config.margin), within_margin(config.margin)
        else:
            outputs = len(classes) if config.classification else 0
            model = build_in_batch(encoder, artists=outputs, **options)
            numbers = ("margin", "temperature", "classification")
            loss = make_loss(config.loss, **{name: getattr(config, name) for name in numbers})
            metric = nearest_by_other_artist()

        # Optimizer: SGD with Nesterov momentum, and the rules that lower its learning rate
        schedule = loop.TrainingSchedule.of(config)

        # Fit
        task = loop.Task(model, loss, [metric], *batches)
        loop.fit_encoder(task, schedule, config, run, devices)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the siamese model."""
    defaults = SiameseConfig()
    text = "named settings: those of the papers (paper), or those with the best results on "
    text += "synthetic and real music (best, see training/README.md); other options take precedence"
    parser.add_argument("--recipe", choices=SIAMESE_RECIPES, default="paper", help=text)
    text = "loss function: the papers' hinge over sampled negatives, or one that compares all "
    text += "tracks of a batch (softmax, supervised contrastive, or hinge over semi-hard negatives)"
    parser.add_argument("--loss", choices=LOSSES, default=defaults.loss, help=text)
    text = "number of tracks by other artists per anchor track, with --loss hinge"
    cli.add_count(parser, "--negatives", defaults.negatives, text)
    text = "number of other tracks by the same artist per anchor track, with any loss but hinge"
    cli.add_count(parser, "--positives", defaults.positives, text)
    number = {"type": cli.positive_float}
    text = "margin of the hinge and semi-hard losses"
    parser.add_argument("--margin", **number, default=defaults.margin, help=text)
    text = "temperature of the softmax and supcon losses"
    parser.add_argument(
        "--temperature", type=cli.temperature, default=defaults.temperature, help=text
    )
    text = "weight of the basic model's loss, which is added to any loss but hinge; 0 leaves it out"
    parser.add_argument(
        "--classification",
        type=cli.non_negative_float,
        default=defaults.classification,
        metavar="WEIGHT",
        help=text,
    )
    text = "positives from other albums than the anchor's, where the artist has enough tracks"
    parser.add_argument("--other-album", action="store_true", help=text)
    text = "probability that the negatives of an anchor are by artists of the same genre, where "
    text += "there are enough of them"
    parser.add_argument(
        "--same-genre", type=cli.probability, default=defaults.same_genre, metavar="P", help=text
    )


def _check_options(parser: argparse.ArgumentParser, config: SiameseConfig) -> SiameseConfig:
    """Refuse options that were given and that the loss does not use or cannot use.

    Returns the configuration with unused settings of the recipe at their defaults.
    """
    defaults, unused = asdict(SiameseConfig()), {}
    for option, losses in {
        "negatives": ("hinge",),
        "same_genre": ("hinge",),
        "positives": LOSSES[1:],
        "temperature": ("softmax", "supcon"),
        "classification": LOSSES[1:],
        "margin": ("hinge", "semi-hard"),
    }.items():
        if config.loss not in losses:
            unused[option] = defaults[option]
            if option in config.given:
                parser.error(f"--{option.replace('_', '-')} needs --loss {' or '.join(losses)}")
    if config.margin > 2:
        parser.error("--margin: cosines differ by at most 2; use a lower one")
    tracks = config.batch_size * (1 + config.positives)
    if config.loss == "semi-hard" and tracks > MAX_TRACKS:
        text = f"--batch-size: --loss semi-hard compares all triples of {tracks} tracks a batch; "
        parser.error(f"{text}use at most {MAX_TRACKS // (1 + config.positives)}")
    return replace(config, **unused)


def _make_batches(
    data: TrainingData,
    config: SiameseConfig,
    anchors: np.ndarray,
    pool: np.ndarray,
    targets: np.ndarray,
    split: Path,
) -> Batches:
    """Return batches of the anchors, with other tracks drawn from `pool`."""
    used = data.split.iloc[data.used]
    artists = used["artist"].to_numpy(object)
    hinge = config.loss == "hinge"
    positives = 1 if hinge else config.positives
    if anchors is data.valid:
        positives = min(positives, np.unique(artists[pool], return_counts=True)[1].min() - 1)
    sampler = TrackSampler.from_artists(
        artists,
        pool,
        config.negatives if hinge else 1,
        split,
        positives=positives,
        albums=_read_labels(used, "album", split) if config.other_album else None,
        genres=_read_labels(used, "genre", split) if config.same_genre else None,
        same_genre=config.same_genre,
    )
    if config.same_genre and anchors is data.train:
        able = sampler.count_same_genre(config.negatives)
        need = f"{config.negatives} tracks of its genre by other artists"
        if not able:
            raise InputError(
                f"{split}: --same-genre has no effect: no track has {need}, or all tracks are of "
                "one genre; leave the option out"
            )
        if able < len(pool):
            any_genre = f"{len(pool) - able:,} of {len(pool):,} tracks"
            print(f"--same-genre: {any_genre} get negatives of any genre; none of them has {need}")
    settings = (data.crops, anchors, config.batch_size, config.seed)
    if hinge:
        return SiameseBatches(*settings, sampler=sampler, negatives=config.negatives)
    return ArtistBatches(*settings, sampler=sampler, positives=positives, artists=targets[anchors])


def _read_labels(tracks: pd.DataFrame, name: str, split: Path) -> np.ndarray:
    labels = label_column(tracks, name, split)
    if not labels.astype(bool).any():
        raise InputError(f"{split}: no track has a value of {name}; leave the option out")
    return labels


if __name__ == "__main__":
    cli.run_script(main)
