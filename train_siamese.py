"""Step 3: train the siamese model (are two songs by the same artist?)."""

import numpy as np

from common import cli
from data_prep import failures, labels, split_csv
from data_prep.crops import Crops, SiameseBatches, SongSampler
from data_prep.mel_cache import MelCache


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        "python train_siamese.py splits/demo.csv cache/demo.h5 --out runs/siamese",
        learning_rate=0.1,
        batch=15,
    )
    parser.add_argument("--negatives", type=cli.positive, default=4, help="songs of other artists")
    parser.add_argument("--margin", type=cli.positive_float, default=0.4, help="of the hinge loss")
    args = parser.parse_args()

    cache = MelCache(args.cache)
    split = failures.leave_out(split_csv.read(args.split), cache.failed, args.cache)
    names, numbers = labels.artist_classes(split, args.split)
    artists = np.array(names, object)[numbers]

    def batches(subset: str, drawn_from: np.ndarray) -> SiameseBatches:
        crops = Crops(cache, split["track_id"].to_numpy(object)[drawn_from])
        sampler = SongSampler.of(artists[drawn_from], args.negatives)
        anchors = np.flatnonzero(split_csv.subset(split, subset, args.split)[drawn_from])
        return SiameseBatches(
            crops, sampler, anchors, negatives=args.negatives, batch=args.batch, seed=args.seed
        )

    train = batches("train", split_csv.subset(split, "train", args.split))
    valid_songs = split_csv.subset(split, "valid", args.split)
    if np.bincount(numbers[valid_songs])[numbers[valid_songs]].min() < 2:
        # The 10,000-artist set validates on one song an artist: its positive is a training song.
        valid_songs = valid_songs | split_csv.subset(split, "train", args.split)
    valid = batches("valid", valid_songs)

    # Keras comes after the arguments, so that --help does not wait for it.
    from models.encoder import build_encoder
    from models.fit import Run, Schedule, fit, inputs_of, set_random_seed
    from models.siamese import HingeLoss, build_siamese, within_margin

    inputs = inputs_of(args.out, "siamese", split, cache, cli.settings(args))
    run = Run(args.out, inputs, cache.mean, cache.std)
    if run.is_complete():
        print(f"{args.out}: complete already")
        return
    set_random_seed(args.seed)
    encoder = build_encoder(dropout=args.dropout)
    model = build_siamese(encoder, args.negatives, mean=cache.mean, std=cache.std)
    schedule = Schedule(args.rate, args.epochs, args.plateau, args.patience)
    fit(model, HingeLoss(args.margin), [within_margin(args.margin)], train, valid, schedule, run)


if __name__ == "__main__":
    cli.run(main)
