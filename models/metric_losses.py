"""Losses that compare all tracks of a batch, beyond ismir2018: softmax, contrastive, semi-hard.

The papers compare an anchor with one positive and four negatives. Here a batch consists of P
anchors with K tracks each by their artists, and each of its n = P K tracks is compared with all
others: those by its artist are its positives, and all tracks by other artists its negatives. A
step that computes as many embeddings as one of the papers' therefore sees many times as many
negatives.

The predictions are unit-length embeddings (P, K, d) from `build_in_batch`, and the targets are the
numbers of the anchors' artists, (P,). Anchors may share an artist. Each loss has the shape (P, K),
one value per track, and is averaged over the batch. With several devices, TensorFlow compares
the tracks on each device with each other, and JAX those of the whole batch.

`JointLoss` adds the basic model's loss to one of these. The predictions then also contain the
logits of all artists, (P, K, 256 + artists).
"""

import abc
from collections.abc import Callable

from data_prep.mel import SEGMENT
from models.architecture import BANDS, EMBEDDING
from models.encoder import normalise
from models.keras_backend import keras

layers, ops = keras.layers, keras.ops


def build_in_batch(
    encoder: keras.Model, *, mean: float, std: float, artists: int = 0, **options
) -> keras.Model:
    """Return a model of the unit-length embeddings of anchors and their positives.

    It maps log-mels (P, K, 129, 128), normalised by `models.encoder.normalise`, to (P, K, 256). If
    the number of artists is given, the logits of the basic model's softmax follow each embedding.
    """
    segments = keras.Input((None, SEGMENT, BANDS), name="anchor_and_positives")
    flat = ops.reshape(segments, (-1, SEGMENT, BANDS))
    embeddings = encoder(normalise(flat, mean, std, **options))
    outputs = layers.UnitNormalization(axis=-1, name="unit")(embeddings)
    if artists:
        logits = layers.Dense(artists, name="classes")(embeddings)
        outputs = layers.Concatenate(name="unit_and_classes")([outputs, logits])
    by_anchor = _GroupByAnchor(name="by_anchor")(outputs, segments)
    return keras.Model(segments, by_anchor, name="siamese")


class _GroupByAnchor(keras.layers.Layer):
    """Reshape (P K, d) outputs to (P, K, d); validation batches may have another K."""

    def call(self, outputs, segments):
        return ops.reshape(outputs, (-1, ops.shape(segments)[1], outputs.shape[-1]))


def make_loss(
    name: str, *, margin: float, temperature: float, classification: float = 0.0
) -> keras.losses.Loss:
    """Return a loss by its name on the command line; each takes one of the first two numbers.

    `classification` is the weight of the basic model's loss, for `JointLoss`.
    """
    loss: InBatchLoss
    if name == "semi-hard":
        loss = SemiHardLoss(margin)
    else:
        loss = {"softmax": SoftmaxLoss, "supcon": SupConLoss}[name](temperature)
    return JointLoss(loss, classification) if classification else loss


class InBatchLoss(keras.losses.Loss, abc.ABC):
    """A loss over the cosines between all tracks of a batch; see the module."""

    def __init__(self, name: str):
        super().__init__(name=name)

    def call(self, y_true, embeddings):
        """Return the loss of each track, (P, K)."""
        cosines, positive, negative = compare_tracks(y_true, embeddings)
        losses = self.track_losses(cosines, positive, negative)
        return ops.reshape(losses, ops.shape(embeddings)[:2])

    @abc.abstractmethod
    def track_losses(self, cosines, positive, negative):
        """Return (n,) losses from the cosines and the masks of the pairs, each (n, n)."""


class JointLoss(keras.losses.Loss):
    """Sum of an in-batch loss and, with a weight, the basic model's softmax loss over all artists.

    The batch holds few of the artists, but the softmax compares with all of them; the in-batch loss
    makes embeddings comparable by cosine, which the softmax alone does not.
    """

    def __init__(self, in_batch: InBatchLoss, weight: float):
        super().__init__(name=f"{in_batch.name}_and_classification")
        self.in_batch, self.weight = in_batch, weight

    def call(self, y_true, outputs):
        """Return the loss of each track, (P, K), from unit-length embeddings and logits."""
        logits = outputs[..., EMBEDDING:]
        artist = ops.repeat(ops.reshape(y_true, (-1, 1)), ops.shape(logits)[1], axis=1)
        classification = keras.losses.sparse_categorical_crossentropy(
            ops.cast(artist, "int32"), logits, from_logits=True
        )
        in_batch = self.in_batch.call(y_true, outputs[..., :EMBEDDING])
        return in_batch + self.weight * classification


