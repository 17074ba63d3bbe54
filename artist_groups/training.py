"""agf2018 runs: train the networks for a task set, then the genre classifier on their features.

Each run writes three outputs to its run folder:

- networks/: checkpoints from network training (`training.checkpoints`); an STN run with several
  tasks uses the networks of the single-task runs instead;
- model.h5: the networks and the classifier on their features (`network_file`);
- features.h5: features and genre probabilities for all tracks in the cache.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from artist_groups import group_networks, network_file
from artist_groups.classifier import Segments, predict_tracks, train_mlp
from artist_groups.group_networks import FRAMES, LOSS, count_parameters
from artist_groups.network_file import GroupNetworks
from artist_groups.task_sets import GroupTrainingConfig, Targets, TaskSet
from artist_groups.topics import GroupsFile
from common import cli, feature_file, provenance
from common.arrays import concatenate_on_disk
from common.errors import InputError
from data_prep.batches import Crops, LabelledBatches
from data_prep.mel_cache import MelCache
from models.embeddings import segment_outputs
from models.keras_backend import keras
from training.checkpoints import TrainingRun, without_epochs
from training.config import training_artists, training_inputs
from training.data_placement import Placement
from training.devices import Devices
from training.loop import Task, TrainingSchedule, fit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """All runs on one split; see `train`."""

    out: Path  # parent folder of the run folders
    tracks: pd.DataFrame  # training tracks, as rows of the split
    genres: Sequence[str]  # `genres` and `targets` are from `task_sets.group_targets`
    targets: Mapping[str, Targets]
    cache: MelCache  # contains the tracks of the split
    groups: GroupsFile  # learned from the split
    config: GroupTrainingConfig
    devices: Devices

    def train(self, runs: Sequence[TaskSet]) -> None:
        """Train the given runs; skip runs that are already complete.

        Raises `InputError` if a run folder was made from different inputs, or if a loss became NaN
        or infinite.
        """
        single_tasks: dict[str, Segments] = {}  # features of single-task networks, for all STN runs
        for run in runs:
            for part in run.parts:
                self._train_networks(part)
            if self._is_complete(run):
                logger.info("%s: already complete", self._folder(run))
                continue
            networks = self._load_networks(run)
            segments = single_tasks if run.kind == "stn" else {}
            for task, network in networks.networks.items():
                if task not in segments:
                    segments[task] = self._compute_segments(networks, network)
            self._train_classifier(run, networks, [segments[task] for task in networks.networks])
            keras.utils.clear_session()

    def _folder(self, run: TaskSet) -> Path:
        return self.out / f"{run.name}_{self.config.seed}"

    def _inputs(self, run: TaskSet, settings: dict) -> dict:
        inputs = training_inputs(self._folder(run), run.model, self.tracks, self.cache, settings)
        return {**inputs, "groups": self.groups.inputs}

    def _train_networks(self, run: TaskSet) -> None:
        """Train the networks of a run; each epoch trains the network for one task."""
        tasks, width = "g" if run.kind == "wstn" else run.tasks, self._width(run)
        mean, std = self.groups.mean, self.groups.std
        config, record = self.config, self.config.record(run.kind)

        def save(path: Path, models: Sequence[keras.Model], made_from: dict) -> None:
            networks = {
                task: model.get_layer("network") for task, model in zip(tasks, models, strict=True)
            }
            artists = training_artists(self.tracks)
            content = GroupNetworks(networks, width, mean, std, self.genres, artists)
            network_file.save_networks(path, content, made_from)

        training = TrainingRun(self._folder(run) / "networks", self._inputs(run, record), save)
        if training.is_complete():
            return
        keras.utils.set_random_seed(config.seed)
        crops = Crops(self.cache, self.tracks["track_id"].to_numpy(object), FRAMES)
        outputs = {task: self.targets[task].distributions.shape[1] for task in tasks}
        fitted = []
        for task, network in group_networks.build_mtn(outputs, width).items():
            model = group_networks.build_training_model(network, mean, std)
            tracks, labels = self.targets[task]
            batch_size, seed = config.batch_size, config.seed
            batches = LabelledBatches(crops, tracks, batch_size, seed, labels=labels)
            fitted.append(Task(model, LOSS, [], batches))
        # agf2018: "each epoch trains one task drawn at random".
        rng = np.random.default_rng([config.seed, len(tasks)])
        order = rng.integers(len(tasks), size=record["epochs"]).tolist()
        data = config.data, config.steps_per_call
        placement = Placement.choose(self.devices, fitted[0].train, *data)
        schedule = TrainingSchedule(config.learning_rate, record["epochs"], adam=True)
        fit(fitted, schedule, training, placement, self.devices, task_order=order)
        keras.utils.clear_session()

    def _width(self, run: TaskSet) -> float:
        """Return the width that gives a wSTN as many weights as its tasks' STNs; 1 if no wSTN."""
        if run.kind != "wstn":
            return 1.0
        genres, groups = len(self.genres), len(next(iter(self.groups.groups.values())).topics)
        others = (len(run.tasks) - 1) * count_parameters(groups)
        return group_networks.find_width(count_parameters(genres) + others, genres)

    def _network_files(self, run: TaskSet) -> list[Path]:
        return [self._folder(part) / "networks" / "last.h5" for part in run.parts]

    def _load_networks(self, run: TaskSet) -> GroupNetworks:
        parts = [network_file.load_networks(path) for path in self._network_files(run)]
        networks = {task: network for part in parts for task, network in part.networks.items()}
        return replace(parts[0], networks=networks)

    def _compute_segments(self, networks: GroupNetworks, network: keras.Model) -> Segments:
        """Compute a network's features for all segments of all tracks in the cache."""
        model = group_networks.build_feature_model([network], networks.mean, networks.std)
        outputs = segment_outputs(model, (self.cache[track] for track in self.cache.track_id))
        with cli.progress_bar(outputs, total=len(self.cache), desc="features", unit="track") as bar:
            return Segments(*concatenate_on_disk(bar, self.out))

    def _model_inputs(self, run: TaskSet) -> dict:
        settings = {**self.config.record(run.kind), "mlp_epochs": self.config.mlp_epochs}
        networks = [network_file.read_network_inputs(path) for path in self._network_files(run)]
        return {**self._inputs(run, settings), "networks": networks}

    def _feature_inputs(self, model: Path) -> dict:
        cache = {"cache": self.cache.made_from["inputs"]}
        return {"weights": network_file.describe_networks(model), "input": cache}

    def _is_complete(self, run: TaskSet) -> bool:
        """Return whether model.h5 and features.h5 exist; raise `InputError` if inputs differ."""
        model, features = (self._folder(run) / name for name in ("model.h5", "features.h5"))
        if not model.exists():
            return False
        recorded, inputs = network_file.read_network_inputs(model), self._model_inputs(run)
        if provenance.list_differences(recorded, inputs):
            provenance.require_same(model, *map(without_epochs, (recorded, inputs)))
            features.unlink(missing_ok=True)  # made from networks with fewer epochs
            return False
        if features.exists():
            recorded = feature_file.read_feature_inputs(features)
            provenance.require_same(features, recorded, self._feature_inputs(model))
        return features.exists()

    def _train_classifier(
        self, run: TaskSet, networks: GroupNetworks, parts: Sequence[Segments]
    ) -> None:
        """Train the MLP on the networks' features; write model.h5, then features.h5."""
        folder = self._folder(run)
        tracks, labels = self.targets["g"]
        mlp, loss = train_mlp(
            parts,
            self.cache.rows(self.tracks["track_id"].to_numpy(object)[tracks]),
            labels,
            self.config,
            run.model,
        )
        if not np.isfinite(loss):
            problem = "training of the MLP diverged (loss is NaN or infinite)"
            raise InputError(f"{folder}: {problem}; use a lower --learning-rate and a new --out")
        model = folder / "model.h5"
        record = provenance.make_record(self._model_inputs(run))
        network_file.save_networks(model, replace(networks, mlp=mlp), record)
        features, probabilities = predict_tracks(parts, mlp)
        content = feature_file.Features(
            features,
            self.cache.track_id,
            self.cache.failed,
            self._feature_inputs(model),
            networks.trained_on,
            networks.genres,
            probabilities,
        )
        feature_file.write_features(folder / "features.h5", content)
        logger.info("%s: complete, last loss of the MLP %.4f", folder, loss)
