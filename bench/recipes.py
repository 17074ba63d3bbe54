"""Compare the recipe "best" with the papers' models on the built-in corpus.

    python bench/recipes.py --data DIR [--seeds 0 1 2] [--ablation]

DIR contains splits/ and cache/ of the built-in corpus, as `make demo-arxiv2017` writes
them. Trains each model for 30 epochs with each seed, and evaluates it on artists that none was
trained on: genre retrieval (MAP), k-NN and linear classification, artist recognition by cosine and
by PLDA (with 15 tracks to enrol and 5 to test), and clustering by artist (adjusted Rand index).
Prints the mean and the standard deviation over the seeds, and the difference between the recipe and
each other model with its 95 % interval. With --ablation, also trains with each part of the recipe
left out or replaced. Completed steps are skipped.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

PAPERS = {
    "best": ("train_siamese.py", "--recipe", "best"),
    "siamese": ("train_siamese.py", "--learning-rate", "0.03"),
    "basic": ("train_basic.py",),
}
RECIPE = PAPERS["best"]
ABLATION = {
    "best with the softmax loss": (*RECIPE, "--loss", "softmax"),
    "best with the semi-hard loss": (*RECIPE, "--loss", "semi-hard"),
    "best with one positive": (*RECIPE, "--positives", "1"),
    "best with positives of other albums": (*RECIPE, "--other-album"),
    "best with band limits": (*RECIPE, "--augment", "band-limit", "masks"),
    "best with gain instead of equal levels": (
        *(*RECIPE, "--no-equal-level"),
        *("--augment", "gain", "masks"),
    ),
    "best without masks": (*RECIPE, "--augment"),
    "best without equal levels": (*RECIPE, "--no-equal-level"),
    "best with the hinge loss": (*RECIPE, "--loss", "hinge"),
}

COLUMNS = ("MAP", "k-NN", "linear", "EER", "accuracy", "EER, PLDA", "accuracy, PLDA", "ARI")
COMPARED = ("MAP", "EER", "accuracy", "ARI")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("results/recipes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--ablation", action="store_true")
    args = parser.parse_args()
    models = {**PAPERS, **(ABLATION if args.ablation else {})}
    files: dict[tuple[str, str], list[Path]] = {}  # by model and column; one per seed
    for seed in args.seeds:
        for model, command in models.items():
            name = f"{model.replace(' ', '_')}_{seed}"
            results = train_and_evaluate(command, args.out, name, args.data, args.epochs, seed)
            for column, path in results.items():
                files[model, column] = [*files.get((model, column), ()), path]
    print_table(files, list(models))
    for model, column in itertools.product(list(models)[1:], COMPARED):
        both = (*files["best", column], "--with", *files[model, column])
        print(f"best - {model}, {column}: {run('evaluate.py', 'compare', *both).splitlines()[-1]}")


def train_and_evaluate(
    command: tuple[str, ...], out: Path, name: str, data: Path, epochs: int, seed: int
) -> dict[str, Path]:
    """Train one model and evaluate it; return the result file of each column."""
    train, target, unseen = (
        (data / f"splits/{split}.csv", data / f"cache/{split}.h5")
        for split in ("demo", "demo_target", "demo_unseen")
    )
    script, *options = command
    settings = (*options, "--epochs", epochs, "--seed", seed)
    run(script, *train, "--out", out / "runs" / name, *settings)
    of_train, of_target, of_unseen = (
        out / f"features/{name}_{split.stem}.h5" for split, _ in (train, target, unseen)
    )
    for file, (_, cache) in ((of_train, train), (of_target, target), (of_unseen, unseen)):
        run("extract_features.py", out / "runs" / name / "best.h5", cache, "--out", file)
    files = {column: out / f"{column.replace(', ', '_')}_{name}.json" for column in COLUMNS}
    for column, protocol in (("MAP", "retrieval"), ("k-NN", "knn"), ("linear", "linear")):
        labelled = (of_target, target[0], "--label", "genre")
        run("evaluate.py", protocol, *labelled, "--json", files[column])
    plda = ("--scorer", "plda", "--lda-dimensions", 59, "--train", of_train, train[0])
    for kind, scorer in (("", ()), (", PLDA", plda)):
        results = ("--json", files["EER" + kind], "--identification", files["accuracy" + kind])
        tracks = (of_unseen, unseen[0], "--trials", 3)
        run("evaluate.py", "verification", *tracks, *scorer, *results)
    run("evaluate.py", "clustering", of_unseen, unseen[0], "--json", files["ARI"])
    return files


def run(script: str, *arguments: object) -> str:
    """Run a script of this package, and return what it prints."""
    command = [sys.executable, ROOT / script, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def print_table(files: dict[tuple[str, str], list[Path]], models: list[str]) -> None:
    """Print one Markdown row per model."""
    print(f"| model | {' | '.join(COLUMNS)} |\n{'| --- ' * (1 + len(COLUMNS))}|")
    for model in models:
        cells = [model]
        for column in COLUMNS:
            values = [json.loads(path.read_text())["value"] for path in files[model, column]]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
