"""Genre classifiers trained on fixed features, and classification metrics.

The k-NN and linear softmax classifiers follow ismir2018 (section 5, Tables 2 and 3). Log loss and
macro F1 are the metrics used by agf2018.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from evaluation import LINEAR_TRIALS, NEIGHBOURS
from evaluation.feature_checks import Subset, check_features, check_labelled_features, check_subsets
from evaluation.retrieval import nearest_neighbours


def f1_by_class(predicted: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Compute the F1 score of each class in `predicted` (n,) str or `truth` (n,) str, sorted."""
    from sklearn.metrics import f1_score  # slow to import; k-NN and linear do not need it

    classes = np.union1d(truth, predicted).tolist()
    scores = f1_score(truth, predicted, labels=classes, average=None, zero_division=0)
    return dict(zip(classes, scores.tolist(), strict=True))


def log_loss(probabilities: ArrayLike, truth: ArrayLike, classes: ArrayLike) -> float:
    """Compute the mean negative natural logarithm of the true-class probabilities.

    Probabilities are clipped to [e, 1 - e], where e = 2^-23 is the float32 machine epsilon, as
    in `sklearn.metrics.log_loss` for float32 input, so a track contributes at most 15.94. The
    scikit-learn function is not used because it expects the columns in alphabetical order. Column i
    of `probabilities` (n, classes) belongs to `classes[i]`.
    """
    probabilities, classes = np.asarray(probabilities, np.float32), np.asarray(classes, object)
    columns = pd.Index(classes).get_indexer(np.asarray(truth))
    if probabilities.shape != (len(columns), len(classes)) or (columns < 0).any():
        raise InputError(
            f"log loss: {len(columns)} labels and probabilities of shape {probabilities.shape}; "
            f"give one row per track, and labels that are among the {len(classes)} classes"
        )
    epsilon = np.finfo(np.float32).eps
    of_truth = np.clip(probabilities[np.arange(len(columns)), columns], epsilon, 1 - epsilon)
    return float(-np.log(of_truth, dtype=np.float64).mean())


def knn_predict(
    train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike, k: int = NEIGHBOURS
) -> np.ndarray:
    """Predict the majority label among the `k` training tracks with the highest cosine similarity.

    Training tracks at equal distance are ranked in row order. If several labels receive the same
    number of votes, the label with the nearest neighbour wins.
    """
    train_x, train_y = check_labelled_features(train_x, train_y, "k-NN training subset")
    test_x = check_features(test_x, "k-NN test subset")
    if not 1 <= k <= len(train_x):
        raise InputError(
            f"k-NN: k = {k} neighbours of {len(train_x)} training tracks; "
            f"choose k from 1 to {len(train_x)}"
        )
    codes, classes = pd.factorize(train_y)
    order, _ = nearest_neighbours(test_x, train_x, k=k)
    neighbours, queries = codes[order], np.arange(len(order))[:, None]  # (q, k), (q, 1)
    votes = np.zeros((len(order), len(classes)), np.int64)
    np.add.at(votes, (queries, neighbours), 1)
    # Each neighbour gets its label's vote count; argmax returns the first maximum, the nearest.
    winner = np.argmax(votes[queries, neighbours], axis=1)
    return classes[neighbours[queries[:, 0], winner]]


class LinearResult(NamedTuple):
    """The result of `linear_softmax`."""

    accuracies: np.ndarray  # (trials,) float64
    correct: np.ndarray  # (trials, n) bool, whether each test track was classified correctly
    epochs: np.ndarray  # (trials,) int64, number of epochs until early stopping


def linear_softmax(
    train: Subset, valid: Subset, test: Subset, *, trials: int = LINEAR_TRIALS, seed: int = 0
) -> LinearResult:
    """Train and test a softmax layer on fixed features, repeated over several trials.

    This is the protocol of ismir2018, section 5: features are standardised by the scalar mean and
    standard deviation of the training features, then `fit_softmax` trains the layer.

    Trial i uses `SeedSequence([seed, i])`, so its result does not depend on the number of trials.
    A test track whose label does not occur in the train subset counts as an error. A validation
    track with such a label would have infinite loss, so early stopping ignores it.
    """
    features, (train_y, valid_y, test_y) = check_subsets(train, valid, test, "linear softmax")
    mean, deviation = features[0].mean(), features[0].std()
    if deviation == 0:
        raise InputError(
            f"linear softmax, train subset: every feature is {mean:g}; extract them again"
        )
    # With a column of ones appended to the features, the last row of the weights is the bias.
    train_x, valid_x, test_x = (
        np.pad((x - mean) / deviation, ((0, 0), (0, 1)), constant_values=1) for x in features
    )
    generators = [np.random.default_rng(np.random.SeedSequence([seed, i])) for i in range(trials)]
    weights, epochs_run = fit_softmax((train_x, train_y), (valid_x, valid_y), generators)
    correct = np.argmax(test_x @ weights, axis=-1) == test_y
    return LinearResult(correct.mean(axis=1), correct, epochs_run)


def fit_softmax(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    generators: list[np.random.Generator],
    *,
    epochs: int = 1000,
    patience: int = 8,
    batch_size: int = 16,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    decay: float = 1e-6,
) -> tuple[np.ndarray, np.ndarray]:
    """Train one softmax layer per random generator on features (n, d + 1) whose last column is 1.

    Returns the weights (trials, d + 1, classes), with the bias as the last row, and the number of
    epochs (trials,). The defaults are the paper's values. The kernel is initialised Glorot-uniform
    and the bias to zero; the loss is the mean cross-entropy of the batch. The optimizer is SGD with
    Nesterov momentum as in Keras (v = momentum v - rate g; w += momentum v - rate g), where rate =
    learning_rate / (1 + decay t) at step t, counted from 0. Tracks are shuffled every epoch. A
    trial ends after `patience` epochs without a lower validation loss; its best weights are kept.
    """
    x, targets = train[0], np.eye(train[1].max() + 1)[train[1]]
    shape = x.shape[1] - 1, targets.shape[1]
    limit = np.sqrt(6 / sum(shape))
    kernels = [generator.uniform(-limit, limit, shape) for generator in generators]
    weights = np.pad(kernels, ((0, 0), (0, 1), (0, 0)))
    velocity = np.zeros_like(weights)
    running = np.arange(len(generators))
    best, best_loss = weights.copy(), np.full(len(generators), np.inf)
    wait, epochs_run = np.zeros((2, len(generators)), dtype=np.int64)
    step = 0
    while running.size and epochs_run.max() < epochs:
        order = np.stack([generators[trial].permutation(len(x)) for trial in running])
        for start in range(0, len(x), batch_size):
            rows = order[:, start : start + batch_size]
            error = np.exp(_log_softmax(x[rows] @ weights)) - targets[rows]
            change = x[rows].transpose(0, 2, 1) @ error / rows.shape[1]  # the gradient
            change *= learning_rate / (1 + decay * step)
            velocity *= momentum
            velocity -= change
            weights += momentum * velocity - change
            step += 1
        log_probabilities = _log_softmax(valid[0] @ weights)
        loss = -log_probabilities[:, np.arange(len(valid[1])), valid[1]].mean(axis=1)
        improved = loss < best_loss[running]
        best[running[improved]] = weights[improved]
        best_loss[running[improved]] = loss[improved]
        wait[running] = np.where(improved, 0, wait[running] + 1)
        epochs_run[running] += 1
        going = wait[running] < patience
        if not going.all():
            running, weights, velocity = running[going], weights[going], velocity[going]
    return best, epochs_run


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Compute the logarithm of the softmax over the last axis without overflow."""
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
