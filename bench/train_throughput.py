"""How near does training come to the bare compiled step, and how far ahead of the published way?

    python bench/train_throughput.py [--out results/bench]

Both sides in one run, on as many songs of noise-like music as the paper had,
which share 1,000 cached ones:

- `fit` as the scripts call it, end to end (crops, validation, logs and files
  of every epoch), against the same numbers of bare train and test steps on one
  resident batch, in turn, epoch by epoch;
- examples/s of the siamese `fit` against the published way (bench/published.py)
  at 500 to 10,000 artists: a table and a plot.

On an accelerator also absolute siamese examples/s, streamed and resident, in
float32 and mixed precision. The last lines are medians of a round's ratio
(of the bare step), and a ratio of medians (of the published way).
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from artist_groups import group_networks, network_file
from bench import published
from bench.mel_cache import tracks
from common.parallel import available_cores
from data_prep import mel_cache
from data_prep.batches import Batches, Crops, LabelledBatches, SiameseBatches, TrackSampler
from data_prep.mel import SEGMENT
from models import pretrained
from models.basic import build_basic
from models.encoder import build_encoder
from models.keras_backend import keras
from models.siamese import HingeLoss, build_siamese, within_margin
from training.checkpoints import TrainingRun
from training.data_placement import Placement
from training.devices import open_devices
from training.loop import Task, TrainingSchedule, fit

CACHED = 1000  # distinct songs in the cache
SONGS, VALID = 15, 3  # of an artist, for training and for validation
ARTISTS = 5000
SIZES = (500, 1000, 2000, 5000, 10000)  # artists of the comparison with the published way
BATCH, NEGATIVES = {"siamese": 15, "basic": 15, "agf": 64}, 4
STEPS = {"siamese": 400, "basic": 1000, "agf": 150}  # an epoch here; the papers' have 330 to 5,000
GENRES = 16
VALIDATED = {"siamese": True, "basic": True, "agf": False}  # as the papers do
ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for the comparison's table and plot")
    parser.add_argument("--only", choices=("bare", "published", "accelerator"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mel_cache.make_mel_cache(
            tracks(folder)[:CACHED], folder, folder / "c.h5", workers=available_cores()
        )
        cache = mel_cache.MelCache(folder / "c.h5")
        with open_devices(False) as found:
            print(f"on {found}", flush=True)
            lines = []
            if args.only in (None, "accelerator") and found.kind != "cpu":
                accelerator(cache, folder)
            if args.only in (None, "bare"):
                for kind in STEPS:
                    ratio = against_bare(kind, cache, folder)
                    lines.append(f"{kind}_of_bare_step {ratio:.3f}")
            if args.only in (None, "published"):
                ratio = against_published(cache, folder, args.out)
                lines.append(f"siamese_vs_published {ratio:.1f}")
    print(*lines, sep="\n")


# ---------------------------------------------------------------- what is trained


@dataclass(frozen=True, kw_only=True)
class Watched(Batches):
    """Batches that call `between` before the first of each epoch, and time the epochs."""

    of: Batches
    between: Callable[[int], None]
    began: dict
    ended: dict

    def places(self, epoch: int, number: int):
        if number == 0 and epoch not in self.began:
            self.ended[epoch - 1] = time.perf_counter()
            self.between(epoch)
            self.began[epoch] = time.perf_counter()
        return self.of.places(epoch, number)

    def _songs(self, drawn, rng):
        raise NotImplementedError


def batches_of(
    kind: str, cache: mel_cache.MelCache, artists: int, songs: int, steps: int, batch: int
) -> Batches:
    """Some steps' worth of anchors among all songs of so many artists."""
    artist = np.repeat(np.arange(artists), songs)
    ids = cache.track_id[np.arange(len(artist)) % CACHED]
    crops = Crops(cache, ids, group_networks.FRAMES if kind == "agf" else SEGMENT)
    anchors = np.random.default_rng(0).permutation(len(artist))[: steps * batch]
    if kind == "agf":
        labels = np.eye(GENRES, dtype=np.float32)[artist[anchors] % GENRES]
        return LabelledBatches(crops, anchors, batch, 0, labels=labels)
    if kind == "basic":
        return LabelledBatches(crops, anchors, batch, 0, labels=artist[anchors])
    sampler = TrackSampler.from_artists(artist, np.arange(len(artist)), NEGATIVES)
    return SiameseBatches(crops, anchors, batch, 0, sampler=sampler, negatives=NEGATIVES)


