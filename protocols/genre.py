"""Protocols that evaluate features against track labels: genre, artist or tags.

Each protocol is a function that takes tracks, a label column and its own options, and returns an
`Evaluation`. Metrics are imported inside the functions, so that --help does not wait for
scikit-learn.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from common import cli
from common.errors import InputError
from data_prep import targets
from evaluation import LINEAR_TRIALS, NEIGHBOURS
from evaluation.feature_checks import require_two_labels
from evaluation.labelled_tracks import LabelledTracks, read_labelled_tracks
from evaluation.results import ACCURACY_BY_LABEL, TSNE_MAP, Evaluation
from protocols.shared import (
    add_command,
    add_features_and_split,
    add_perplexity_option,
    add_result_options,
    format_changes,
    is_complete,
    save_evaluation,
)

RECORDED_NAMES = {"max_labels": "first"}  # settings with a different name in result files

Protocol = Callable[..., Evaluation]


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the protocols of this module to `evaluate.py`."""

    def add(
        name: str, evaluate: Protocol, *, label: str = "genre", features: str = "siamese", **run
    ):
        split = "demo_genres" if name == "genre" else "demo_target"
        example = f"features/{features}.h5 splits/{split}.csv --label {label}"
        run_protocol = partial(_run_protocol, name, evaluate, **run)
        parser = add_command(commands, name, run_protocol, example, evaluate.__doc__)
        add_features_and_split(parser, label=label)
        add_result_options(parser)
        return parser

    def add_trials(parser: argparse.ArgumentParser, default: int) -> None:
        text = "number of training runs to average"
        cli.add_count(parser, "--trials", default, text)

    add("retrieval", evaluate_retrieval)
    parser = add("knn", evaluate_knn, paper_settings={"k": NEIGHBOURS})
    cli.add_count(parser, "-k", NEIGHBOURS, "number of neighbours")
    parser = add("linear", evaluate_linear, paper_settings={"trials": LINEAR_TRIALS})
    add_trials(parser, LINEAR_TRIALS)
    add_trials(add("transfer", evaluate_transfer), 1)
    # Tracks without tags are evaluated too.
    add_trials(add("tagging", evaluate_tagging, label="tags", needs_label=False), 1)
    add("genre", evaluate_genre, features="mtn_gs_0")
    parser = add("tsne", evaluate_tsne)
    cli.add_count(
        parser,
        "--max-labels",
        None,
        "maximum number of labels to show, in split order (default: all)",
        old="--first",
    )
    add_perplexity_option(parser)


def _run_protocol(
    name: str,
    evaluate: Protocol,
    features: Path,
    split: Path,
    *,
    label: str,
    seed: int,
    result_path: Path | None,
    paper_settings: Mapping[str, object] = MappingProxyType({}),
    needs_label: bool = True,
    **settings,
) -> None:
    """Evaluate features on a split, and print and save the result unless it already exists.

    Parameters
    ----------
    paper_settings
        Values that the paper uses. The result names each setting that differs from them.
    needs_label
        Whether tracks without a label are left out.
    settings
        Options specific to this protocol.
    """
    tracks = read_labelled_tracks(features, split, label if needs_label else None)
    recorded = {RECORDED_NAMES.get(key, key): value for key, value in settings.items()}
    inputs = {
        **tracks.feature_file.inputs,
        "split": tracks.digest,
        "settings": {"protocol": name, "label": label, "seed": seed, **recorded},
    }
    if is_complete(result_path, inputs):
        return
    evaluation = evaluate(tracks, label, seed=seed, **settings)
    variant = format_changes(settings, paper_settings)
    weights = tracks.weights
    description = {
        "dataset": split.stem,
        "features": f"{weights.get('name') or features.stem} {variant}".strip(),
        "variant": variant,
        "model": weights.get("model") or "unknown",
        "artists": weights.get("artists"),
        "seed": weights.get("seed"),
    }
    save_evaluation(evaluation, description, inputs, result_path)


def _accuracy_by_label(correct: np.ndarray, truth: np.ndarray) -> dict:
    """Return result details with the accuracy per label (ismir2018, Figure 5)."""
    from evaluation.retrieval import mean_by_label

    accuracies = mean_by_label(correct, truth)
    return {ACCURACY_BY_LABEL: {str(label): value for label, value in accuracies.items()}}


# ---------------------------------------------------------------- retrieval, k-NN, linear softmax


def evaluate_retrieval(tracks: LabelledTracks, label: str, *, seed: int) -> Evaluation:
    """Compute the MAP of retrieval, using each track as a query for tracks with its label."""
    from evaluation.retrieval import mean_average_precision

    labels = tracks.labels(label)
    require_two_labels(labels, "retrieval")
    value = mean_average_precision(tracks.features, labels)
    return Evaluation("map", [value], len(labels), {})


def evaluate_knn(tracks: LabelledTracks, label: str, *, k: int, seed: int) -> Evaluation:
    """Compute the accuracy of a k-NN classifier on the test tracks."""
    from evaluation.classification import knn_predict

    train, _, (test, truth) = tracks.subsets(tracks.labels(label))
    require_two_labels(train[1], "k-NN, train subset")
    correct = knn_predict(*train, test, k) == truth
    details = _accuracy_by_label(correct, truth)
    return Evaluation("accuracy", [float(correct.mean())], len(truth), details)


