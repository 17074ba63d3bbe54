"""The settings of a training, with the papers' values as defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings that the trainings of all encoders share.

    Attributes
    ----------
    epochs
        Maximum number of epochs.
    learning_rate
        Initial learning rate of SGD with Nesterov momentum.
    batch_size
        Anchor tracks per training step.
    dropout
        Dropout rate after the last activation. ismir2018 says 0.5 for all models; the
        published training code, which made the released weights, applies none.
    plateau
        Epochs without a lower validation loss after which the learning rate is multiplied
        by 0.2, or None to keep it. The papers do not give the number.
    patience
        Epochs without a lower validation loss after which training stops, or None.
    max_artists
        Number of artists to train on, the first ones of the split, or None for all.
    start_from
        Encoder to fine-tune: a weights file, or the name of a released model.
    precision
        "float32", or "mixed" to compute the encoder in bfloat16.
    seed
        Random seed of the initial weights, the dropout and the batches.
    distribute
        Whether to share each batch among all devices.
    data, steps_per_call
        See `training.data_placement.Placement.choose`.
    """

    epochs: int = 1000
    learning_rate: float
    batch_size: int = 15
    dropout: float = 0.0
    plateau: int | None = 5
    patience: int | None = None
    max_artists: int | None = None
    start_from: str | None = None
    precision: str = "float32"
    seed: int = 0
    distribute: bool = False
    data: str = "auto"
    steps_per_call: int | None = None

    def record(self) -> dict:
        """Return the settings that determine the trained weights.

        A run is complete, or resumes, only with the same record. The key names are those
        of all runs so far, so a new setting belongs here only if it changes the weights.
        `start_from` is recorded by the content of the weights, see `training_inputs`.
        """
        return {
            "epochs": self.epochs,
            "rate": self.learning_rate,
            "batch": self.batch_size,
            "dropout": self.dropout,
            "plateau": self.plateau,
            "patience": self.patience,
            "artists": self.max_artists,
            "precision": self.precision,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class BasicConfig(TrainingConfig):
    """The settings of the basic model and of the tag model (ismir2018, section 3.1).

    Attributes
    ----------
    labels
        "artist" for the basic model, or "tags".

    Examples
    --------
    >>> BasicConfig(epochs=10).learning_rate
    0.015
    """

    learning_rate: float = 0.015
    labels: str = "artist"

    def record(self) -> dict:
        """Return the settings that determine the trained weights."""
        return {**super().record(), "labels": self.labels}


@dataclass(frozen=True, kw_only=True)
class SiameseConfig(TrainingConfig):
    """The settings of the siamese model (ismir2018, section 3.2).

    Attributes
    ----------
    negatives
        Tracks of other artists per anchor.
    margin
        Margin Δ of the hinge loss.

    Examples
    --------
    >>> SiameseConfig(epochs=10).margin
    0.4
    """

    learning_rate: float = 0.1
    negatives: int = 4
    margin: float = 0.4

    def record(self) -> dict:
        """Return the settings that determine the trained weights."""
        return {**super().record(), "negatives": self.negatives, "margin": self.margin}
