"""Training models, evaluating them on other artists, and printing their scores and differences."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

BEST = ("train_siamese.py", "--recipe", "best")
# The training script of each model, and its options.
MODELS = {
    "best": BEST,
    "siamese": ("train_siamese.py", "--learning-rate", "0.03"),
    "basic": ("train_basic.py",),
}
RECOGNITION = ("EER", "accuracy", "EER, PLDA", "accuracy, PLDA", "ARI")
COMPARED = ("MAP", "EER", "accuracy", "ARI")


class Tracks(NamedTuple):
    """The split and the mel cache of a set of tracks."""

    split: Path
    cache: Path


def run(script: str | Path, *arguments: object) -> str:
    """Run a script of this package, and return what it prints."""
    command = [sys.executable, ROOT / script, *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, end="")
        raise InputError(f"{script} failed with exit status {done.returncode}; see its message")
    return done.stdout


def train(
    command: tuple[str, ...], name: str, tracks: Tracks, out: Path, epochs: int, seed: int
) -> Path:
    """Train a model of `MODELS`, and return its weights."""
    script, *options = command
    folder = out / "runs" / name
    run(script, *tracks, "--out", folder, *options, "--epochs", epochs, "--seed", seed)
    return folder / "best.h5"


def extract(weights: Path | str, name: str, tracks: Tracks, out: Path) -> Path:
    """Extract the features of tracks, with weights or by name, and return their file."""
    file = out / f"features/{name}_{tracks.split.stem}.h5"
    run("extract_features.py", weights, tracks.cache, "--out", file)
    return file


def evaluate(
    protocol: str, column: str, name: str, features: Path, split: Path, out: Path, *options: object
) -> dict[str, Path]:
    """Evaluate features, and return the file of the result by its column."""
    file = result_file(column, name, out)
    run("evaluate.py", protocol, features, split, *options, "--json", file)
    return {column: file}


def result_file(column: str, name: str, out: Path) -> Path:
    """Return the file of a result."""
    return out / f"{column.replace(', ', '_')}_{name}.json"


def recognise(
    name: str, features: Path, split: Path, training: tuple[Path, Path], dimensions: int, out: Path
) -> dict[str, Path]:
    """Recognise and cluster the artists of tracks; return the result of each column.

    `training` contains the features and the split of the artists that PLDA is trained on, after LDA
    to this number of dimensions.
    """
    files = evaluate("clustering", "ARI", name, features, split, out)
    plda = ("--scorer", "plda", "--lda-dimensions", dimensions, "--train", *training)
    for kind, scorer in (("", ()), (", PLDA", plda)):
        accuracy = {"accuracy" + kind: result_file("accuracy" + kind, name, out)}
        options = ("--trials", 3, *scorer, "--identification", *accuracy.values())
        eer = evaluate("verification", "EER" + kind, name, features, split, out, *options)
        files |= eer | accuracy
    return files


def print_table(
    files: dict[tuple[str, str], list[Path]], models: Iterable[str], columns: Sequence[str]
) -> None:
    """Print a Markdown row per model: the mean and standard deviation over the seeds."""
    print(f"| model | {' | '.join(columns)} |\n{'| --- ' * (1 + len(columns))}|")
    for model in models:
        cells = [model]
        for column in columns:
            values = [json.loads(path.read_text())["value"] for path in files[model, column]]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}")
        print(f"| {' | '.join(cells)} |", flush=True)


def print_differences(
    files: dict[tuple[str, str], list[Path]], models: Iterable[str], columns: Iterable[str]
) -> None:
    """Print the differences between the recipe "best" and the other models, with intervals."""
    for model, column in itertools.product(models, columns):
        if model != "best":
            both = (*files["best", column], "--with", *files[model, column])
            difference = run("evaluate.py", "compare", *both).splitlines()[-1]
            print(f"best - {model}, {column}: {difference}", flush=True)
