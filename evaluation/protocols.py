"""The protocols that judge songs by a label: each from songs to what `evaluate.py` keeps."""

import numpy as np

from common.errors import InputError
from data_prep import targets
from evaluation import classification, retrieval, tagging
from evaluation.feature_checks import require_two_labels
from evaluation.labelled_tracks import LabelledTracks
from evaluation.results import ACCURACY_BY_LABEL, TSNE_MAP, Evaluation
from evaluation.retrieval import mean_by_label


def evaluate_retrieval(songs: LabelledTracks, label: str) -> Evaluation:
    """MAP: each song a query, all others ranked by cosine."""
    require_two_labels(songs.labels(label), "retrieval")
    value = retrieval.mean_average_precision(songs.features, songs.labels(label))
    return Evaluation("map", [value], len(songs.split), {})


def evaluate_knn(songs: LabelledTracks, label: str, *, k: int) -> Evaluation:
    """Accuracy on the test songs of the majority among the 20 nearest training songs."""
    train, _, (test, truth) = songs.subsets(songs.labels(label))
    require_two_labels(train[1], "k-NN, train subset")
    right = classification.knn_predict(*train, test, k) == truth
    return Evaluation("accuracy", [float(right.mean())], len(truth), _of_each(right, truth))


def evaluate_linear(songs: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Accuracy on the test songs of a softmax layer, mean over 10 trainings."""
    train, valid, test = songs.subsets(songs.labels(label))
    result = classification.linear_softmax(*train, *valid, *test, trials=trials, seed=seed)
    details = _of_each(result.right.mean(axis=0), test[1])
    return Evaluation("accuracy", list(result.accuracies), len(test[1]), details)


def _of_each(right: np.ndarray, truth: np.ndarray) -> dict:
    """The details that tell the accuracy of each label (ismir2018, Figure 5)."""
    return {
        ACCURACY_BY_LABEL: {str(name): value for name, value in mean_by_label(right, truth).items()}
    }


def evaluate_transfer(songs: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Accuracy on the test songs of logistic regression or a network, as validation chooses."""
    subsets = songs.subsets(songs.labels(label))
    ran = [tagging.transfer_accuracies(*subsets, seed=seed + trial) for trial in range(trials)]
    kinds = ("logistic regression", "neural network")
    means = {name: float(np.mean([one[name] for one in ran])) for name in kinds}
    return Evaluation("accuracy", [one["best"] for one in ran], len(subsets[2][1]), means)


def evaluate_genre(songs: LabelledTracks, label: str) -> Evaluation:
    """Log loss and macro F1 of the networks' own class probabilities on the test songs.

    Of networks that were trained to tell these labels apart (agf2018). A test song with a
    label that they never learnt has no finite loss and is left out.
    """
    truth, classes = songs.labels(label), np.asarray(songs.feature_file.classes, object)
    probabilities, test = songs.probabilities, songs.split["subset"].eq("test").to_numpy()
    judged = test & np.isin(truth, classes)
    if judged.sum() < test.sum():
        print(
            f"{songs.split_path}: {test.sum() - judged.sum()} test songs left out, the networks never "
            f"learnt their {label}"
        )
    if not judged.any():
        raise InputError(
            f"{songs.split_path}: no test song has a {label} that the networks learnt; judge the split "
            f"that they were trained on, by its {label}"
        )
    truth, probabilities = truth[judged], probabilities[judged]
    predicted = classes[probabilities.argmax(axis=1)]
    details = {
        "macro_f1": classification.macro_f1(predicted, truth),
        "accuracy": classification.accuracy(predicted, truth),
        "F1 of each genre": classification.f1_by_class(predicted, truth),
    }
    loss = classification.log_loss(probabilities, truth, classes)
    return Evaluation("log_loss", [loss], len(truth), details)


def evaluate_tsne(
    songs: LabelledTracks, label: str, *, first: int | None, perplexity: float, seed: int
) -> Evaluation:
    """A map of songs by t-SNE, which `figures` draws, and the divergence that it leaves.

    Its songs are those of the first labels of the split, such as artists, or all. arxiv2017
    shows songs of 22 artists, and GTZAN's genres, by features of 5,000 artists after LDA.
    """
    from evaluation import projection  # scikit-learn's manifolds, which few commands need

    labels = songs.labels(label)
    shown = np.isin(labels, list(dict.fromkeys(labels))[:first])
    plane, divergence = projection.fit_tsne(songs.features[shown], perplexity, seed)
    (x, y), names = plane.round(3).T.tolist(), labels[shown].tolist()
    details = {TSNE_MAP: {"x": x, "y": y, "label": names}}
    return Evaluation("kl_divergence", [divergence], len(names), details)


def evaluate_tagging(songs: LabelledTracks, label: str, *, trials: int, seed: int) -> Evaluation:
    """Area under the ROC curve of each tag, and their mean, from two fully connected layers.

    Tags that no test song has, or all have, are not judged.
    """
    names, tags = targets.tag_matrix(songs.split, label, songs.split_path)
    train, valid, test = songs.subsets(tags)
    for name, (features, _) in zip(("train", "valid", "test"), (train, valid, test), strict=True):
        if not len(features):
            raise InputError(
                f"{songs.split_path}: no track is in the subset {name}; make the split with some"
            )
    ran = [
        tagging.score_tags(tagging.predict_tags(train, valid, test[0], seed=seed + n), test[1])
        for n in range(trials)
    ]
    areas = np.mean([one.auc for one in ran], axis=0)
    judged = {tag: float(auc) for tag, auc in zip(names, areas, strict=True) if auc == auc}
    details = {
        "auc of each tag": dict(sorted(judged.items(), key=lambda item: -item[1])),
        "tags left out": ran[0].left_out,
        "average precision": float(np.mean([one.mean_average_precision for one in ran])),
    }
    return Evaluation("auc", [one.mean_auc for one in ran], len(test[1]), details)
