"""Compare the recipe "best" with the papers' models and MFCCs on the built-in corpus.

    python bench/recipes.py --data DIR [--seeds 0 1 2] [--ablation]

DIR contains splits/ and cache/ of the built-in corpus, as `make demo-arxiv2017` writes
them. Trains each model for 30 epochs with each seed, and evaluates it on artists that none was
trained on: genre retrieval (MAP), k-NN and linear classification, artist recognition by cosine and
by PLDA (with 15 tracks to enrol and 5 to test), and clustering by artist (adjusted Rand index).
Prints the mean and the standard deviation over the seeds, and the difference between the recipe and
each other model with its 95 % interval. With --ablation, also trains with each part of the recipe
left out or replaced, and with parts added. Completed steps are skipped.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import comparison
from bench.comparison import BEST, MODELS, Tracks
from common import cli

ABLATION = {
    "best with the softmax loss": (*BEST, "--loss", "softmax"),
    "best with the semi-hard loss": (*BEST, "--loss", "semi-hard"),
    "best with one positive": (*BEST, "--positives", "1"),
    "best with positives of other albums": (*BEST, "--other-album"),
    "best with band limits": (*BEST, "--augment", "band-limit", "masks"),
    "best with transposition": (*BEST, "--augment", "masks", "transpose"),
    "best with gain but no equal levels": (*BEST, "--no-equal-level", "--augment", "gain", "masks"),
    "best without classification": (*BEST, "--classification", "0"),
    "best without masks": (*BEST, "--augment"),
    "best without equal levels": (*BEST, "--no-equal-level"),
    "best with the papers' encoder": (*BEST, "--encoder", "paper"),
    "best with a plateau schedule": (*BEST, "--schedule", "plateau", "--learning-rate", "0.03"),
    "best with the hinge loss": (*BEST, "--loss", "hinge"),
    "basic with additive margin": ("train_basic.py", "--loss", "am-softmax"),
}

COLUMNS = ("MAP", "k-NN", "linear", *comparison.RECOGNITION)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "folder that contains splits/ and cache/ (default: this one)"
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR", help=text)
    text = "output folder"
    parser.add_argument("--out", type=Path, default=Path("results/recipes"), help=text)
    cli.add_seeds(parser, [0, 1, 2])
    cli.add_count(parser, "--epochs", 30, "number of epochs")
    text = "models with parts of the recipe left out, replaced or added, too"
    parser.add_argument("--ablation", action="store_true", help=text)
    args = parser.parse_args()
    models = {**MODELS, **(ABLATION if args.ablation else {})}
    train, target, unseen = (
        Tracks(args.data / f"splits/{name}.csv", args.data / f"cache/{name}.h5")
        for name in ("demo", "demo_target", "demo_unseen")
    )
    files: dict[tuple[str, str], list[Path]] = {}  # by model and column; one per seed
    out = args.out
    for model, name, weights in comparison.train_all(models, train, out, args.epochs, args.seeds):
        of_train, of_target, of_unseen = (
            comparison.extract(weights, name, tracks, out) for tracks in (train, target, unseen)
        )
        training = (of_train, train.split)
        results = comparison.recognise(name, of_unseen, unseen.split, training, out)
        for column, protocol in (("MAP", "retrieval"), ("k-NN", "knn"), ("linear", "linear")):
            genre = (of_target, target.split, out, "--label", "genre")
            results |= comparison.evaluate(protocol, column, name, *genre)
        for column, path in results.items():
            files.setdefault((model, column), []).append(path)
    comparison.print_table(files, COLUMNS)
    comparison.print_differences(files, comparison.COMPARED)


if __name__ == "__main__":
    cli.run_script(main)
