"""The papers' experiments on the music of the Commodore 64.

Trains basic and siamese models, also with the recipe "best", and i-vectors on artists in the High
Voltage SID Collection, at several numbers of artists, and evaluates them on artists unseen in
training: verification and identification as in arxiv2017 (5 tracks to enrol, all others to test),
retrieval by artist, and linear softmax by country, decade and sound chip with artists disjoint from
those tested. Evaluates fusions of basic models and i-vectors, the fine-tuned released weights, and,
for comparison, GMM-UBM, MFCCs, an untrained network, the released weights and the fields of the
tunes' headers. Networks and MFCCs are also evaluated on the unseen tunes as rendered with the same
chip, so that the chip identifies no artist.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common import cli
from common.errors import InputError
from data_prep import sidplayfp, split_csv
from data_prep.datasets import Request, load_dataset
from data_prep.datasets.sid import HEADER_FIELDS
from data_prep.split_methods import TRACKS_PER_ARTIST
from papers import artist_recognition, commands
from papers.artist_recognition import FeatureFiles, System, fuse, lda_dimensions, plda
from papers.datasets import SYNTHETIC, DataFolder, Dataset, find_facts, require_artists
from papers.pipeline import Step, make_step

TRAIN, UNSEEN = "sid", "sid_unseen"
ENROL_TRACKS = 5
# The papers train for 1,000 epochs on a GPU. On two CPU cores, 60 epochs take a night; with 20, all
# validation losses were still falling.
EPOCHS = 60
FORCED_CHIP = "8580"
RELEASED = "siamese_10000_final"  # weights to evaluate, and to fine-tune
HEADER = "header"
BASELINES = ("mfcc", "untrained", RELEASED)
TRANSFER_LABELS = ("country", "decade", "chip")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this study's command-line options."""
    commands.add_training_size(parser, [100, 300, 500], EPOCHS)
    commands.add_siamese_learning_rate(parser)
    artist_recognition.add_ivector_arguments(parser)
    text = "dataset whose artists are recognised and are not used for training"
    parser.add_argument("--unseen", default=UNSEEN, metavar="NAME", help=text)
    cli.add_seeds(parser, [0, 1, 2])


@dataclass(frozen=True)
class _Study:
    """The datasets and options that all steps share."""

    options: argparse.Namespace
    train: Dataset
    unseen: Dataset
    one_chip: Dataset | None  # the unseen tunes, rendered with the same chip
    disjoint: Dataset | None  # the unseen tunes, with artists divided into train, valid and test
    labels: tuple[str, ...]  # of `disjoint`
    has_header: bool  # whether the unseen tunes have labels from their headers

    def features(self, name: str, dataset: Dataset | None = None) -> Path:
        """Return the feature file of a model, for the unseen tunes or another dataset."""
        return commands.features_file(self.options.out, name, dataset or self.unseen)

    def files(self, name: str) -> FeatureFiles:
        """Return the feature files of a model for the unseen and for its training artists."""
        return FeatureFiles(self.features(name), self.features(name, self.train))

    def draws(self, artists: int | None) -> tuple[object, ...]:
        """Return the options that draw the enrolment tracks, the same for all models.

        There are as many draws as training seeds. Models of the largest number of training artists
        or of none are evaluated with fewer enrolment tracks too.
        """
        tracks = ("--enrol-tracks", ENROL_TRACKS, "--test-tracks", "all")
        one_shot = ("--one-shot",) if artists in (None, max(self.options.artists)) else ()
        return *tracks, "--trials", len(self.options.seeds), "--seed", 0, *one_shot


def plan(options: argparse.Namespace, data: DataFolder) -> tuple[list[Step], list[str]]:
    """Return the steps in execution order, and one line for each part that is left out."""
    study, left_out = _find_datasets(options, data)
    datasets = [
        each for each in (study.train, study.unseen, study.one_chip, study.disjoint) if each
    ]
    steps = [step for dataset in datasets for step in dataset.steps]
    if any(step.command[0].endswith("2_cache_mels.py") for step in steps):
        _require_sidplayfp()
    steps += _baselines(study)
    for seed in options.seeds:
        for artists in sorted(options.artists):
            steps += _trainings(study, artists, seed)
    return commands.add_report(options.out, steps), left_out


