"""The siamese model of ismir2018, trained to tell whether two tracks share an artist."""

from collections.abc import Callable

from data_prep.mel import SEGMENT
from models.architecture import BANDS, EMBEDDING
from models.encoder import normalise
from models.keras_backend import keras

layers, ops = keras.layers, keras.ops


def build_siamese(
    encoder: keras.Model, negatives: int, *, mean: float, std: float, **options
) -> keras.Model:
    """Return a model of the cosines R(A,O) between an anchor and its positive and negatives.

    All segments of a batch pass through the encoder at once (ismir2018, section 3.2). The
    published code has six towers that share weights. Both compute the same function at test
    time, but during training, batch normalisation computes its statistics per tower in the
    published code and over all segments here.

    The input is normalised by `models.encoder.normalise`, which takes the other options. The
    model maps log-mels (batch, 2 + negatives, 129, 128), ordered as anchor, positive and
    negatives, to cosines (batch, 1 + negatives) with the positive first.
    """
    roles = 2 + negatives
    segments = keras.Input((roles, SEGMENT, BANDS), name="anchor_positive_negatives")
    flat = ops.reshape(segments, (-1, SEGMENT, BANDS))
    embeddings = encoder(normalise(flat, mean, std, **options))
    embeddings = ops.reshape(embeddings, (-1, roles, EMBEDDING))
    unit = layers.UnitNormalization(axis=-1, name="unit")(embeddings)
    cosines = ops.sum(unit[:, :1] * unit[:, 1:], axis=-1)
    return keras.Model(segments, cosines, name="siamese")


class HingeLoss(keras.losses.Loss):
    """Sum of max(0, Δ - R(A,O+) + R(A,O-)) over the negatives (ismir2018, equation 2).

    The predictions are the (batch, 1 + negatives) cosines from `build_siamese`; the targets are
    ignored. As in the published code, the loss is summed over the batch, so the papers' learning
    rate is tied to their batch size of 15.
    """

    def __init__(self, margin: float):
        super().__init__(reduction="sum", name="hinge")
        self.margin = margin

    def call(self, y_true, cosines):
        """Return the loss per anchor, with shape (batch,)."""
        return ops.sum(ops.relu(self.margin - cosines[:, :1] + cosines[:, 1:]), axis=-1)


def within_margin(margin: float) -> Callable:
    """Return a metric function for the fraction of negatives within the margin (loss > 0)."""

    def negatives_within_margin(y_true, cosines):
        inside = cosines[:, 1:] > cosines[:, :1] - margin
        return ops.mean(ops.cast(inside, "float32"), axis=-1)

    return negatives_within_margin
