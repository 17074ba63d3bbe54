"""Step 3: train the siamese model (are two songs by the same artist?)."""

import numpy as np

from common import cli
from data_prep import failures, split_csv, targets
from data_prep.batches import Crops, SiameseBatches, TrackSampler
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
    split = split_csv.keep_first_artists(split_csv.read_split(args.split), args.artists, args.split)
    split = failures.drop_failed(split, cache.failed, args.cache)
    names, numbers = targets.artist_classes(split, args.split)
    train, valid = (split_csv.subset_mask(split, name, args.split) for name in ("train", "valid"))
    used = np.flatnonzero(train | valid)
    crops = Crops(cache, split["track_id"].to_numpy(object)[used])
    artists = np.array(names, object)[numbers[used]]

    def batches(anchors: np.ndarray, drawn_from: np.ndarray) -> SiameseBatches:
        anchors, drawn_from = (np.flatnonzero(songs[used]) for songs in (anchors, drawn_from))
        sampler = TrackSampler.from_artists(artists, drawn_from, args.negatives, args.split)
        return SiameseBatches(
            crops, anchors, args.batch, args.seed, sampler=sampler, negatives=args.negatives
        )

    # The 10,000-artist set validates on one song an artist: its positive is a training song.
    alone = np.bincount(numbers[valid])[numbers[valid]].min() < 2
    both = batches(train, train), batches(valid, train | valid if alone else valid)

    # Keras comes after the arguments, so that --help does not wait for it.
    from models.siamese import HingeLoss, build_siamese, within_margin
    from training import single_model

    def build(encoder, **normalised):
        return build_siamese(encoder, args.negatives, **normalised)

    loss, share = HingeLoss(args.margin), within_margin(args.margin)
    single_model.train(args, "siamese", split, cache, both, build, loss, [share])


if __name__ == "__main__":
    cli.run_script(main)
