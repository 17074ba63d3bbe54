"""Training settings, with the papers' values as defaults, the data, and the record of both.

Keras is not imported here, so that the scripts' --help stays fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from common import provenance
from common.errors import InputError
from data_prep import split_csv
from data_prep.batches import Crops
from data_prep.mel_cache import MelCache

# The papers' loss, and those in `models.metric_losses`.
SIAMESE_LOSSES = ("hinge", "semi-hard", "softmax", "supcon")
# Named settings of the siamese model; "paper" is the defaults.
SIAMESE_RECIPES: dict[str, dict] = {
    "paper": {},
    "best": {
        "learning_rate": 0.06,
        "schedule": "cosine",
        "encoder": "statistics",
        "loss": "supcon",
        "classification": 1.0,
        "positives": 5,
        "equal_level": True,
        "augment": ["masks"],
    },
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training settings shared by all encoders."""

    epochs: int = 1000  # maximum number of epochs
    learning_rate: float  # initial learning rate of SGD with Nesterov momentum
    batch_size: int = 15  # number of anchor tracks per training step
    # Rate of the dropout after the last activation. ismir2018 states 0.5 for all models, but the
    # published training code that produced the released weights uses none.
    dropout: float = 0.0
    # Number of epochs without an improvement in validation loss after which the learning rate is
    # multiplied by 0.2, or None. The papers do not state the number.
    plateau: int | None = 5
    schedule: str = "plateau"  # or "cosine", which lowers the learning rate to 0 over all epochs
    patience: int | None = None  # number of such epochs after which training stops, or None
    max_artists: int | None = None  # number of artists from the start of the split; None for all
    start_from: str | None = None  # encoder to fine-tune: a weights file or a released model
    encoder: str = "paper"  # kind of the encoder, see `models.encoder.build_encoder`
    equal_level: bool = False  # whether the level of the audio is removed; the papers keep it
    # Random changes of the segments; see `models.encoder.normalise`.
    augment: Sequence[str] = ()
    precision: str = "float32"  # or "mixed", to compute the encoder in bfloat16
    seed: int = 0  # random seed for the initial weights, dropout and batches
    distribute: bool = False  # whether to divide each batch among all devices
    data: str | float = "auto"  # see `training.data_placement.Placement.choose`
    steps_per_call: int | None = None
    given: frozenset[str] = frozenset()  # settings that the user gave; useless ones are refused

    def __post_init__(self) -> None:
        """Refuse settings that exclude each other."""
        if self.equal_level and "gain" in self.augment:
            raise InputError(
                "--augment gain: has no effect with --equal-level; leave it out, or use "
                "--no-equal-level"
            )
        remedy = "leave it out, or use --schedule plateau"
        plateau = "plateau" in self.given or self.plateau != type(self).plateau
        if self.schedule == "cosine" and plateau:
            raise InputError(f"--plateau: has no effect with --schedule cosine; {remedy}")
        if self.schedule == "cosine" and self.patience is not None:
            raise InputError(f"--patience: would stop before --schedule cosine ends; {remedy}")

    BEYOND_PAPERS: ClassVar[tuple[str, ...]] = ("encoder", "equal_level", "augment", "schedule")

    def record(self) -> dict:
        """Return the settings that determine the trained weights.

        An existing run is recognised as complete, or resumed, only if its record is identical.
        Existing runs use these key names, so add a new setting only if it changes the weights.
        `start_from` is recorded through the provenance of the weights; see `training_inputs`.
        """
        record: dict[str, Any] = {
            "epochs": self.epochs,
            "rate": self.learning_rate,
            "batch": self.batch_size,
            "dropout": self.dropout,
            "plateau": self.plateau,
            "patience": self.patience,
            "artists": self.max_artists,
            "precision": self.precision,
            "seed": self.seed,
            **self.beyond_papers(),
        }
        if self.schedule == "cosine":  # so that the run cannot be continued with more epochs
            record["schedule"] = f"cosine over {self.epochs} epochs, last weights"
        return record

    def beyond_papers(self) -> dict:
        """Return the settings that the papers do not have, where they are not at their default.

        Therefore, the record of a run with the papers' settings does not contain them.
        """
        values = {name: getattr(self, name) for name in self.BEYOND_PAPERS}
        values["augment"] = sorted({*self.augment})
        defaults = {name: getattr(type(self), name) for name in values} | {"augment": []}
        return {name: value for name, value in values.items() if value != defaults[name]}

    def name_model(self, kind: str) -> str:
        """Return the name of a model in results: its kind, a recipe's name, or neither."""
        changed = self.beyond_papers()
        if not changed:
            return kind
        for recipe, settings in SIAMESE_RECIPES.items():
            if changed == {name: settings[name] for name in settings if name in self.BEYOND_PAPERS}:
                return recipe
        return f"{kind}, own settings"


