"""Compare training speed with the bare compiled step and with the published method.

    python bench/train_throughput.py [--out results/bench]

Every comparison uses as many tracks as the paper, mapped to 1,000 distinct tracks in the cache:

- `fit` as the scripts call it, end to end (crops, validation, logs and the files of each epoch),
  is compared with the same numbers of bare training and test steps on one batch in device memory;
  the two alternate epoch by epoch.
- The speed of siamese `fit`, in examples/s, is compared with that of the published method
  (bench/published.py) for 500 to 10,000 artists, in a table and a plot.
- On a CPU, the siamese speeds of the installed backends are compared with that of TensorFlow, in
  alternating processes. Without other programs beside it, a ratio by wall-clock time also shows how
  well a backend uses the cores; the ratio by CPU seconds does not depend on other programs.

On an accelerator, the siamese speed is also measured with streamed data and with half or all of the
frames on the device, in float32 and in mixed precision, and with JAX as many steps per call as by
default against one. The last lines printed are the speed ratios: the median over the rounds for the
bare step and the backends, and the ratio of medians for the published method.
"""

import argparse
import importlib.util
import itertools
import os
import statistics
import subprocess
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
from bench.mel_cache import make_tracks
from common import cli
from common.parallel import available_cores
from data_prep import mel_cache, mel_cache_writer
from data_prep.batches import Batches, Crops, LabelledBatches, SiameseBatches, TrackSampler
from data_prep.mel import SEGMENT
from models import pretrained
from models.basic import build_basic
from models.encoder import build_encoder
from models.keras_backend import keras
from models.siamese import HingeLoss, build_siamese, within_margin
from training.checkpoints import TrainingRun
from training.config import SiameseConfig
from training.data_placement import Placement
from training.devices import open_devices
from training.loop import Task, TrainingSchedule, fit

