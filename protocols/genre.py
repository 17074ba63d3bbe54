"""Protocols that evaluate features by a label of each track: its genre, artist or tags.

Each function reads its files, prints its metrics and writes the result file, if one is given.
Metrics are imported inside the functions, so that --help does not wait for scikit-learn.
"""

import argparse
from pathlib import Path

import numpy as np

from common import cli
from common.errors import InputError
from data_prep import targets
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

K = 20  # number of neighbours in the paper
LINEAR_TRIALS = 10  # number of trainings in the paper


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the protocols of this module to `evaluate.py`."""
    example = "features/siamese.h5 splits/demo_target.csv --label genre"
    parser = add_command(commands, "retrieval", evaluate_retrieval, example)
    _add_arguments(parser)
    parser = add_command(commands, "knn", evaluate_knn, example)
    _add_arguments(parser)
    parser.add_argument("-k", type=cli.positive, default=K, help="number of neighbours")
    parser = add_command(commands, "linear", evaluate_linear, example)
    _add_arguments(parser, trials=LINEAR_TRIALS)
    parser = add_command(commands, "transfer", evaluate_transfer, example)
    _add_arguments(parser, trials=1)
    tag_example = "features/siamese.h5 splits/demo_target.csv --label tags"
    parser = add_command(commands, "tagging", evaluate_tagging, tag_example)
    _add_arguments(parser, label="tags", trials=1)
    genre_example = "features/mtn_gs_0.h5 splits/demo_genres.csv --label genre"
    parser = add_command(commands, "genre", evaluate_genre, genre_example)
    _add_arguments(parser)
    parser = add_command(commands, "tsne", evaluate_tsne, example)
    _add_arguments(parser)
    cli.add_renamed(
        parser,
        "--max-labels",
        "--first",
        type=cli.positive,
        metavar="N",
        help="number of labels to show, in the order of the split (default: all)",
    )
    add_perplexity_option(parser)


def _add_arguments(
    parser: argparse.ArgumentParser, label: str = "genre", trials: int | None = None
) -> None:
    add_features_and_split(parser)
    parser.add_argument("--label", default=label, help="label column of the split")
    if trials:
        parser.add_argument(
            "--trials", type=cli.positive, default=trials, help="number of trainings to average"
        )
    add_result_options(parser)


def _result_inputs(tracks: LabelledTracks, **settings: object) -> dict:
    """Return what a result is made from: features, tracks with labels, and settings."""
    return {**tracks.feature_file.inputs, "split": tracks.digest, "settings": settings}


def _save(
    evaluation: Evaluation,
    tracks: LabelledTracks,
    inputs: dict,
    result_path: Path | None,
    variant: str = "",
) -> None:
    weights = tracks.weights
    description = {
        "dataset": tracks.split_path.stem,
        "features": f"{weights.get('name') or tracks.feature_path.stem} {variant}".strip(),
        "variant": variant,
        "model": weights.get("model") or "unknown",
        "artists": weights.get("artists"),
        "seed": weights.get("seed"),
    }
    save_evaluation(evaluation, description, inputs, result_path)


def _accuracy_by_label(correct: np.ndarray, truth: np.ndarray) -> dict:
    """Return the details with the accuracy of each label (ismir2018, Figure 5)."""
    from evaluation.retrieval import mean_by_label

    accuracies = mean_by_label(correct, truth)
    return {ACCURACY_BY_LABEL: {str(label): value for label, value in accuracies.items()}}


# ---------------------------------------------------------------- retrieval, k-NN, linear softmax


def evaluate_retrieval(
    features: Path, split: Path, *, label: str, seed: int, result_path: Path | None
) -> None:
    """Compute the MAP of retrieval, where each track is a query for the tracks of its label."""
    from evaluation.retrieval import mean_average_precision

    tracks = read_labelled_tracks(features, split, label)
    inputs = _result_inputs(tracks, protocol="retrieval", label=label, seed=seed)
    if is_complete(result_path, inputs):
        return
    labels = tracks.labels(label)
    require_two_labels(labels, "retrieval")
    value = mean_average_precision(tracks.features, labels)
    _save(Evaluation("map", [value], len(labels), {}), tracks, inputs, result_path)


def evaluate_knn(
    features: Path, split: Path, *, label: str, k: int, seed: int, result_path: Path | None
) -> None:
    """Compute the accuracy of k-NN on the test tracks."""
    from evaluation.classification import knn_predict

    tracks = read_labelled_tracks(features, split, label)
    inputs = _result_inputs(tracks, protocol="knn", label=label, k=k, seed=seed)
    if is_complete(result_path, inputs):
        return
    train, _, (test, truth) = tracks.subsets(tracks.labels(label))
    require_two_labels(train[1], "k-NN, train subset")
    correct = knn_predict(*train, test, k) == truth
    details = _accuracy_by_label(correct, truth)
    evaluation = Evaluation("accuracy", [float(correct.mean())], len(truth), details)
    _save(evaluation, tracks, inputs, result_path, format_changes({"k": k}, {"k": K}))


def evaluate_linear(
    features: Path, split: Path, *, label: str, trials: int, seed: int, result_path: Path | None
) -> None:
    """Compute the accuracy of a linear softmax layer on the test tracks, mean over trials."""
    from evaluation.classification import linear_softmax

    tracks = read_labelled_tracks(features, split, label)
    inputs = _result_inputs(tracks, protocol="linear", label=label, trials=trials, seed=seed)
    if is_complete(result_path, inputs):
        return
    train, valid, test = tracks.subsets(tracks.labels(label))
    result = linear_softmax(train, valid, test, trials=trials, seed=seed)
    details = _accuracy_by_label(result.correct.mean(axis=0), test[1])
    evaluation = Evaluation("accuracy", list(result.accuracies), len(test[1]), details)
    variant = format_changes({"trials": trials}, {"trials": LINEAR_TRIALS})
    _save(evaluation, tracks, inputs, result_path, variant)


# ---------------------------------------------------------------- genre transfer, tags


def evaluate_transfer(
    features: Path, split: Path, *, label: str, trials: int, seed: int, result_path: Path | None
) -> None:
    """Compute the test accuracy of logistic regression or a network, chosen by validation."""
    from evaluation.tagging import transfer_accuracies

    tracks = read_labelled_tracks(features, split, label)
    inputs = _result_inputs(tracks, protocol="transfer", label=label, trials=trials, seed=seed)
    if is_complete(result_path, inputs):
        return
    subsets = tracks.subsets(tracks.labels(label))
    accuracies = [transfer_accuracies(*subsets, seed=seed + trial) for trial in range(trials)]
    details = {
        name: float(np.mean([trial[name] for trial in accuracies]))
        for name in ("logistic regression", "neural network")
    }
    values = [trial["best"] for trial in accuracies]
    evaluation = Evaluation("accuracy", values, len(subsets[2][1]), details)
    _save(evaluation, tracks, inputs, result_path)


def evaluate_tagging(
    features: Path, split: Path, *, label: str, trials: int, seed: int, result_path: Path | None
) -> None:
    """Compute the area under the ROC curve of each tag, predicted by a network, and their mean.

    Tags that no test track has, or all have, are left out.
    """
    from evaluation.tagging import predict_tags, score_tags

    tracks = read_labelled_tracks(features, split)  # a track without tags counts too
    inputs = _result_inputs(tracks, protocol="tagging", label=label, trials=trials, seed=seed)
    if is_complete(result_path, inputs):
        return
    names, tags = targets.tag_matrix(tracks.split, label, tracks.split_path)
    train, valid, (test, truth) = tracks.subsets(tags)
    for name, part in (("train", train[0]), ("valid", valid[0]), ("test", test)):
        if not len(part):
            raise InputError(f"{split}: no track is in the subset {name}; add tracks to it")
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
    evaluation = Evaluation("auc", values, len(truth), details)
    _save(evaluation, tracks, inputs, result_path)


# ---------------------------------------------------------------- class probabilities, t-SNE


def evaluate_genre(
    features: Path, split: Path, *, label: str, seed: int, result_path: Path | None
) -> None:
    """Compute log loss and macro F1 of class probabilities on the test tracks (agf2018).

    The feature file must contain the probabilities of networks that were trained on these labels.
    A test track with a label that is not one of their classes has no finite loss and is left out.
    """
    from evaluation import classification

    tracks = read_labelled_tracks(features, split, label)
    inputs = _result_inputs(tracks, protocol="genre", label=label, seed=seed)
    if is_complete(result_path, inputs):
        return
    classes, probabilities = np.asarray(tracks.feature_file.classes, object), tracks.probabilities
    truth, test = tracks.labels(label), tracks.split["subset"].eq("test").to_numpy()
    known = test & np.isin(truth, classes)
    left_out = test.sum() - known.sum()
    if left_out:
        reason = f"the networks were not trained on their {label}"
        print(f"{split}: {left_out} test tracks left out, {reason}")
    if not known.any():
        raise InputError(
            f"{split}: no test track has a {label} that the networks were trained on; evaluate "
            f"them on the split that they were trained on, by its {label}"
        )
    truth, probabilities = truth[known], probabilities[known]
    predicted = classes[probabilities.argmax(axis=1)]
    details = {
        "macro_f1": classification.macro_f1(predicted, truth),
        "accuracy": float(np.mean(predicted == truth)),
        "F1 of each genre": classification.f1_by_class(predicted, truth),
    }
    loss = classification.log_loss(probabilities, truth, classes)
    _save(Evaluation("log_loss", [loss], len(truth), details), tracks, inputs, result_path)


def evaluate_tsne(
    features: Path,
    split: Path,
    *,
    label: str,
    max_labels: int | None,
    perplexity: float,
    seed: int,
    result_path: Path | None,
) -> None:
    """Map tracks to the plane by t-SNE for `evaluate.py figures`, and compute the divergence.

    arxiv2017 shows the tracks of 22 artists, and GTZAN's genres, by features of the model of 5,000
    artists after LDA.
    """
    from evaluation.projection import fit_tsne

    tracks = read_labelled_tracks(features, split, label)
    settings = {"protocol": "tsne", "label": label, "first": max_labels, "perplexity": perplexity}
    inputs = _result_inputs(tracks, **settings, seed=seed)
    if is_complete(result_path, inputs):
        return
    labels = tracks.labels(label)
    shown = np.isin(labels, list(dict.fromkeys(labels))[:max_labels])
    plane, divergence = fit_tsne(tracks.features[shown], perplexity, seed)
    (x, y), names = plane.round(3).T.tolist(), labels[shown].tolist()
    details = {TSNE_MAP: {"x": x, "y": y, "label": names}}
    evaluation = Evaluation("kl_divergence", [divergence], len(names), details)
    _save(evaluation, tracks, inputs, result_path)