def _find_datasets(options: argparse.Namespace, data: DataFolder) -> tuple[_Study, list[str]]:
    if options.unseen in (TRAIN, *SYNTHETIC):
        raise InputError(f"--unseen {options.unseen}: has no unseen artists; name another dataset")
    train = data.find(TRAIN)
    exclude = [train] if train else []
    unseen = data.find(options.unseen, exclude=exclude)
    roles = ((TRAIN, train), (options.unseen, unseen))
    missing = [data.describe_missing(name) for name, dataset in roles if not dataset]
    if not train or not unseen:
        raise InputError(
            f"{'; '.join(missing)}; see data_prep/README.md, Music of the Commodore 64"
        )
    _require_enough_artists(options, data, train)
    table = _read_tracks(data, unseen)
    labels, left_out = _find_labels(table, unseen.name)
    source = {"source": options.unseen, "exclude": exclude}
    derived, chip = unseen.name + "_{}", ("--sid-model", FORCED_CHIP)
    one_chip = data.find(derived.format(FORCED_CHIP), **source, mel_options=chip)
    disjoint = None
    if labels:
        split = ("--split", "disjoint")
        disjoint = data.find(derived.format("disjoint"), *split, **source, cache=unseen.cache)
    if not one_chip:
        left_out.append(data.describe_missing(derived.format(FORCED_CHIP), options.unseen))
    if labels and not disjoint:
        name = derived.format("disjoint")
        left_out.append(data.describe_missing(name, options.unseen, unseen.cache))
    has_header = bool({*HEADER_FIELDS}.intersection(table.columns))
    if not has_header:
        left_out.append(
            f"{HEADER}: {unseen.name} has none of the columns {', '.join(HEADER_FIELDS)}"
        )
    study = _Study(options, train, unseen, one_chip, disjoint, labels, has_header)
    return study, left_out


def _require_enough_artists(options: argparse.Namespace, data: DataFolder, train: Dataset) -> None:
    largest = max(options.artists)
    require_artists(train, largest)
    if not train.split.exists():
        artists = _read_tracks(data, train)["artist"]
        tracks = artists[artists.ne("")].value_counts()
        count = int((tracks >= TRACKS_PER_ARTIST).sum())
        if count < largest:
            raise InputError(
                f"{train.audio}: has {count} artists with {TRACKS_PER_ARTIST} tunes or more "
                f"instead of {largest}; use fewer --artists"
            )


