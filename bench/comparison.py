"""Training models, evaluating them on other artists, and printing their scores and differences."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from common.feature_file import read_features
from data_prep import split_csv
from papers.artist_recognition import lda_dimensions
from papers.sid import BASELINES

ROOT = Path(__file__).resolve().parent.parent

BEST = ("train_siamese.py", "--recipe", "best")
IVECTOR = "train_ivector.py"
# The training script of each model, and its options.
MODELS = {
    "best": BEST,
    "siamese": ("train_siamese.py", "--learning-rate", "0.03"),
    "basic": ("train_basic.py",),
    "i-vector": (IVECTOR, "--dimensions", "64"),
}
RECOGNITION = ("EER", "accuracy", "EER, PLDA", "accuracy, PLDA", "ARI")
COMPARED = ("MAP", *RECOGNITION)  # the columns of which differences are printed


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


def train_all(
    models: Mapping[str, tuple[str, ...]],
    tracks: Tracks,
    out: Path,
    epochs: int,
    seeds: Sequence[int],
) -> Iterator[tuple[str, str, Path | str]]:
    """Train each model with each seed; yield the model, a name, and the weights to extract with.

    `models` are like `MODELS`. They are followed by the `BASELINES`, once each.
    """
    for seed, (model, command) in itertools.product(seeds, models.items()):
        name = f"{model.replace(' ', '_')}_{seed}"
        yield model, name, _train(command, name, tracks, out, epochs, seed)
    for name in BASELINES:
        yield name, name, name


def _train(
    command: tuple[str, ...], name: str, tracks: Tracks, out: Path, epochs: int, seed: int
) -> Path:
    script, *options = command
    folder = out / "runs" / name
    size = () if script == IVECTOR else ("--epochs", epochs)
    run(script, *tracks, "--out", folder, *options, *size, "--seed", seed)
    return folder / ("ivector.h5" if script == IVECTOR else "best.h5")


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
    name: str, features: Path, split: Path, training: tuple[Path, Path], out: Path
) -> dict[str, Path]:
    """Recognise and cluster the artists of tracks; return the result of each column.

    `training` contains the features and the split of the artists that LDA and PLDA are trained on.
    """
    artists = split_csv.read_split(training[1])["artist"].nunique()
    dimensions = lda_dimensions(artists, read_features(training[0]).features.shape[1])
    files = evaluate("clustering", "ARI", name, features, split, out)
    plda = ("--scorer", "plda", "--lda-dimensions", dimensions, "--train", *training)
    for kind, scorer in (("", ()), (", PLDA", plda)):
        accuracy = {"accuracy" + kind: result_file("accuracy" + kind, name, out)}
        options = ("--trials", 3, *scorer, "--identification", *accuracy.values())
        eer = evaluate("verification", "EER" + kind, name, features, split, out, *options)
        files |= eer | accuracy
    return files


def print_table(
    files: Mapping[tuple[str, str], list[Path]], columns: Sequence[str], folds: Sequence[int] = (1,)
) -> None:
    """Print a Markdown row per model: the mean and standard deviation over the seeds.

    `files` contains the result files by model and column: for each fold, one per seed. The scores
    of a seed are averaged over all artists in the folds, whose numbers of artists are `folds`.
    """
    print(f"| model | {' | '.join(columns)} |\n{'| --- ' * (1 + len(columns))}|")
    for model in _models(files):
        cells = [model]
        for column in columns:
            values = [json.loads(path.read_text())["value"] for path in files[model, column]]
            values = np.average(np.reshape(values, (len(folds), -1)), axis=0, weights=folds)
            spread = f" ± {np.std(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        print(f"| {' | '.join(cells)} |", flush=True)


def print_differences(files: Mapping[tuple[str, str], list[Path]], columns: Iterable[str]) -> None:
    """Print the differences between the recipe "best" and the other models, with intervals."""
    for model, column in itertools.product(_models(files), columns):
        if model != "best":
            both = (*files["best", column], "--with", *files[model, column])
            difference = run("evaluate.py", "compare", *both).splitlines()[-1]
            print(f"best - {model}, {column}: {difference}", flush=True)


def _models(files: Mapping[tuple[str, str], list[Path]]) -> list[str]:
    return list(dict.fromkeys(model for model, _ in files))
