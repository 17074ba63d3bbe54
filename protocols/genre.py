"""Protocols that evaluate features against track labels: genre, artist or tags.

Each takes the tracks, a label column and its own options, and returns an `Evaluation`.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from common import cli
from common.errors import InputError
from data_prep import split_csv
from data_prep.artist_names import artist_key
from evaluation import CLUSTER_STARTS, LINEAR_TRIALS, NEIGHBOURS
from evaluation.feature_checks import require_two_labels
from evaluation.labelled_tracks import LabelledTracks, read_labelled_tracks
from evaluation.results import TSNE_MAP, Evaluation, accuracy_by
from evaluation.track_values import pack_values
from protocols import (
    FEATURES,
    SPLIT,
    Command,
    add_files,
    add_perplexity_option,
    add_result_options,
    evaluate_and_save,
    format_changes,
)

# The paper's settings; the result names each setting that differs from them.
PAPER_SETTINGS = {
    "knn": {"k": NEIGHBOURS},
    "linear": {"trials": LINEAR_TRIALS},
    "clustering": {"starts": CLUSTER_STARTS},
}
USES_ALL_TRACKS = ("retrieval", "clustering")  # whatever their subset
RECORDED_NAMES = {"max_labels": "first"}  # settings with a different name in result files


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Command:
    """Add the arguments of the protocol `name` to its parser."""
    label = {"tagging": "tags", "clustering": "artist"}.get(name, "genre")
    add_files(parser, features=FEATURES, split=SPLIT)
    add_result_options(parser, label)
    if name == "knn":
        cli.add_count(parser, "-k", NEIGHBOURS, "number of neighbours")
    if name in ("linear", "transfer", "tagging"):
        trials = LINEAR_TRIALS if name == "linear" else 1
        cli.add_count(parser, "--trials", trials, "number of training runs to average")
    if name == "clustering":
        text = "number of k-means runs from different centres, of which the best fit is used"
        cli.add_count(parser, "--starts", CLUSTER_STARTS, text)
    if name == "tsne":
        text = "maximum number of labels to show, in split order (default: all)"
        cli.add_count(parser, "--max-labels", None, text, old="--first")
        add_perplexity_option(parser)
    files = {
        "genre": "mtn_gs_0.h5 splits/demo_genres",
        "clustering": "siamese.h5 splits/demo_unseen",
    }.get(name, "siamese.h5 splits/demo_target")
    return partial(run_protocol, name), f"features/{files}.csv --label {label}"


def run_protocol(
    name: str,
    features: Path,
    split: Path,
    *,
    label: str,
    seed: int,
    result_path: Path | None,
    **settings,
) -> None:
    """Evaluate features with the protocol `name`, whose own options are `settings`."""
    # Tracks without tags are evaluated too.
    tracks = read_labelled_tracks(features, split, None if name == "tagging" else label)
    recorded = {RECORDED_NAMES.get(key, key): value for key, value in settings.items()}
    inputs = {
        **tracks.feature_file.inputs,
        "split": tracks.digest,
        "settings": {"protocol": name, "label": label, "seed": seed, **recorded},
    }
    variant, weights = format_changes(settings, PAPER_SETTINGS.get(name, {})), tracks.weights
    description = {
        "dataset": split.stem,
        "features": f"{weights.get('name') or features.stem} {variant}".strip(),
        "variant": variant,
        "model": weights.get("model") or "unknown",
        "artists": weights.get("artists"),
        "seed": weights.get("seed"),
    }
    if name != "tsne":
        _report_training_artists(tracks, is_test_only=name not in USES_ALL_TRACKS)
    compute = partial(PROTOCOLS[name], tracks, label, seed=seed, **settings)
    evaluate_and_save(compute, description, inputs, result_path)


def _report_training_artists(tracks: LabelledTracks, is_test_only: bool) -> None:
    """Print how many of the evaluated tracks are by artists that the model was trained on."""
    evaluated = tracks.split
    if is_test_only:
        evaluated = evaluated[evaluated["subset"].eq("test")]
    trained_on = {artist_key(str(artist)) for artist in tracks.feature_file.trained_on} - {""}
    known = evaluated["artist"].map(artist_key).isin(trained_on).sum()
    if known:
        print(
            f"{tracks.split_path}: {known} of {len(evaluated)} tracks are by artists that the "
            "model was trained on; the score may be too high"
        )


def evaluate_retrieval(tracks: LabelledTracks, label: str, *, seed: int) -> Evaluation:
    """Compute the MAP of retrieval."""
    from evaluation.retrieval import average_precisions, mean_of_queries

    labels = tracks.labels(label)
    require_two_labels(labels, "retrieval")
    scores = average_precisions(tracks.features, labels)
    details = pack_values(tracks.split["artist"], value=scores)
    return Evaluation("map", [mean_of_queries(scores)], len(labels), details)


def evaluate_clustering(
    tracks: LabelledTracks, label: str, *, starts: int, seed: int
) -> Evaluation:
    """Compute the adjusted Rand index and adjusted mutual information of k-means clusters."""
    from evaluation.clustering import cluster_tracks

    labels = tracks.labels(label)
    result = cluster_tracks(tracks.features, labels, starts=starts, seed=seed)
    details = {"adjusted mutual information": result.ami, "clusters": len(np.unique(labels))}
    details |= pack_values(labels, cluster=result.clusters)
    return Evaluation("ari", [result.ari], len(labels), details)


def evaluate_knn(tracks: LabelledTracks, label: str, *, k: int, seed: int) -> Evaluation:
    """Compute the accuracy of a k-NN classifier."""
    from evaluation.classification import knn_predict

    train, _, (test, truth) = tracks.subsets(tracks.labels(label))
    require_two_labels(train[1], "k-NN, train subset")
    correct = knn_predict(*train, test, k) == truth
    _report_small_classes(train[1], k, tracks.split_path, label)
    details = _describe_accuracy(tracks, label, correct, train[1], truth)
    return Evaluation("accuracy", [float(correct.mean())], len(truth), details)


def _report_small_classes(labels: np.ndarray, k: int, split: Path, label: str) -> None:
    """Print how many classes have fewer than k training tracks, so that others can outvote them."""
    counts = pd.Series(labels).value_counts(sort=False)
    few = counts[counts < k]
    if len(few):
        print(
            f"{split}: {len(few)} of {len(counts)} classes ({label}) have fewer training tracks "
            f"than k = {k}, the smallest {few.min()}; others may outvote them, so use a lower -k"
        )


def evaluate_linear(tracks: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Compute the accuracy of a linear softmax layer in each trial."""
    from evaluation.classification import linear_softmax

    train, valid, test = tracks.subsets(tracks.labels(label))
    result = linear_softmax(train, valid, test, trials=trials, seed=seed)
    correct = result.correct.mean(axis=0)
    details = _describe_accuracy(tracks, label, correct, train[1], test[1])
    return Evaluation("accuracy", list(result.accuracies), len(test[1]), details)