@dataclass(frozen=True, kw_only=True)
class BasicConfig(TrainingConfig):
    """Training settings of the basic and tag models (ismir2018, section 3.1).

    Examples
    --------
    >>> BasicConfig(epochs=10).learning_rate
    0.015
    """

    learning_rate: float = 0.015
    labels: str = "artist"  # or "tags", for the tag model
    loss: str = "softmax"  # or "am-softmax", see `models.basic.AdditiveMarginLoss`
    margin: float = 0.35  # margin m and scale s of "am-softmax"; the defaults are the reference's
    scale: float = 30.0

    BEYOND_PAPERS = (*TrainingConfig.BEYOND_PAPERS, "loss", "margin", "scale")

    def record(self) -> dict:
        """Return the settings that determine the trained weights."""
        return {**super().record(), "labels": self.labels}


@dataclass(frozen=True, kw_only=True)
class SiameseConfig(TrainingConfig):
    """Training settings of the siamese model (ismir2018, section 3.2)."""

    learning_rate: float = 0.1
    negatives: int = 4  # number of tracks by other artists per anchor
    margin: float = 0.4  # margin Δ of the hinge loss and of the semi-hard loss
    loss: str = "hinge"  # or one that compares all tracks of a batch, see `models.metric_losses`
    temperature: float = 0.1  # τ of the softmax and supcon losses
    classification: float = 0.0  # weight of the basic model's loss, added to any but the hinge
    positives: int = 1  # number of other tracks by the anchor's artist per anchor
    other_album: bool = False  # whether positives come from another album, where there is one
    same_genre: float = 0.0  # probability that the negatives of an anchor are of its genre

    BEYOND_PAPERS = (
        *TrainingConfig.BEYOND_PAPERS,
        *("loss", "temperature", "classification", "positives", "other_album", "same_genre"),
    )

    def record(self) -> dict:
        """Return the settings that determine the trained weights."""
        return {**super().record(), "negatives": self.negatives, "margin": self.margin}


@dataclass(frozen=True)
class TrainingData:
    """The tracks with which an encoder is trained and validated, and crops of them."""

    split: pd.DataFrame  # usable tracks of all subsets
    cache: MelCache
    used: np.ndarray  # (n,) rows of `split` in the training or validation subset
    crops: Crops  # of these n tracks
    train: np.ndarray  # positions of the training tracks among them
    valid: np.ndarray  # positions of the validation tracks among them

    @classmethod
    def read(cls, split_path: Path, cache_path: Path, max_artists: int | None) -> "TrainingData":
        """Read a split, except the tracks that failed when the mel cache was made."""
        cache = MelCache(cache_path)
        split = split_csv.read_usable_tracks(split_path, cache.failed, cache_path, max_artists)
        train, valid = (
            np.flatnonzero(split_csv.subset_mask(split, subset, split_path))
            for subset in ("train", "valid")
        )
        used = np.union1d(train, valid)
        crops = Crops(cache, split["track_id"].to_numpy(object)[used])
        positions = (np.searchsorted(used, rows) for rows in (train, valid))
        return cls(split, cache, used, crops, *positions)


def training_inputs(
    folder: Path,
    model: str,
    split: pd.DataFrame,
    cache: MelCache,
    settings: dict,
    start_from: dict | None = None,
) -> dict:
    """Return the inputs of a training run as JSON values, for its weights and feature files.

    The name of the run folder becomes the name of the weights. `settings` are those that determine
    the result; `start_from` is the provenance of the weights to fine-tune, if any.
    """
    inputs = {
        "name": folder.name,
        "model": model,
        "artists": None if model == "tag" else split["artist"].nunique(),
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
        "settings": settings,
    }
    return inputs if start_from is None else {**inputs, "start_from": start_from}


def training_artists(split: pd.DataFrame) -> list[str]:
    """Return the sorted names of the training artists."""
    return sorted(set(split.loc[split["subset"].eq("train"), "artist"]) - {""})
