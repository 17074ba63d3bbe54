"""What a name on the command line gives features: released or own weights, or a baseline."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import hdf5
from data_prep.mel import mfcc
from recognition import ivector_model


class FeatureExtractor(NamedTuple):
    """A feature function, and what a feature file says of it.

    function : log-mels to vectors, see `named`
    origin : what made the features
    trained_on : the artists that it was trained on
    classes : the last so many numbers of a vector are the probabilities of these
    """

    function: Callable
    origin: dict
    trained_on: Sequence[str] = ()
    classes: Sequence[str] = ()


def feature_extractor(
    name: str, *, mirror: str | Path | None, seed: int, mean_and_std: tuple[float, float] | None
) -> FeatureExtractor:
    """The feature function behind a name, and what a feature file says of it.

    The function takes an iterable of log-mels, and yields a (d,) float32 feature for each
    in order, or None where a song has none.

    Parameters
    ----------
    name
        `mfcc` or `untrained` for the baselines, an i-vector extractor's file, one of
        networks of agf2018, else as `models.pretrained.load_weights` takes it.
    seed, mean_and_std
        Of the untrained encoder's random weights, and of its input; None takes the
        released weights' own.
    """
    if name == "mfcc":
        return FeatureExtractor(mfcc_features, {"name": "mfcc", "model": "mfcc", "artists": None})
    if hdf5.read_format(name) == ivector_model.FORMAT:
        made = ivector_model.load_ivector_model(name)
        return FeatureExtractor(
            made.extract_ivectors, ivector_model.describe_ivector_model(name, made), made.trained_on
        )

    # Keras is for networks only: an i-vector does not wait for it.
    from artist_groups import network_file
    from models import embeddings, encoder, pretrained
    from models.keras_backend import keras

    if hdf5.read_format(name) == network_file.FORMAT:
        networks = network_file.load_networks(name)
        function = embeddings.track_means(networks.model)
        classes = networks.genres if networks.mlp else ()
        return FeatureExtractor(
            function, network_file.describe_networks(name), networks.trained_on, classes
        )

    if name == "untrained":
        keras.utils.set_random_seed(seed)
        mean, std = mean_and_std or (pretrained.RELEASED_MEAN, pretrained.RELEASED_STD)
        function = embeddings.track_means(encoder.log_mel_model(encoder.build_encoder(), mean, std))
        about = {"name": "untrained", "model": "untrained", "artists": None, "seed": seed}
        return FeatureExtractor(function, about)
    loaded = pretrained.load_weights(name, mirror)
    network = encoder.log_mel_model(pretrained.encoder_from(loaded), loaded.mean, loaded.std)
    return FeatureExtractor(embeddings.track_means(network), loaded.provenance, loaded.trained_on)


def mfcc_features(mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Baseline: mean and standard deviation over a song of 20 MFCCs, (40,) float32 each."""
    for mel in mels:
        coefficients = mfcc(mel)
        yield np.concatenate([coefficients.mean(axis=0), coefficients.std(axis=0)])
