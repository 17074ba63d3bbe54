"""The siamese model: are two songs by the same artist?"""

from data_prep.mel import SEGMENT
from models.encoder import BANDS, FEATURE, normalisation
from models.keras_backend import keras

layers, ops = keras.layers, keras.ops

NEGATIVES = 4
MARGIN = 0.4


def build_siamese(encoder: keras.Model, negatives: int, *, mean: float, std: float) -> keras.Model:
    """Cosine of an anchor with a positive and with each negative (ismir2018 section 3.2).

    All segments of a batch go through the encoder in ONE pass. The published
    code ran six towers that shared weights: the same function at test time; in
    training its batch normalisation took its statistics tower by tower, ours
    takes them over all segments of the batch.

    Returns
    -------
    keras.Model, (batch, 2 + negatives, 129, 128) log-mel, in the order anchor,
    positive, negatives -> (batch, 1 + negatives) cosines, positive first.
    """
    roles = 2 + negatives
    song_set = keras.Input((roles, SEGMENT, BANDS), name="anchor_positive_negatives")
    flat = ops.reshape(song_set, (-1, SEGMENT, BANDS))
    features = ops.reshape(encoder(normalisation(mean, std)(flat)), (-1, roles, FEATURE))
    unit = layers.UnitNormalization(axis=-1, name="unit")(features)
    cosines = ops.sum(unit[:, :1] * unit[:, 1:], axis=-1)
    return keras.Model(song_set, cosines, name="siamese")


class HingeLoss(keras.losses.Loss):
    """Sum over the negatives of max(0, Δ - R(A,O+) + R(A,O-)), ismir2018 equation 2.

    Takes the (batch, 1 + negatives) cosines of `build_siamese`; the true
    values are not used. The default reduction sums over the batch as the
    published code does, so that the papers' rate belongs to their batch of 15.
    """

    def __init__(self, margin: float = MARGIN, reduction: str = "sum", name: str = "hinge"):
        super().__init__(name=name, reduction=reduction)
        self.margin = margin

    def call(self, y_true, cosines):
        return ops.sum(ops.relu(self.margin - cosines[:, :1] + cosines[:, 1:]), axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin}


def within_margin(margin: float = MARGIN):
    """A metric: the share of negatives that still cost something, 0 when all is learned."""

    def negatives_within_margin(y_true, cosines):
        inside = cosines[:, 1:] > cosines[:, :1] - margin
        return ops.mean(ops.cast(inside, "float32"), axis=-1)

    return negatives_within_margin
