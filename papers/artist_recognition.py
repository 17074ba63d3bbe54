"""The steps that recognise artists with i-vectors, embeddings and their fusions (arxiv2017)."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common import cli
from models.architecture import EMBEDDING
from papers import commands
from papers.datasets import Dataset
from papers.pipeline import Step

LDA = 100  # maximum number of dimensions
PROTOCOLS = ("verification", "identification")


class FeatureFiles(NamedTuple):
    """The feature files of one model: for the artists to recognise, and for those of training."""

    unseen: Path
    train: Path


class System(NamedTuple):
    """The feature file or extractor of a system, and its options for `evaluate.py verification`."""

    file: Path
    options: tuple[object, ...] = ()


def add_ivector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that set the sizes of the i-vector and GMM-UBM models."""
    cli.add_count(parser, "--dimensions", 256, "number of i-vector dimensions")
    text = "number of components of the GMM-UBM"
    cli.add_count(parser, "--components", 256, text, old="--mixtures")


def lda_dimensions(artists: int, features: int = EMBEDDING) -> int:
    """Return the number of dimensions that LDA reduces features of this size to.

    LDA trained on n artists yields at most n - 1.
    """
    return min(LDA, artists - 1, features)


def train_ivectors(
    options: argparse.Namespace, train: Dataset, name: str, artists: int, seed: int
) -> Step:
    """Return the step that trains an i-vector extractor, which contains a GMM-UBM."""
    sizes = ("--components", options.components, "--dimensions", options.dimensions)
    settings = ("--max-artists", artists, *sizes, "--seed", seed)
    folder = options.out / "runs" / name
    return commands.train("train_ivector.py", train, folder, *settings, output="ivector.h5")


def gmm_ubm(extractor: Path, unseen: Dataset) -> System:
    """Return the system that scores frames by the GMM-UBM of an i-vector extractor."""
    return System(extractor, ("--scorer", "llr", "--cache", unseen.cache))


def plda(files: FeatureFiles, train: Dataset, artists: int, dimensions: int) -> System:
    """Return the system that scores features by PLDA, after LDA to this number of dimensions."""
    size = ("--max-train-artists", artists, "--lda-dimensions", dimensions)
    options = ("--scorer", "plda", *size, "--train", files.train, train.split)
    return System(files.unseen, options)


def fuse(kind: str, system: System, other: FeatureFiles) -> System:
    """Return the early or late fusion of a PLDA system with the features of another model."""
    return System(system.file, (*system.options, "--fuse", kind, "--with", *other))


def evaluate(
    out: Path, unseen: Dataset, name: str, system: System, draws: Sequence[object]
) -> Step:
    """Return the step that evaluates a system by verification and identification."""
    inputs = [option for option in system.options if isinstance(option, Path)]
    json, other = (out / f"{protocol}_{name}.json" for protocol in PROTOCOLS)
    settings = (*system.options, *draws, "--identification", other)
    files = {"more_inputs": inputs, "other_outputs": (other,)}
    return commands.evaluate(PROTOCOLS[0], system.file, unseen, json, *settings, **files)