def evaluate_linear(tracks: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Compute the mean accuracy of a linear softmax layer on the test tracks over all trials."""
    from evaluation.classification import linear_softmax

    train, valid, test = tracks.subsets(tracks.labels(label))
    result = linear_softmax(train, valid, test, trials=trials, seed=seed)
    details = _accuracy_by_label(result.correct.mean(axis=0), test[1])
    return Evaluation("accuracy", list(result.accuracies), len(test[1]), details)


# ---------------------------------------------------------------- genre transfer, tags


def evaluate_transfer(tracks: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Compute the test accuracy of the better of logistic regression and a neural network.

    The choice between the two is based on validation accuracy.
    """
    from evaluation.tagging import transfer_accuracies

    subsets = tracks.subsets(tracks.labels(label))
    accuracies = [transfer_accuracies(*subsets, seed=seed + trial) for trial in range(trials)]
    details = {
        name: float(np.mean([trial[name] for trial in accuracies]))
        for name in ("logistic regression", "neural network")
    }
    values = [trial["best"] for trial in accuracies]
    return Evaluation("accuracy", values, len(subsets[2][1]), details)


def evaluate_tagging(tracks: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Compute the area under the ROC curve for each tag predicted by a network, and the mean.

    Tags that apply to no test track or to every test track are left out.
    """
    from evaluation.tagging import predict_tags, score_tags

    names, tags = targets.tag_matrix(tracks.split, label, tracks.split_path)
    train, valid, (test, truth) = tracks.subsets(tags)
    for name, part in (("train", train[0]), ("valid", valid[0]), ("test", test)):
        if not len(part):
            raise InputError(
                f"{tracks.split_path}: no track is in the subset {name}; add tracks to it"
            )
    scores = [
        score_tags(predict_tags(train, valid, test, seed=seed + trial), truth)
        for trial in range(trials)
    ]
    auc, precision = np.swapaxes(scores, 0, 1)  # (trials, tags) each
    by_tag = {
        tag: float(value)
        for tag, value in zip(names, auc.mean(axis=0), strict=True)
        if not np.isnan(value)
    }
    details = {
        "auc of each tag": dict(sorted(by_tag.items(), key=lambda item: -item[1])),
        "tags left out": len(names) - len(by_tag),
        "average precision": float(np.mean([np.nanmean(trial) for trial in precision])),
    }
    values = [float(np.nanmean(trial)) for trial in auc]
    return Evaluation("auc", values, len(truth), details)


# ---------------------------------------------------------------- class probabilities, t-SNE


def evaluate_genre(tracks: LabelledTracks, label: str, *, seed: int) -> Evaluation:
    """Compute the log loss and macro F1 of class probabilities on the test tracks (agf2018).

    The feature file must contain class probabilities from networks trained on this label. Test
    tracks whose label is not among the networks' classes would have infinite loss and are left
    out.
    """
    from evaluation import classification

    classes, probabilities = np.asarray(tracks.feature_file.classes, object), tracks.probabilities
    truth, test = tracks.labels(label), tracks.split["subset"].eq("test").to_numpy()
    known = test & np.isin(truth, classes)
    left_out = test.sum() - known.sum()
    if left_out:
        reason = f"the networks were not trained on their {label}"
        print(f"{tracks.split_path}: {left_out} test tracks left out, {reason}")
    if not known.any():
        raise InputError(
            f"{tracks.split_path}: no test track has a {label} that the networks were trained on; "
            f"evaluate them on the split that they were trained on, by its {label}"
        )
    truth, probabilities = truth[known], probabilities[known]
    predicted = classes[probabilities.argmax(axis=1)]
    details = {
        "macro_f1": classification.macro_f1(predicted, truth),
        "accuracy": float(np.mean(predicted == truth)),
        "F1 of each genre": classification.f1_by_class(predicted, truth),
    }
    loss = classification.log_loss(probabilities, truth, classes)
    return Evaluation("log_loss", [loss], len(truth), details)


def evaluate_tsne(
    tracks: LabelledTracks, label: str, *, max_labels: int | None, perplexity: float, seed: int
) -> Evaluation:
    """Map tracks to the plane with t-SNE for `evaluate.py figures` and compute the divergence.

    arxiv2017 shows the tracks by 22 artists, and the GTZAN genres, using the LDA-projected
    features of the 5,000-artist model.
    """
    from evaluation.projection import fit_tsne

    labels = tracks.labels(label)
    shown = np.isin(labels, list(dict.fromkeys(labels))[:max_labels])
    plane, divergence = fit_tsne(tracks.features[shown], perplexity, seed)
    (x, y), names = plane.round(3).T.tolist(), labels[shown].tolist()
    details = {TSNE_MAP: {"x": x, "y": y, "label": names}}
    return Evaluation("kl_divergence", [divergence], len(names), details)
