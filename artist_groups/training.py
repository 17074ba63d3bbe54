"""The runs of agf2018: networks of single tasks, of several, wide ones; and the MLP on each set.

A *run* is a kind of network with a set of tasks, such as an MTN of `gs`. Its folder gets
model.h5, its networks with the classifier on their features, and features.h5, what they
say of all tracks of the cache. The networks themselves are trained in its folder
`networks`; an STN run of several tasks takes those of the single ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from artist_groups import group_networks, network_file
from artist_groups.classifier import Segments, predict_tracks, train_mlp
from artist_groups.network_file import GroupNetworks
from artist_groups.task_sets import Targets, TaskSet
from artist_groups.topics import GroupsFile
from common import cli, feature_file, provenance
from common.arrays import concatenate_on_disk
from common.errors import InputError
from data_prep.batches import Crops, LabelledBatches
from data_prep.mel_cache import MelCache
from models.embeddings import segment_outputs
from models.keras_backend import keras
from training.checkpoints import TrainingRun
from training.data_placement import Placement
from training.devices import Devices
from training.inputs import training_artists, training_inputs
from training.loop import Task, TrainingSchedule, fit


@dataclass(frozen=True)
class GroupTrainingConfig:
    """How the networks and the MLP are trained; the paper's values.

    Attributes
    ----------
    epochs
        Of an STN and a wSTN.
    mtn_epochs
        Of an MTN, one task in each, whatever the number of tasks.
    mlp_epochs
        Of the MLP.
    batch, rate, seed
        Of all.
    """

    epochs: int = 200
    mtn_epochs: int = 1000
    mlp_epochs: int = 50
    batch: int = 64
    rate: float = 1e-3
    seed: int = 0

    def of_networks(self, kind: str) -> dict:
        """What decides how networks come out."""
        epochs = self.mtn_epochs if kind == "mtn" else self.epochs
        return {"epochs": epochs, "batch": self.batch, "rate": self.rate, "seed": self.seed}


@dataclass(frozen=True)
class Experiment:
    """All runs on one split.

    Attributes
    ----------
    out
        Folder of the runs' folders.
    train
        The tracks to learn from, rows of a split.
    genres, targets
        See `labels.agf_targets`.
    prepared
        The artist groups, and the bands' mean and deviation, of the same split.
    data, steps
        See `Placement.choose`.
    """

    out: Path
    train: pd.DataFrame
    genres: Sequence[str]
    targets: Mapping[str, Targets]
    cache: MelCache
    prepared: GroupsFile
    settings: GroupTrainingConfig
    devices: Devices
    data: str = "auto"
    steps: int | None = None

    @cached_property
    def _crops(self) -> Crops:
        return Crops(self.cache, self.train["track_id"].to_numpy(object), group_networks.FRAMES)

    def make(self, runs: Sequence[TaskSet]) -> None:
        """Make all these runs, passing over those that are complete."""
        of_single_tasks: dict[str, Segments] = {}  # which several runs take
        for run in runs:
            for one in run.parts:
                self._train_networks(one)
            if self._is_complete(run):
                print(f"{self._folder(run)}: complete already")
                continue
            networks = self._networks(run)
            found = of_single_tasks if run.kind == "stn" else {}
            for task, network in networks.networks.items():
                if task not in found:
                    found[task] = self._segments(networks, network)
            self._transfer(run, networks, [found[task] for task in networks.networks])
            keras.utils.clear_session()

    # ------------------------------------------------------------ networks

    def _folder(self, run: TaskSet) -> Path:
        return self.out / f"{run.name}_{self.settings.seed}"

    def _inputs(self, run: TaskSet, settings: dict) -> dict:
        train = self.train
        made = training_inputs(self._folder(run), run.model, train, self.cache, settings)
        return {**made, "groups": self.prepared.inputs}

    def _train_networks(self, run: TaskSet) -> None:
        inputs = self._inputs(run, self.settings.of_networks(run.kind))
        width = self._width(run)
        tasks = "g" if run.kind == "wstn" else run.tasks

        def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
            inside = (model.get_layer("network") for model in models)
            networks = dict(zip(tasks, inside, strict=True))
            network_file.save_networks(path, self._made(networks, width), made_from)

        folder = TrainingRun(self._folder(run) / "networks", inputs, save)
        if folder.is_complete():
            return
        keras.utils.set_random_seed(self.settings.seed)
        first = group_networks.build_first_block(width)
        fitted = [
            Task(
                group_networks.build_training_model(
                    group_networks.build_network(shares.shape[1], width=width, first=first),
                    self.prepared.mean,
                    self.prepared.std,
                ),
                group_networks.LOSS,
                [],
                LabelledBatches(
                    self._crops,
                    tracks,
                    self.settings.batch,
                    self.settings.seed,
                    labels=shares,
                ),
            )
            for tracks, shares in (self.targets[task] for task in tasks)
        ]
        epochs = inputs["settings"]["epochs"]
        # agf2018: "each epoch trains one task drawn at random".
        turns = np.random.default_rng([self.settings.seed, len(tasks)]).integers(
            len(tasks), size=epochs
        )
        placement = Placement.choose(self.devices, self._crops, self.data, self.steps)
        schedule = TrainingSchedule(self.settings.rate, epochs, adam=True)
        fit(fitted, schedule, folder, placement, self.devices, turn=lambda epoch: int(turns[epoch]))
        keras.utils.clear_session()

    def _width(self, run: TaskSet) -> float:
        """Of a wSTN: that at which it has as many weights as the STNs of the tasks."""
        if run.kind != "wstn":
            return 1.0
        genres, groups = len(self.genres), len(next(iter(self.prepared.groups.values())).topics)
        others = (len(run.tasks) - 1) * group_networks.count_parameters(groups)
        return group_networks.find_width(group_networks.count_parameters(genres) + others, genres)

    def _made(self, networks: dict[str, keras.Model], width: float) -> GroupNetworks:
        mean, std = self.prepared.mean, self.prepared.std
        heard = training_artists(self.train)
        return GroupNetworks(networks, width, mean, std, self.genres, heard)

    def _networks(self, run: TaskSet) -> GroupNetworks:
        found = [network_file.load_networks(path) for path in self._files(run)]
        together = {task: net for one in found for task, net in one.networks.items()}
        return replace(found[0], networks=together)

    def _files(self, run: TaskSet) -> list[Path]:
        return [self._folder(one) / "networks" / "last.h5" for one in run.parts]

    # ------------------------------------------------------------ transfer

    def _segments(self, networks: GroupNetworks, network: keras.Model) -> Segments:
        """The features of a network in all segments of all tracks of the cache."""
        model = group_networks.build_feature_model([network], networks.mean, networks.std)
        mels = (self.cache[track] for track in self.cache.track_id)
        found = segment_outputs(model, mels)
        with cli.progress_bar(found, total=len(self.cache), desc="features", unit="track") as rows:
            return Segments(*concatenate_on_disk(rows, self.out))

    def _model_inputs(self, run: TaskSet) -> dict:
        settings = self.settings.of_networks(run.kind) | {"mlp_epochs": self.settings.mlp_epochs}
        made = [network_file.read_network_inputs(path) for path in self._files(run)]
        return {**self._inputs(run, settings), "networks": made}

    def _feature_inputs(self, model: Path) -> dict:
        cache = {"cache": self.cache.made_from["inputs"]}
        return {"weights": network_file.describe_networks(model), "input": cache}

    def _is_complete(self, run: TaskSet) -> bool:
        model, features = (self._folder(run) / name for name in ("model.h5", "features.h5"))
        if not model.exists():
            return False
        provenance.require_same(
            model, network_file.read_network_inputs(model), self._model_inputs(run)
        )
        if not features.exists():
            return False
        found = feature_file.read_feature_inputs(features)
        provenance.require_same(features, found, self._feature_inputs(model))
        return True

    def _transfer(self, run: TaskSet, networks: GroupNetworks, parts: Sequence[Segments]) -> None:
        """Train the MLP on the networks' features; write model.h5, then features.h5."""
        model, features = (self._folder(run) / name for name in ("model.h5", "features.h5"))
        genre = self.targets["g"]
        tracks = self.cache.rows(self.train["track_id"].to_numpy(object)[genre.tracks])
        mlp, loss = train_mlp(
            parts,
            tracks,
            genre.distributions,
            epochs=self.settings.mlp_epochs,
            batch=self.settings.batch,
            rate=self.settings.rate,
            seed=self.settings.seed,
            name=run.model,
        )
        if not np.isfinite(loss):
            raise InputError(
                f"{self._folder(run)}: the loss of the MLP is no longer a number; train with a "
                "lower --rate into another folder"
            )
        network_file.save_networks(
            model, replace(networks, mlp=mlp), provenance.make_record(self._model_inputs(run))
        )
        rows, probabilities = predict_tracks(parts, mlp)
        made = feature_file.Features(
            rows,
            self.cache.track_id,
            self.cache.failed,
            self._feature_inputs(model),
            networks.trained_on,
            networks.genres,
            probabilities,
        )
        feature_file.write_features(features, made)
        print(f"{self._folder(run)}: complete, last loss of the MLP {loss:.4f}")
