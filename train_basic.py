"""Step 3: train the basic model (which artist?) or, with --labels tags, the tag model."""

from common import cli
from data_prep import failures, labels, split_csv
from data_prep.crops import Crops, LabelledBatches
from data_prep.mel_cache import MelCache


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
    split = failures.leave_out(split_csv.read(args.split), cache.failed, args.cache)
    if args.labels == "artist":
        name, activation, loss = "basic", "softmax", "sparse_categorical_crossentropy"
        classes, targets = labels.artist_classes(split, args.split)
    else:
        name, activation, loss = "tag", "sigmoid", "binary_crossentropy"
        classes, targets = labels.tag_matrix(split, args.split)

    def batches(subset: str) -> LabelledBatches:
        chosen = split_csv.subset(split, subset, args.split)
        crops = Crops(cache, split["track_id"].to_numpy(object)[chosen])
        return LabelledBatches(crops, targets[chosen], batch=args.batch, seed=args.seed)

    train, valid = batches("train"), batches("valid")

    # Keras comes after the arguments, so that --help does not wait for it.
    from models.basic import build_basic
    from models.encoder import build_encoder
    from models.fit import Run, Schedule, fit, inputs_of, set_random_seed

    inputs = inputs_of(args.out, name, split, cache, cli.settings(args))
    run = Run(args.out, inputs, cache.mean, cache.std)
    if run.is_complete():
        print(f"{args.out}: complete already")
        return
    set_random_seed(args.seed)
    encoder = build_encoder(dropout=args.dropout)
    model = build_basic(encoder, len(classes), activation, mean=cache.mean, std=cache.std)
    schedule = Schedule(args.rate, args.epochs, args.plateau, args.patience)
    fit(model, loss, ["accuracy"], train, valid, schedule, run)


if __name__ == "__main__":
    cli.run(main)