def _find_labels(table: pd.DataFrame, name: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the labels that unseen tunes have, and one line for each that is missing."""
    values = {label: set(table.get(label, ())) - {""} for label in TRANSFER_LABELS}
    labels = tuple(label for label in TRANSFER_LABELS if len(values[label]) > 1)
    absent = [label for label in TRANSFER_LABELS if label not in labels]
    return labels, [f"{label}: has fewer than two values in {name}" for label in absent]


def _read_tracks(data: DataFolder, dataset: Dataset) -> pd.DataFrame:
    """Return the tracks of a dataset, from its split if it exists."""
    if dataset.split.exists():
        return split_csv.read_split(dataset.split)
    assert data.folder is not None and dataset.audio is not None
    facts = find_facts(data.folder, dataset.name)
    read_catalog, _ = load_dataset(facts.loader or dataset.name)
    metadata = data.folder / facts.metadata if facts.loader == "csv" else None
    return read_catalog(Request(dataset.audio, metadata)).table


def _require_sidplayfp() -> None:
    if not sidplayfp.is_installed():
        raise InputError("sidplayfp: not found; install it, for it renders the tunes")


def _baselines(study: _Study) -> Iterator[Step]:
    """Yield the steps that evaluate features without training on the tunes."""
    if study.has_header:
        header, split = study.features(HEADER), study.unseen.split
        arguments = (HEADER, split, "--out", header)
        yield make_step("evaluate.py", *arguments, output=header, inputs=[split])
        yield from _comparisons(study, HEADER, study.unseen, study.draws(None))
        if study.disjoint and "country" in study.labels:  # the other labels are in the header
            yield _transfer(study, HEADER, "country")
    for name in BASELINES:
        yield from _features(study, name, name, study.draws(None))


def _trainings(study: _Study, artists: int, seed: int) -> Iterator[Step]:
    """Yield the steps that train and evaluate all models for one number of artists and seed."""
    options = study.options
    ivector = f"ivector_{artists}_{options.seeds[0]}"
    if seed == options.seeds[0]:
        yield from _ivectors(study, ivector, artists)
    size = ("--max-artists", artists, "--epochs", options.epochs, "--seed", seed)
    siamese = (*size, "--learning-rate", options.siamese_learning_rate)
    networks = {"siamese": siamese, "best": (*size, "--recipe", "best"), "basic": size}
    if artists == max(options.artists):
        networks["tuned"] = (*siamese, "--start-from", RELEASED)
    for kind, settings in networks.items():
        script = "train_basic.py" if kind == "basic" else "train_siamese.py"
        yield from _network(study, script, f"{kind}_{artists}_{seed}", artists, seed, settings)
    basic, lda = study.files(f"basic_{artists}_{seed}"), lda_dimensions(artists)
    # When scores are fused, one number of dimensions applies to both models.
    ivector_lda = lda_dimensions(artists, options.dimensions)
    for kind, dimensions in (("early", lda), ("late", ivector_lda)):
        system = plda(basic, study.train, artists, dimensions)
        fusion = fuse(kind, system, study.files(ivector))
        yield _recognition(study, f"{kind}_{artists}_{seed}", fusion, study.draws(artists))


def _ivectors(study: _Study, name: str, artists: int) -> Iterator[Step]:
    """Yield the steps that train an i-vector extractor and evaluate it and its GMM-UBM."""
    options, train, unseen = study.options, study.train, study.unseen
    seed, lda = options.seeds[0], lda_dimensions(artists, options.dimensions)
    extractor = artist_recognition.train_ivectors(options, train, name, artists, seed)
    yield extractor
    yield commands.extract(options.out, name, extractor.output, train, artists)
    yield commands.extract(options.out, name, extractor.output, unseen)
    files = study.files(name)
    systems: dict[str, System] = {
        f"ubm_{artists}_{seed}": artist_recognition.gmm_ubm(extractor.output, unseen),
        f"{name}_cosine": System(files.unseen),
        f"{name}_plda": plda(files, train, artists, lda),
    }
    for label, system in systems.items():
        yield _recognition(study, label, system, study.draws(artists))
    yield _retrieval(study, name, unseen)


def _network(
    study: _Study, script: str, name: str, artists: int, seed: int, settings: tuple[object, ...]
) -> Iterator[Step]:
    """Yield the steps that train a network and evaluate its features by cosine and by PLDA."""
    out, train, draws = study.options.out, study.train, study.draws(artists)
    training = commands.train(script, train, out / "runs" / name, *settings)
    yield training
    yield from _features(study, name, training.output, draws)
    yield commands.extract(out, name, training.output, train, artists)
    system = plda(study.files(name), train, artists, lda_dimensions(artists))
    yield _recognition(study, f"{name}_plda", system, draws)


def _features(
    study: _Study, name: str, weights: Path | str, draws: tuple[object, ...]
) -> Iterator[Step]:
    """Yield the steps that extract and compare the features of the unseen tunes."""
    for dataset in (study.unseen, study.one_chip):
        if dataset:
            yield commands.extract(study.options.out, name, weights, dataset)
            yield from _comparisons(study, name, dataset, draws)
    if study.disjoint:
        for label in study.labels:
            yield _transfer(study, name, label)


def _comparisons(
    study: _Study, name: str, dataset: Dataset, draws: tuple[object, ...]
) -> Iterator[Step]:
    """Yield the steps that recognise and retrieve artists by the cosine of features."""
    system = System(study.features(name, dataset))
    yield _recognition(study, f"{name}_cosine", system, draws, dataset)
    yield _retrieval(study, name, dataset)


def _recognition(
    study: _Study,
    label: str,
    system: System,
    draws: tuple[object, ...],
    dataset: Dataset | None = None,
) -> Step:
    dataset = dataset or study.unseen
    label = f"{label}_{dataset.name}"
    return artist_recognition.evaluate(study.options.out, dataset, label, system, draws)


def _retrieval(study: _Study, name: str, dataset: Dataset) -> Step:
    json = study.options.out / f"retrieval_{name}_{dataset.name}.json"
    features = study.features(name, dataset)
    return commands.evaluate("retrieval", features, dataset, json, "--label", "artist")


def _transfer(study: _Study, name: str, label: str) -> Step:
    """Return the step that learns a label of the unseen tunes from their features."""
    assert study.disjoint is not None
    dataset = study.disjoint
    json = study.options.out / f"linear_{label}_{name}_{dataset.name}.json"
    return commands.evaluate("linear", study.features(name), dataset, json, "--label", label)