def model_of(kind: str, cache: mel_cache.MelCache, precision: str = "float32"):
    """A model, its loss and its metrics."""
    if kind == "agf":
        mean, std = (np.full(group_networks.BANDS, value) for value in (-40, 20))
        return (
            group_networks.build_training_model(group_networks.build_network(GENRES), mean, std),
            group_networks.LOSS,
            [],
        )
    encoder, norm = build_encoder(precision=precision), {"mean": cache.mean, "std": cache.std}
    if kind == "basic":
        model = build_basic(encoder, ARTISTS, "softmax", **norm)
        return model, "sparse_categorical_crossentropy", ["accuracy"]
    return build_siamese(encoder, NEGATIVES, **norm), HingeLoss(), [within_margin()]


RUNS = itertools.count()


def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
    """Write a model's weights as the scripts do."""
    (model,) = models
    if model.name == "on_log_mel":
        networks, flat = {"g": model.get_layer("network")}, np.ones(group_networks.BANDS)
        made = network_file.GroupNetworks(networks, 1.0, flat, flat, ["genre"] * GENRES, [])
        network_file.save_networks(path, made, made_from)
    else:
        pretrained.save_weights(path, model, mean=0.0, std=1.0, made_from=made_from)


def fit_seconds(
    kind: str,
    cache: mel_cache.MelCache,
    folder: Path,
    *,
    artists: int,
    steps: int,
    rounds: int,
    batch: int | None = None,
    data: str = "auto",
    precision: str = "float32",
    between: Callable[[int], None] = lambda epoch: None,
) -> list[float]:
    """Seconds of each epoch of `fit` but the first, which compiles."""
    batch = batch or BATCH[kind]
    train = batches_of(kind, cache, artists, SONGS, steps, batch)
    valid = None
    if VALIDATED[kind]:
        valid = batches_of(kind, cache, artists, VALID, steps * VALID // SONGS, batch)
    began, ended = {}, {}
    watched = Watched(
        train.crops, train.anchors, batch, 0, of=train, between=between, began=began, ended=ended
    )
    with open_devices(False) as found:
        placement = Placement.choose(found, train.crops, data)
        run = TrainingRun(folder / f"run{next(RUNS)}", {"name": "bench"}, save)
        schedule = TrainingSchedule(1e-4, rounds + 1, adam=kind == "agf")
        task = Task(*model_of(kind, cache, precision), watched, valid)
        fit([task], schedule, run, placement, found)
    ended[rounds] = time.perf_counter()
    return [ended[epoch] - began[epoch] for epoch in range(1, rounds + 1)]


# ---------------------------------------------------------------- against the bare step


def against_bare(kind: str, cache: mel_cache.MelCache, folder: Path) -> float:
    """Bare seconds over `fit`'s, for the same numbers of train and test steps."""
    steps = STEPS[kind]
    train, test = bare_steps(kind, cache)
    bare: list[float] = []

    def between(epoch: int) -> None:
        began = time.perf_counter()
        train(steps if epoch else 3)
        if VALIDATED[kind]:
            test(steps * VALID // SONGS if epoch else 3)
        if epoch:
            bare.append(time.perf_counter() - began)

    ours = fit_seconds(
        kind, cache, folder, artists=ARTISTS, steps=steps, rounds=ROUNDS, between=between
    )
    for ours_now, bare_now in zip(ours, bare, strict=True):
        print(
            f"{kind}: fit {steps * BATCH[kind] / ours_now:.0f} examples/s with its validation, "
            f"bare steps {steps * BATCH[kind] / bare_now:.0f}",
            flush=True,
        )
    return statistics.median(np.divide(bare, ours))


def bare_steps(kind: str, cache: mel_cache.MelCache) -> tuple[Callable, Callable]:
    """Functions that run n compiled train steps, and n test steps, on one resident batch."""
    model, loss, metrics = model_of(kind, cache)
    optimizer = TrainingSchedule(1e-4, 1, adam=kind == "agf").optimizer()
    model.compile(optimizer, loss, metrics=metrics)
    x, y = batches_of(kind, cache, ARTISTS, SONGS, 1, BATCH[kind])[0, 0]
    x, y = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        resident = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
        model.make_train_function()
        model.make_test_function()
        return tuple(
            lambda count, step=step: [step(resident) for _ in range(count)][-1]["loss"].numpy()
            for step in (model.train_function, model.test_function)
        )
    if keras.backend.backend() == "jax":
        import jax

        model.optimizer.build(model.trainable_variables)
        model.train_on_batch(x, y)  # builds the metrics
        model.test_on_batch(x, y)
        kinds = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        arrays = [[jax.numpy.array(one.value) for one in variables] for variables in kinds]
        states = {"train": tuple(arrays), "test": (arrays[0], arrays[1], arrays[3])}
        steps = {"train": jax.jit(model.train_step), "test": jax.jit(model.test_step)}

        def repeat(name: str, count: int) -> None:
            for _ in range(count):
                logs, states[name] = steps[name](states[name], (x, y))
            float(logs["loss"])

        return (lambda count: repeat("train", count)), (lambda count: repeat("test", count))
    import torch

    def test(count: int) -> None:
        with torch.no_grad():
            [model.test_step((x, y)) for _ in range(count)]

    return (lambda count: [model.train_step((x, y)) for _ in range(count)]), test


# ---------------------------------------------------------------- against the published way


def against_published(cache: mel_cache.MelCache, folder: Path, out: Path | None) -> float:
    """Ours over theirs at 5,000 artists; a table of all sizes, and a plot in `out`."""
    files = published.write_songs(cache, folder)
    towers = published.build_towers(cache.mean, cache.std)
    rows = []
    for artists in SIZES:
        theirs = published_speeds(towers, files, artists)
        seconds = fit_seconds("siamese", cache, folder, artists=artists, steps=100, rounds=3)
        theirs += published_speeds(towers, files, artists)
        ours = 100 * BATCH["siamese"] / statistics.median(seconds)
        row = {"artists": artists, "published": statistics.median(theirs), "ours": ours}
        rows.append({**row, "ratio": ours / row["published"]})
        print("{artists} artists: published {published:.1f}, ours {ours:.0f}".format(**rows[-1]))
        sys.stdout.flush()
    table = pd.DataFrame(rows)
    print(table.round(1).to_string(index=False))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        table.to_csv(out / "train_throughput.csv", index=False)
        plot(table, out / "train_throughput.png")
    return float(table.loc[table["artists"] == ARTISTS, "ratio"].iloc[0])


def published_speeds(towers: keras.Model, files: list[Path], artists: int) -> list[float]:
    """Examples/s of two epochs of a few steps, after one that compiles; two loading processes."""
    steps = max(8, 32 * 500 // artists)
    data = published.Songs(files, artists, SONGS, batch=BATCH["siamese"], steps=steps, workers=2)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        towers.fit(data, verbose=0, shuffle=False)
        seconds.append(time.perf_counter() - began)
    return [steps * BATCH["siamese"] / once for once in seconds[1:]]


def plot(table: pd.DataFrame, path: Path) -> None:
    """Examples/s against the number of artists, both axes logarithmic."""
    figure, axes = plt.subplots(figsize=(4.5, 3), layout="constrained")
    for name, marker in (("ours", "o"), ("published", "s")):
        axes.plot(table["artists"], table[name], marker=marker, label=name)
    axes.set(xscale="log", yscale="log", xlabel="artists", ylabel="examples/s, end to end")
    axes.set_xticks(table["artists"], [f"{number:,}" for number in table["artists"]])
    axes.set_yticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=200)


# ---------------------------------------------------------------- on an accelerator


def accelerator(cache: mel_cache.MelCache, folder: Path) -> None:
    """Print siamese examples/s, streamed and resident, float32 and mixed."""
    for batch, data, precision in itertools.product(
        (15, 240), ("stream", "resident"), ("float32", "mixed")
    ):
        seconds = fit_seconds(
            "siamese",
            cache,
            folder,
            artists=ARTISTS,
            steps=75_000 // batch,
            rounds=2,
            batch=batch,
            data=data,
            precision=precision,
        )
        speed = 75_000 / statistics.median(seconds)
        print(f"siamese, batch {batch}, {data}, {precision}: {speed:.0f} examples/s", flush=True)


if __name__ == "__main__":
    main()
