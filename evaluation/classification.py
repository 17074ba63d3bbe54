"""Genre classifiers on fixed features, and the measures of what a classifier says.

k-NN and linear softmax are those of ismir2018, section 5, its tables 2 and 3. Both are
numpy: the features are fixed, and a softmax layer on 256 numbers a song needs no
framework. Log loss and macro F1 are the measures of agf2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import f1_score

from common.errors import InputError
from evaluation.feature_checks import check_features, check_labelled_features, check_subsets
from evaluation.similarity import nearest_neighbours


def accuracy(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Share of `predicted` (n,) that equals `truth` (n,), from 0 to 1.

    Raises
    ------
    InputError
        Different lengths, or no songs.
    """
    predicted, truth = _paired(predicted, truth, "accuracy")
    return float(np.mean(predicted == truth))


def f1_by_class(predicted: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """F1 of each class, from 0 to 1: the harmonic mean of its precision and its recall.

    By scikit-learn, of `predicted` (n,) and `truth` (n,) str. The classes, in order, are
    those that truth or prediction has: one that is predicted and never true has 0, as has
    one that is true and never predicted.

    Raises
    ------
    InputError
        Different lengths, or no songs.
    """
    predicted, truth = _paired(predicted, truth, "F1")
    classes = sorted({*truth, *predicted})
    codes = [pd.Index(classes).get_indexer(labels) for labels in (truth, predicted)]
    scores = f1_score(*codes, labels=range(len(classes)), average=None, zero_division=0)
    return dict(zip(classes, map(float, scores), strict=True))


def macro_f1(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean of `f1_by_class`, each class counting alike: scikit-learn's average="macro"."""
    return float(np.mean(list(f1_by_class(predicted, truth).values())))


def log_loss(probabilities: ArrayLike, truth: ArrayLike, classes: Sequence[str]) -> float:
    """Mean negative natural logarithm of the probability of each song's true class.

    A probability is first clipped to [e, 1 - e], e = 2^-23 being float32's epsilon, as
    `sklearn.metrics.log_loss` does with float32: a song costs 15.94 at the most. That one
    is not called because it takes the columns to be in the order of the alphabet.

    Parameters
    ----------
    probabilities : (n, classes) float, from 0 to 1
    truth : (n,) labels
    classes : the label of each column

    Raises
    ------
    InputError
        Shapes that do not fit, no songs, or a true label that is no class.
    """
    probabilities, truth = np.asarray(probabilities, np.float32), np.asarray(truth)
    if not truth.size or probabilities.shape != (*truth.shape, len(classes)):
        raise InputError(
            f"log loss: probabilities of shape {probabilities.shape} for labels of shape "
            f"{truth.shape} and {len(classes)} classes; give one row a song, one column a class"
        )
    true = pd.Index(classes).get_indexer(truth)
    if (true < 0).any():
        raise InputError(
            f"log loss: {str(truth[int(np.argmin(true))])!r} is none of the {len(classes)} "
            "classes and has no probability; leave such songs out"
        )
    step = np.finfo(np.float32).eps
    of_truth = np.clip(probabilities[np.arange(len(true)), true], step, 1 - step)
    return float(-np.log(of_truth, dtype=np.float64).mean())


def _paired(predicted: ArrayLike, truth: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, or an error that calls them `name`."""
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or not truth.size:
        raise InputError(
            f"{name}: predictions of shape {predicted.shape} for labels of shape {truth.shape}; "
            "give one prediction a song and at least one song"
        )
    return predicted, truth


def knn_predict(
    train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike, k: int = 20
) -> np.ndarray:
    """Label of each test song: the majority label of its `k` nearest training songs by cosine.

    Equally near training songs count in the order of their rows; where labels
    have equally many votes, the one with the nearest neighbour of all wins.

    Parameters
    ----------
    train_x, test_x : (n, d) and (q, d) float, finite
    train_y : (n,) labels
    k : int
        Neighbours; the paper's 20.

    Returns
    -------
    (q,) labels

    Raises
    ------
    InputError
        NaN or infinity in the features, labels that do not fit them, no songs,
        or `k` below 1 or above n.
    """
    train_x, train_y = check_labelled_features(train_x, train_y, "k-NN training subset")
    test_x = check_features(test_x, "k-NN test subset")
    if not 1 <= k <= len(train_x):
        raise InputError(
            f"k-NN: k = {k} neighbours of {len(train_x)} training songs; "
            f"take k from 1 to {len(train_x)}"
        )
    codes, classes = pd.factorize(train_y)
    order, _ = nearest_neighbours(test_x, train_x, k=k)
    return classes[_majority(codes[order], len(classes))]


def _majority(neighbours: np.ndarray, classes: int) -> np.ndarray:
    """Most frequent of each row's codes (q, k), nearest first; ties to the code met first."""
    cells = neighbours + classes * np.arange(len(neighbours))[:, None]
    counts = np.bincount(cells.ravel(), minlength=classes * len(neighbours))
    # Each neighbour with the votes for its label: argmax takes the first, so the nearest.
    winner = np.argmax(counts[cells], axis=1)
    return neighbours[np.arange(len(neighbours)), winner]


def knn_accuracy(
    train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike, test_y: ArrayLike, k: int = 20
) -> float:
    """Accuracy of `knn_predict` on the test songs, from 0 to 1.

    A test label that training lacks cannot be predicted and counts as an error.
    """
    test_x, test_y = check_labelled_features(test_x, test_y, "k-NN test subset")
    return accuracy(knn_predict(train_x, train_y, test_x, k), test_y)


@dataclass(frozen=True)
class LinearResult:
    """What `linear_softmax` found, one entry a trial.

    right : (trials, n) bool, whether the label of each test song was found
    epochs : (trials,) int64, epochs run until early stopping
    """

    right: np.ndarray
    epochs: np.ndarray

    @property
    def accuracies(self) -> np.ndarray:
        """(trials,) float64, test accuracy from 0 to 1."""
        return self.right.mean(axis=1)


def linear_softmax(
    train_x: ArrayLike,
    train_y: ArrayLike,
    valid_x: ArrayLike,
    valid_y: ArrayLike,
    test_x: ArrayLike,
    test_y: ArrayLike,
    *,
    trials: int = 10,
    seed: int = 0,
    epochs: int = 1000,
    patience: int = 8,
    batch: int = 16,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    decay: float = 1e-6,
) -> LinearResult:
    """Test accuracy of one softmax layer trained on fixed features, over several trials.

    The protocol of ismir2018, section 5: features minus the scalar mean, over the
    scalar standard deviation, of the training features; `fit_softmax` for the
    training. The defaults are the paper's values.

    Trial i draws from `SeedSequence([seed, i])`, so its result does not depend on
    how many trials run. A test label that training lacks cannot be predicted and
    counts as an error; validation songs with such a label have no finite loss and
    are left out of the early stopping.

    Parameters
    ----------
    train_x, valid_x, test_x : (n, d) float, finite
        n differs by subset.
    train_y, valid_y, test_y : (n,) labels

    Raises
    ------
    InputError
        NaN or infinity in the features, labels that do not fit them, an empty
        subset, a single class in training, constant training features, or no
        validation song with a label of training.
    """
    features, (train_y, valid_y, test_y) = check_subsets(
        (train_x, train_y), (valid_x, valid_y), (test_x, test_y), "linear softmax"
    )
    train_x, valid_x, test_x = _standardised(*features)
    weights, epochs_run = fit_softmax(
        (train_x, train_y),
        (valid_x, valid_y),
        [np.random.default_rng(np.random.SeedSequence([seed, i])) for i in range(trials)],
        epochs=epochs,
        patience=patience,
        batch=batch,
        learning_rate=learning_rate,
        momentum=momentum,
        decay=decay,
    )
    predicted = np.argmax(test_x @ weights, axis=-1)
    return LinearResult(predicted == test_y, epochs_run)


def _standardised(train_x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All with the training features' scalar mean and deviation, and a last column of ones.

    The ones let the bias be the last row of the weights.
    """
    mean, deviation = train_x.mean(), train_x.std()
    if deviation == 0:
        raise InputError(
            f"linear softmax, train subset: every feature is {mean:g}; extract them again"
        )
    if any(x.shape[1] != train_x.shape[1] for x in others):
        raise InputError(
            f"linear softmax: features of {[x.shape[1] for x in (train_x, *others)]} dimensions "
            "in train, valid and test; extract all with the same weights"
        )
    return [
        np.pad((x - mean) / deviation, ((0, 0), (0, 1)), constant_values=1)
        for x in (train_x, *others)
    ]


def fit_softmax(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    generators: list[np.random.Generator],
    *,
    epochs: int,
    patience: int,
    batch: int,
    learning_rate: float,
    momentum: float,
    decay: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Train one softmax layer per generator, all side by side.

    Glorot-uniform kernel, zero bias; cross-entropy, mean over the batch; SGD with
    Nesterov momentum as Keras writes it (v = momentum v - rate g; w += momentum v
    - rate g), rate = learning_rate / (1 + decay t) at step t from 0; songs shuffled
    every epoch, the last batch smaller. As Keras' early stopping: a validation loss
    below the best resets the wait, `patience` epochs without one end the trial, and
    the best weights are kept.

    Parameters
    ----------
    train, valid : (n, d + 1) float64 features with a last column of ones; (n,) int codes
        The codes of `train` are 0 to classes - 1.

    Returns
    -------
    weights : (trials, d + 1, classes) float64
        Kernel, and bias as the last row.
    epochs_run : (trials,) int64
    """
    x, targets = train[0], np.eye(train[1].max() + 1)[train[1]]
    weights = np.stack([_glorot(g, x.shape[1] - 1, targets.shape[1]) for g in generators])
    velocity = np.zeros_like(weights)
    running = np.arange(len(generators))
    best, best_loss = weights.copy(), np.full(len(generators), np.inf)
    wait, epochs_run = np.zeros((2, len(generators)), dtype=np.int64)
    step = 0
    while running.size and epochs_run.max() < epochs:
        order = np.stack([generators[trial].permutation(len(x)) for trial in running])
        for start in range(0, len(x), batch):
            rows = order[:, start : start + batch]
            change = _gradient(x[rows], targets[rows], weights)
            change *= learning_rate / (1 + decay * step)
            velocity *= momentum
            velocity -= change
            weights += momentum * velocity - change
            step += 1
        loss = _cross_entropy(*valid, weights)
        improved = loss < best_loss[running]
        best[running[improved]] = weights[improved]
        best_loss[running[improved]] = loss[improved]
        wait[running] = np.where(improved, 0, wait[running] + 1)
        epochs_run[running] += 1
        going = wait[running] < patience
        if not going.all():
            running, weights, velocity = running[going], weights[going], velocity[going]
    return best, epochs_run


def _glorot(generator: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """Glorot-uniform kernel over a row of zeros for the bias, (inputs + 1, outputs)."""
    limit = np.sqrt(6 / (inputs + outputs))
    kernel = generator.uniform(-limit, limit, (inputs, outputs))
    return np.pad(kernel, ((0, 1), (0, 0)))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax over the last axis, safe for any finite logits."""
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _gradient(x: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy in each trial's weights, (trials, d + 1, classes).

    x is (trials, batch, d + 1), targets (trials, batch, classes) one-hot.
    """
    excess = np.exp(_log_softmax(x @ weights)) - targets
    return x.transpose(0, 2, 1) @ excess / x.shape[1]


def _cross_entropy(x: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean cross-entropy of songs (n, d + 1) with codes (n,) in each trial, (trials,)."""
    return -_log_softmax(x @ weights)[:, np.arange(len(x)), codes].mean(axis=1)
