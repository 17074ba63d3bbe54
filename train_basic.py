"""Step 3: train the basic model (which artist?) or, with --labels tags, the tag model."""

import numpy as np

from common import cli
from data_prep import failures, split_csv
from data_prep.batches import Crops, LabelledBatches
from data_prep.mel_cache import MelCache
from data_prep.targets import artist_classes, tag_matrix


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        "python train_basic.py splits/demo.csv cache/demo.h5 --out runs/basic",
        learning_rate=0.015,
        batch=15,
    )
    parser.add_argument("--labels", choices=("artist", "tags"), default="artist")
    args = parser.parse_args()

    cache = MelCache(args.cache)
    split = split_csv.keep_first_artists(split_csv.read_split(args.split), args.artists, args.split)
    split = failures.drop_failed(split, cache.failed, args.cache)
    if args.labels == "artist":
        name, activation, loss = "basic", "softmax", "sparse_categorical_crossentropy"
        classes, targets = artist_classes(split, args.split)
    else:
        name, activation, loss = "tag", "sigmoid", "binary_crossentropy"
        classes, targets = tag_matrix(split, "tags", args.split)
    train, valid = (split_csv.subset_mask(split, name, args.split) for name in ("train", "valid"))
    used = np.flatnonzero(train | valid)
    crops = Crops(cache, split["track_id"].to_numpy(object)[used])

    def batches(anchors: np.ndarray) -> LabelledBatches:
        anchors = np.flatnonzero(anchors[used])
        return LabelledBatches(crops, anchors, args.batch, args.seed, labels=targets[used][anchors])

    both = batches(train), batches(valid)

    # Keras comes after the arguments, so that --help does not wait for it.
    from models.basic import build_basic
    from training import single_model

    def build(encoder, **normalised):
        return build_basic(encoder, len(classes), activation, **normalised)

    single_model.train(args, name, split, cache, both, build, loss, ["accuracy"])


if __name__ == "__main__":
    cli.run_script(main)