class SoftmaxLoss(InBatchLoss):
    """Softmax over each positive and all negatives, which ismir2018 could not train.

    For a track i, with P(i) its positives, N(i) its negatives, R the cosine and τ the temperature,

        L_i = - 1/|P(i)| Σ_p log [e^(R_ip/τ) / (e^(R_ip/τ) + Σ_{n in N(i)} e^(R_in/τ))]

    Equation 1 of ismir2018 lacks the temperature (τ = 1), so that the loss of a perfect embedding
    stays close to that of a random one. Reference: Sohn, *Improved Deep Metric Learning with
    Multi-class N-pair Loss Objective*, NIPS 2016; the temperature is that of Chen et al., *A Simple
    Framework for Contrastive Learning of Visual Representations*, ICML 2020.
    """

    def __init__(self, temperature: float):
        super().__init__(name="softmax")
        self.temperature = temperature

    def track_losses(self, cosines, positive, negative):
        """Return (n,) losses."""
        logits = cosines / self.temperature
        negatives = _log_sum(logits, negative)
        log_ratios = logits - ops.logaddexp(logits, negatives)
        return -_masked_mean(log_ratios, positive)


class SupConLoss(InBatchLoss):
    """Supervised contrastive loss: like `SoftmaxLoss`, but positives compete with each other.

        L_i = - 1/|P(i)| Σ_p log [e^(R_ip/τ) / Σ_{a != i} e^(R_ia/τ)]

    Reference: Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020, equation 2.
    """

    def __init__(self, temperature: float):
        super().__init__(name="supcon")
        self.temperature = temperature

    def track_losses(self, cosines, positive, negative):
        """Return (n,) losses."""
        logits = cosines / self.temperature
        others = _log_sum(logits, ops.logical_or(positive, negative))
        return -_masked_mean(logits - others, positive)


class SemiHardLoss(InBatchLoss):
    """The papers' hinge loss, over the semi-hard negatives of a batch.

    A negative is semi-hard for a pair of track and positive if its cosine is lower than the
    positive's, but by less than the margin Δ. The loss of a pair is the mean of Δ - R_ip + R_in
    over its semi-hard negatives or, if it has none, max(0, Δ - R_ip + R_in) for the hardest one, so
    that a collapsed embedding has a loss too. That of a track is the mean over its positives.
    Reference: Schroff et al., *FaceNet: A Unified Embedding for Face Recognition and Clustering*,
    CVPR 2015, section 3.2.
    """

    def __init__(self, margin: float):
        super().__init__(name="semi_hard")
        self.margin = margin

    def track_losses(self, cosines, positive, negative):
        """Return (n,) losses."""
        gaps = cosines[:, :, None] - cosines[:, None, :]  # (track, positive, negative)
        # Without negatives, a gap of 2 + Δ, which cosines cannot reach, has no loss.
        gaps = ops.where(negative[:, None, :], gaps, 2 + self.margin)
        semi_hard = ops.cast(ops.logical_and(gaps > 0, gaps < self.margin), cosines.dtype)
        count = ops.sum(semi_hard, axis=2)
        mean = ops.sum((self.margin - gaps) * semi_hard, axis=2) / ops.maximum(count, 1)
        hardest = ops.relu(self.margin - ops.min(gaps, axis=2))
        return _masked_mean(ops.where(count > 0, mean, hardest), positive)


def compare_tracks(artists, embeddings):
    """Return the cosines between the n = P K tracks of a batch, and the masks of the pairs.

    `artists` is (P,) and `embeddings` (P, K, d), of unit length. Returns three (n, n) arrays: the
    cosines, whether two tracks are different ones by the same artist, and whether they are by
    different artists.
    """
    flat = ops.reshape(embeddings, (-1, embeddings.shape[-1]))
    tracks = ops.shape(embeddings)[1]
    artist = ops.reshape(ops.repeat(ops.reshape(artists, (-1, 1)), tracks, axis=1), (-1,))
    same = ops.equal(artist[:, None], artist[None, :])
    itself = ops.eye(ops.shape(flat)[0], dtype="bool")
    positive = ops.logical_and(same, ops.logical_not(itself))
    return ops.matmul(flat, ops.transpose(flat)), positive, ops.logical_not(same)


def nearest_by_other_artist() -> Callable:
    """Return a metric function for the fraction of tracks whose nearest is by another artist."""

    def nearest_by_other(artists, outputs):
        cosines, positive, negative = compare_tracks(artists, outputs[..., :EMBEDDING])
        best = [ops.max(ops.where(mask, cosines, -2.0), axis=1) for mask in (positive, negative)]
        return ops.reshape(ops.cast(best[1] > best[0], "float32"), ops.shape(outputs)[:2])

    return nearest_by_other


def _log_sum(logits, mask):
    """Return log Σ_j e^logits over the entries of each row in the mask, (n, 1)."""
    # A finite value in place of minus infinity keeps the gradients finite in an empty row.
    return ops.logsumexp(ops.where(mask, logits, -1e9), axis=1, keepdims=True)


def _masked_mean(values, mask):
    weights = ops.cast(mask, values.dtype)
    return ops.sum(values * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)
