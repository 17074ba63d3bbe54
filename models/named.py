"""What a name on the command line gives features: released or own weights, or a baseline."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import hdf5
from data_prep.mel import mfcc
from models import extractor


class Named(NamedTuple):
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


def named(
    name: str, *, mirror: str | Path | None, seed: int, mean_and_std: tuple[float, float] | None
) -> Named:
    """The feature function behind a name, and what a feature file says of it.

    The function takes an iterable of log-mels, and yields a (d,) float32 feature for each
    in order, or None where a song has none.

    Parameters
    ----------
    name
        `mfcc` or `untrained` for the baselines, an i-vector extractor's file, one of
        networks of agf2018, else as `models.weights.load` takes it.
    seed, mean_and_std
        Of the untrained encoder's random weights, and of its input; None takes the
        released weights' own.
    """
    if name == "mfcc":
        return Named(mfcc_features, {"name": "mfcc", "model": "mfcc", "artists": None})
    if hdf5.format_of(name) == extractor.FORMAT:
        made = extractor.load(name)
        return Named(made.features, extractor.origin(name, made), made.trained_on)

    # Keras is for networks only: an i-vector does not wait for it.
    from models import agf_weights, encoder, features, weights
    from models.quiet_keras import keras

    if hdf5.format_of(name) == agf_weights.FORMAT:
        networks = agf_weights.load(name)
        function = features.song_means(networks.model)
        classes = networks.genres if networks.mlp else ()
        return Named(function, agf_weights.origin(name), networks.trained_on, classes)

    if name == "untrained":
        keras.utils.set_random_seed(seed)
        mean, std = mean_and_std or (weights.RELEASED_MEAN, weights.RELEASED_STD)
        function = features.song_means(encoder.on_log_mel(encoder.build_encoder(), mean, std))
        about = {"name": "untrained", "model": "untrained", "artists": None, "seed": seed}
        return Named(function, about)
    loaded = weights.load(name, mirror)
    network = encoder.on_log_mel(weights.encoder_of(loaded), loaded.mean, loaded.std)
    return Named(features.song_means(network), loaded.provenance, loaded.trained_on)


def mfcc_features(mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Baseline: mean and standard deviation over a song of 20 MFCCs, (40,) float32 each."""
    for mel in mels:
        coefficients = mfcc(mel)
        yield np.concatenate([coefficients.mean(axis=0), coefficients.std(axis=0)])
