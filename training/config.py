"""Training settings, with the papers' values as defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training settings shared by all encoders.

    Attributes
    ----------
    epochs
        Maximum number of epochs.
    learning_rate
        Initial learning rate of SGD with Nesterov momentum.
    batch_size
        Number of anchor tracks per training step.
    dropout
        Rate of the dropout applied after the last activation. ismir2018 states 0.5 for all
        models, but the published training code that produced the released weights uses none.
    plateau
        Number of epochs without an improvement in validation loss after which the learning
        rate is multiplied by 0.2, or None to disable this rule. The papers do not state the
        number.
    patience
        Number of epochs without an improvement in validation loss after which training stops,
        or None to disable early stopping.
    max_artists
        Number of artists to train on, taken from the start of the split, or None for all.
    start_from
        Encoder to fine-tune: a weights file or the name of a released model.
    precision
        "float32", or "mixed" to compute the encoder in bfloat16.
    seed
        Random seed for the initial weights, dropout and batches.
    distribute
        Whether to divide each batch among all devices.
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

        An existing run is recognised as complete, or resumed, only if its record is identical.
        Existing runs use these key names, so add a new setting only if it changes the weights.
        `start_from` is recorded separately, through the provenance of the weights; see
        `training_inputs`.
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
    """Training settings of the basic and tag models (ismir2018, section 3.1).

    Attributes
    ----------
    labels
        "artist" for the basic model, or "tags" for the tag model.

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
    """Training settings of the siamese model (ismir2018, section 3.2).

    Attributes
    ----------
    negatives
        Number of tracks by other artists per anchor.
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