def _describe_accuracy(
    tracks: LabelledTracks, label: str, correct: np.ndarray, training: np.ndarray, truth: np.ndarray
) -> dict:
    """Return result details: the accuracy per label and test track, and that of a constant.

    The accuracy per label is that of ismir2018, Figure 5. The constant is the most frequent label
    in `training`, which is a baseline where labels are not balanced.
    """
    accuracies = pd.Series(correct, dtype=float).groupby(truth).mean()
    constant = pd.Series(training).mode()[0]
    artists = tracks.split.loc[tracks.split["subset"].eq("test"), "artist"]
    return {
        accuracy_by(label): accuracies.to_dict(),
        f"accuracy of the most frequent {label}": float((truth == constant).mean()),
        **pack_values(artists, value=correct),
    }


def evaluate_transfer(tracks: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Compute the accuracies of genre transfer; trials use consecutive seeds."""
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
    """Compute the area under the ROC curve of each tag; trials use consecutive seeds."""
    from evaluation.tagging import predict_tags, score_tags

    names, tags = split_csv.tag_matrix(tracks.split, label, tracks.split_path)
    train, valid, (test, truth) = tracks.subsets(tags)
    for name, part in (("train", train[0]), ("valid", valid[0]), ("test", test)):
        if not len(part):
            raise InputError(f"{tracks.split_path}: no track in the subset {name}; add tracks")
    scores = [
        score_tags(predict_tags(train, valid, test, seed=seed + trial), truth)
        for trial in range(trials)
    ]
    auc, precision = np.swapaxes(scores, 0, 1)  # (trials, tags) each
    means = dict(zip(names, auc.mean(axis=0).tolist(), strict=True))
    by_tag = {tag: mean for tag, mean in means.items() if not np.isnan(mean)}
    details = {
        "auc of each tag": dict(sorted(by_tag.items(), key=lambda item: -item[1])),
        "tags left out": len(names) - len(by_tag),
        "average precision": float(np.mean([np.nanmean(trial) for trial in precision])),
    }
    values = [float(np.nanmean(trial)) for trial in auc]
    return Evaluation("auc", values, len(truth), details)


def evaluate_genre(tracks: LabelledTracks, label: str, *, seed: int) -> Evaluation:
    """Compute the log loss and macro F1 of class probabilities (agf2018).

    Test tracks whose label is not among the networks' classes would have infinite loss, and are
    left out.
    """
    from evaluation import classification

    classes = np.asarray(tracks.feature_file.classes, object)
    track_ids = tracks.split["track_id"].to_numpy(object)
    probabilities = tracks.feature_file.select_probabilities(track_ids, tracks.feature_path)
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
    f1_by_class = classification.f1_by_class(predicted, truth)
    details = {
        "macro_f1": float(np.mean(list(f1_by_class.values()))),
        "accuracy": float(np.mean(predicted == truth)),
        f"F1 of each {label}": f1_by_class,
    }
    loss = classification.log_loss(probabilities, truth, classes)
    return Evaluation("log_loss", [loss], len(truth), details)


def evaluate_tsne(
    tracks: LabelledTracks, label: str, *, max_labels: int | None, perplexity: float, seed: int
) -> Evaluation:
    """Map the tracks of the first `max_labels` labels to the plane with t-SNE."""
    from evaluation.projection import fit_tsne

    labels = tracks.labels(label)
    shown = np.isin(labels, list(dict.fromkeys(labels))[:max_labels])
    plane, divergence = fit_tsne(tracks.features[shown], perplexity, seed)
    (x, y), names = plane.round(3).T.tolist(), labels[shown].tolist()
    details = {TSNE_MAP: {"x": x, "y": y, "label": names}}
    return Evaluation("kl_divergence", [divergence], len(names), details)


PROTOCOLS: dict[str, Callable[..., Evaluation]] = {
    "retrieval": evaluate_retrieval,
    "clustering": evaluate_clustering,
    "knn": evaluate_knn,
    "linear": evaluate_linear,
    "transfer": evaluate_transfer,
    "tagging": evaluate_tagging,
    "genre": evaluate_genre,
    "tsne": evaluate_tsne,
}
