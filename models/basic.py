"""The basic model (artist classification) and the tag model of ismir2018."""

from data_prep.mel import SEGMENT
from models.architecture import BANDS
from models.encoder import normalise
from models.keras_backend import keras

layers, ops = keras.layers, keras.ops


def build_basic(
    encoder: keras.Model,
    outputs: int,
    activation: str,
    *,
    mean: float,
    std: float,
    **options,
) -> keras.Model:
    """Return the encoder with one dense layer on top (ismir2018, section 3.1).

    It maps log-mels (batch, 129, 128), normalised by `models.encoder.normalise`, to probabilities
    (batch, outputs). `activation` is "softmax" for artists or "sigmoid" for tags. With "cosine",
    the layer instead computes the cosines between the embedding and one vector per artist.
    """
    segment = keras.Input((SEGMENT, BANDS), name="segment")
    embedding = encoder(normalise(segment, mean, std, **options))
    if activation == "cosine":
        classes = _Cosines(outputs, name="artist_vectors")(embedding)
    else:
        classes = layers.Dense(outputs, activation=activation, name="classes")(embedding)
    return keras.Model(segment, classes, name="tag" if activation == "sigmoid" else "basic")


class _Cosines(keras.layers.Layer):
    """Map embeddings (batch, d) to the cosines with one vector per artist, (batch, artists)."""

    def __init__(self, artists: int, **options):
        super().__init__(**options)
        self._artists = artists

    def build(self, input_shape):
        """Create the vectors."""
        shape = (input_shape[-1], self._artists)
        self._vectors = self.add_weight(shape=shape, initializer="glorot_uniform", name="vectors")

    def call(self, embeddings):
        """Return the cosines."""
        return ops.matmul(ops.normalize(embeddings, axis=-1), ops.normalize(self._vectors, axis=0))


class AdditiveMarginLoss(keras.losses.Loss):
    """Softmax loss of the cosines R with the artists' vectors, for the basic model.

    The cosine of the correct artist y is lowered by the margin m, and s is the scale:

        L = - log [e^(s (R_y - m)) / (e^(s (R_y - m)) + Σ_{j != y} e^(s R_j))]

    Embeddings trained with it are meant to be compared by cosine. Reference: Wang et al., *Additive
    Margin Softmax for Face Verification*, IEEE Signal Processing Letters 2018, equation 6.
    """

    def __init__(self, margin: float, scale: float):
        super().__init__(name="additive_margin")
        self.margin, self.scale = margin, scale

    def call(self, y_true, cosines):
        """Return the loss per track, (batch,), from numbers of artists and cosines."""
        artist = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        lowered = cosines - self.margin * ops.one_hot(artist, cosines.shape[-1])
        return keras.losses.sparse_categorical_crossentropy(
            artist, self.scale * lowered, from_logits=True
        )