CACHED = 1000  # number of distinct tracks in the cache
TRACKS, VALID = 15, 3  # training and validation tracks per artist
ARTISTS = 5000
SIZES = (500, 1000, 2000, 5000, 10000)  # numbers of artists compared with the published method
BATCH, NEGATIVES = {"siamese": 15, "basic": 15, "agf": 64}, SiameseConfig.negatives
STEPS = {"siamese": 400, "basic": 1000, "agf": 150}  # steps per epoch; the papers use 330 to 5,000
GENRES = 16
VALIDATED = {"siamese": True, "basic": True, "agf": False}  # whether the paper uses validation
ROUNDS, ROUNDS_OF_BACKENDS = 9, 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="output folder for the table and plot")
    parser.add_argument("--only", choices=("bare", "published", "backends", "accelerator"))
    parser.add_argument("--speed", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.speed:
        print_speed(mel_cache.MelCache(args.speed / "c.h5"))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mel_cache_writer.make_mel_cache(
            make_tracks(folder, CACHED), folder, folder / "c.h5", workers=available_cores()
        )
        cache = mel_cache.MelCache(folder / "c.h5")
        with open_devices(False) as devices:
            print(f"on {devices}", flush=True)
            lines = []
            if args.only in (None, "accelerator") and devices.kind != "cpu":
                ratio = accelerator(cache, folder)
                if ratio:
                    lines.append(f"scan_vs_step {ratio:.1f}")
            if args.only in (None, "bare"):
                for kind in STEPS:
                    ratio = against_bare(kind, cache, folder)
                    lines.append(f"{kind}_of_bare_step {ratio:.3f}")
            if args.only in (None, "published"):
                ratio = against_published(cache, folder, args.out)
                lines.append(f"siamese_vs_published {ratio:.1f}")
            if args.only in (None, "backends") and devices.kind == "cpu":
                lines += compare_backends(folder)
    print(*lines, sep="\n")


# ---------------------------------------------------------------- models and batches


@dataclass(frozen=True, kw_only=True)
class TimedBatches(Batches):
    """Batches that call `between` before each epoch and record when epochs start and end."""

    batches: Batches
    between: Callable[[int], None]
    began: dict
    ended: dict

    def places(self, epoch: int, number: int):
        if number == 0 and epoch not in self.began:
            self.ended[epoch - 1] = time.perf_counter()
            self.between(epoch)
            self.began[epoch] = time.perf_counter()
        return self.batches.places(epoch, number)

    @property
    def crops_per_anchor(self):
        return self.batches.crops_per_anchor

    def _tracks(self, order, rng):
        return self.batches._tracks(order, rng)

    def _targets(self, order):
        return self.batches._targets(order)


def make_batches(
    kind: str, cache: mel_cache.MelCache, artists: int, tracks: int, steps: int, batch: int
) -> Batches:
    """Return batches for `steps` steps, drawing anchors from the tracks of `artists` artists."""
    artist = np.repeat(np.arange(artists), tracks)
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


def make_model(
    kind: str, cache: mel_cache.MelCache, precision: str = "float32"
) -> tuple[keras.Model, keras.losses.Loss | str, list]:
    """Return a model with its loss and metrics."""
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
    margin = SiameseConfig.margin
    return build_siamese(encoder, NEGATIVES, **norm), HingeLoss(margin), [within_margin(margin)]


RUNS = itertools.count()


def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
    """Write a model's weights as the training scripts do."""
    (model,) = models
    if model.name == "on_log_mel":
        networks, flat = {"g": model.get_layer("network")}, np.ones(group_networks.BANDS)
        groups = network_file.GroupNetworks(networks, 1.0, flat, flat, ["genre"] * GENRES, [])
        network_file.save_networks(path, groups, made_from)
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
    data: str | float = "auto",
    precision: str = "float32",
    steps_per_call: int | None = None,
    between: Callable[[int], None] = lambda epoch: None,
) -> list[float]:
    """Return the seconds that each `fit` epoch took, except the first, which compiles the model."""
    batch = batch or BATCH[kind]
    train = make_batches(kind, cache, artists, TRACKS, steps, batch)
    valid = None
    if VALIDATED[kind]:
        valid = make_batches(kind, cache, artists, VALID, steps * VALID // TRACKS, batch)
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    timed_batches = TimedBatches(
        train.crops,
        train.anchors,
        batch,
        0,
        batches=train,
        between=between,
        began=began,
        ended=ended,
    )
    with open_devices(False) as devices:
        placement = Placement.choose(devices, train, data, steps_per_call)
        run = TrainingRun(folder / f"run{next(RUNS)}", {"name": "bench"}, save)
        schedule = TrainingSchedule(1e-4, rounds + 1, adam=kind == "agf")
        task = Task(*make_model(kind, cache, precision), timed_batches, valid)
        fit([task], schedule, run, placement, devices)
    ended[rounds] = time.perf_counter()
    return [ended[epoch] - began[epoch] for epoch in range(1, rounds + 1)]


# ---------------------------------------------------------------- comparison with the bare step


def against_bare(kind: str, cache: mel_cache.MelCache, folder: Path) -> float:
    """Return the median ratio of bare-step time to `fit` time for equal numbers of steps."""
    steps = STEPS[kind]
    train, test = bare_steps(kind, cache)
    bare: list[float] = []

    def between(epoch: int) -> None:
        began = time.perf_counter()
        train(steps if epoch else 3)
        if VALIDATED[kind]:
            test(steps * VALID // TRACKS if epoch else 3)
        if epoch:
            bare.append(time.perf_counter() - began)

    ours = fit_seconds(
        kind, cache, folder, artists=ARTISTS, steps=steps, rounds=ROUNDS, between=between
    )
    for fit_now, bare_now in zip(ours, bare, strict=True):
        print(
            f"{kind}: fit {steps * BATCH[kind] / fit_now:.0f} examples/s with validation, "
            f"bare steps {steps * BATCH[kind] / bare_now:.0f}",
            flush=True,
        )
    return statistics.median(np.divide(bare, ours))


def bare_steps(kind: str, cache: mel_cache.MelCache) -> tuple[Callable, Callable]:
    """Return two functions that run n compiled training or test steps on a single batch."""
    model, loss, metrics = make_model(kind, cache)
    optimizer = TrainingSchedule(1e-4, 1, adam=kind == "agf").make_optimizer()
    model.compile(optimizer, loss, metrics=metrics)
    x, y = make_batches(kind, cache, ARTISTS, TRACKS, 1, BATCH[kind])[0, 0]
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
        model.train_on_batch(x, y)  # creates the metric variables
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


# ---------------------------------------------------------------- comparison with published method


def against_published(cache: mel_cache.MelCache, folder: Path, out: Path | None) -> float:
    """Return the speed ratio for 5,000 artists; write a table and a plot of all sizes."""
    files = published.write_tracks(cache, folder)
    towers = published.build_towers(cache.mean, cache.std)
    rows = []
    for artists in SIZES:
        published_speed = published_speeds(towers, files, artists)
        seconds = fit_seconds("siamese", cache, folder, artists=artists, steps=100, rounds=3)
        published_speed += published_speeds(towers, files, artists)
        ours = 100 * BATCH["siamese"] / statistics.median(seconds)
        row = {"artists": artists, "published": statistics.median(published_speed), "ours": ours}
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
    """Return the examples/s of two epochs after a warm-up epoch, with two loader processes."""
    steps = max(8, 32 * 500 // artists)
    data = published.PublishedBatches(
        files, artists, TRACKS, batch=BATCH["siamese"], steps=steps, workers=2
    )
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        towers.fit(data, verbose=0, shuffle=False)
        seconds.append(time.perf_counter() - began)
    return [steps * BATCH["siamese"] / once for once in seconds[1:]]


def plot(table: pd.DataFrame, path: Path) -> None:
    """Plot examples/s against the number of artists on logarithmic axes."""
    figure, axes = plt.subplots(figsize=(4.5, 3), layout="constrained")
    for name, marker in (("ours", "o"), ("published", "s")):
        axes.plot(table["artists"], table[name], marker=marker, label=name)
    axes.set(xscale="log", yscale="log", xlabel="artists", ylabel="examples/s, end to end")
    axes.set_xticks(table["artists"], [f"{number:,}" for number in table["artists"]])
    axes.set_yticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=200)


# ---------------------------------------------------------------- comparison of the backends


def compare_backends(folder: Path) -> list[str]:
    """Return lines with the siamese speed of each installed backend relative to TensorFlow's."""
    backends = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in backends}
    for _ in range(ROUNDS_OF_BACKENDS):
        for name in backends:
            command = [sys.executable, __file__, "--speed", str(folder)]
            environment = {**os.environ, "KERAS_BACKEND": name}
            out = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            wall, cpu = map(float, out.split()[-2:])
            seconds[name].append((wall, cpu))
            print(f"{name}: {1 / wall:.0f} examples/s, {cpu * 1e3:.2f} CPU ms each", flush=True)
    lines = []
    for name in backends[1:]:
        ratios = np.divide(seconds["tensorflow"], seconds[name])
        wall, cpu = np.median(ratios, axis=0)
        lines += [f"{name}_vs_tensorflow_by_cpu {cpu:.2f}", f"{name}_vs_tensorflow {wall:.2f}"]
    return lines


def print_speed(cache: mel_cache.MelCache) -> None:
    """Print the wall-clock and CPU seconds per example of siamese training with one backend."""
    steps, rounds = 60, 3
    used: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        seconds = fit_seconds(
            "siamese",
            cache,
            Path(name),
            artists=500,
            steps=steps,
            rounds=rounds,
            between=lambda epoch: used.append(time.process_time()),
        )
    examples = steps * BATCH["siamese"]
    cpu = (used[-1] - used[1]) / (len(used) - 2)
    print(statistics.median(seconds) / examples, cpu / examples)


# ---------------------------------------------------------------- measurements on an accelerator


def accelerator(cache: mel_cache.MelCache, folder: Path) -> float | None:
    """Print siamese examples/s by fraction of frames on the device, in float32 and mixed precision.

    Returns the ratio of the speeds with many steps per call and with one, for JAX.
    """

    def measure(
        batch: int, data: str | float, precision: str, steps_per_call: int | None = None
    ) -> float:
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
            steps_per_call=steps_per_call,
        )
        speed = 75_000 / statistics.median(seconds)
        one = ", one step per call" if steps_per_call == 1 else ""
        print(
            f"siamese, batch {batch}, {data}, {precision}{one}: {speed:.0f} examples/s", flush=True
        )
        return speed

    places = ("stream", 0.5, "resident")
    speeds = {
        case: measure(*case) for case in itertools.product((15, 240), places, ("float32", "mixed"))
    }
    if keras.backend.backend() != "jax":
        return None
    case = (15, "resident", "float32")
    return speeds[case] / measure(*case, steps_per_call=1)


if __name__ == "__main__":
    cli.run_script(main)
