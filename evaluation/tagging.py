"""Auto-tagging and genre transfer on fixed features (arxiv2017, Tables 1 and 2).

MagnaTagATune: a network of two fully connected layers with sigmoids tags songs,
judged by the area under each tag's ROC curve. GTZAN: logistic regression and
networks name the genre. The features are fixed and small, so that scikit-learn's
networks do; only their early stopping is ours, as theirs splits the training songs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from common.errors import InputError
from evaluation.feature_checks import check_features, check_subsets

# The paper does not say how wide its layers are.
HIDDEN = (512, 512)

# What `transfer` chooses from, the first wins ties: inverse strengths of the L2 penalty, and
# units of the hidden layers.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
NETWORKS = ((64,), (256,), (256, 256))

# Probabilities are cut here, as Keras does, so that no loss is infinite.
CUT = 1e-7

# The matrices are so small that threads take more time than they save, and with another number
# of them a seed would not give the same numbers.
one_thread = threadpool_limits.wrap(limits=1)

# ---------------------------------------------------------------- tags


@dataclass(frozen=True)
class TagScores:
    """How well each of t tags was predicted; NaN for tags that could not be judged.

    auc : (t,) float64, area under the ROC curve
    average_precision : (t,) float64
    """

    auc: np.ndarray
    average_precision: np.ndarray

    @property
    def left_out(self) -> int:
        """How many tags could not be judged, as no test song has them, or all have."""
        return int(np.isnan(self.auc).sum())

    @property
    def mean_auc(self) -> float:
        """Mean over the tags judged: the paper's AUC."""
        return float(np.nanmean(self.auc))

    @property
    def mean_average_precision(self) -> float:
        """Mean over the tags judged."""
        return float(np.nanmean(self.average_precision))


def score_tags(probabilities: ArrayLike, tags: ArrayLike) -> TagScores:
    """Judge predicted tags.

    Parameters
    ----------
    probabilities : (n, t) float, finite
        Any scores, higher for likelier tags; only their order counts.
    tags : (n, t) of 0 and 1

    Raises
    ------
    InputError
        Shapes that differ, NaN or infinity, tags other than 0 and 1, or no tag that
        some test songs have and some do not.
    """
    scores = check_features(probabilities, "tagging, predictions")
    scores, tags = _checked_tags((scores, tags), "predictions")
    if tags.shape != scores.shape:
        raise InputError(
            f"tagging: predictions of shape {scores.shape} for tags of shape {tags.shape}; "
            "give one prediction for each tag of each song"
        )
    judged = np.flatnonzero(tags.any(axis=0) & ~tags.all(axis=0))
    if not judged.size:
        raise InputError(
            f"tagging: none of {tags.shape[1]} tags is on some test songs and not on others; "
            "check the subset and tags columns of the split"
        )
    auc, precision = np.full((2, tags.shape[1]), np.nan)
    auc[judged] = roc_auc_score(tags[:, judged], scores[:, judged], average=None)
    precision[judged] = average_precision_score(tags[:, judged], scores[:, judged], average=None)
    return TagScores(auc, precision)


@one_thread
def predict_tags(
    train: tuple[ArrayLike, ArrayLike],
    valid: tuple[ArrayLike, ArrayLike],
    test_x: ArrayLike,
    *,
    hidden: tuple[int, ...] = HIDDEN,
    seed: int = 0,
    epochs: int = 200,
    patience: int = 8,
) -> np.ndarray:
    """Probability of each tag on each test song, from a network on the song features.

    Features standardised by the training songs; fully connected layers with ReLU, one
    sigmoid a tag; binary cross-entropy, Adam 1e-3, batch 200. `patience` epochs
    without a lower validation loss end the training, and the best weights are kept.

    Parameters
    ----------
    train, valid : (n, d) float features, finite; (n, t) tags of 0 and 1
        t >= 2; n differs by subset.
    test_x : (q, d) float, finite
    hidden : units of each fully connected layer
        The paper has two layers and does not give their width.

    Returns
    -------
    (q, t) float64 from 0 to 1

    Raises
    ------
    InputError
        NaN or infinity in the features, tags that do not fit them, fewer than two
        tags, different d, or an empty subset.
    """
    train_x, train_y = _checked_tags(train, "train")
    valid_x, valid_y = _checked_tags(valid, "valid")
    test_x = check_features(test_x, "tagging, test subset")
    if train_y.shape[1] < 2 or train_y.shape[1] != valid_y.shape[1]:
        raise InputError(
            f"tagging: {train_y.shape[1]} tags in train and {valid_y.shape[1]} in valid; "
            "give the same two or more"
        )
    train_x, valid_x, test_x = _standardised("tagging", train_x, valid_x, test_x)
    network = _fit_network(
        (train_x, train_y), (valid_x, valid_y), hidden, seed, epochs=epochs, patience=patience
    )
    return network.predict_proba(test_x).astype(np.float64)


def _checked_tags(subset: tuple[ArrayLike, ArrayLike], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float64 and tags (n, t) int64 of 0 and 1."""
    features, tags = check_features(subset[0], f"tagging, {name}"), np.asarray(subset[1])
    if tags.ndim != 2 or len(tags) != len(features):
        raise InputError(
            f"tagging, {name}: {len(features)} songs but tags of shape {tags.shape}; "
            "give one row of tags a song"
        )
    if not np.isin(tags, (0, 1)).all():
        raise InputError(f"tagging, {name}: tags other than 0 and 1; give 1 where a song has it")
    return features, tags.astype(np.int64)


# ---------------------------------------------------------------- genre


@one_thread
def transfer_accuracies(
    train: tuple[ArrayLike, ArrayLike],
    valid: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Test accuracy of genre classifiers on the song features.

    The paper tries logistic regression and several neural networks and does not list
    them; here the penalty of the one and the size of the other (`PENALTIES`,
    `NETWORKS`) are those with the best accuracy on the validation songs. Networks
    train as in `predict_tags`, with a softmax. Neither sees a test song before that.

    A label that training lacks cannot be predicted: a test song with it counts as an
    error, a validation song with it is left out.

    Parameters
    ----------
    train, valid, test : (n, d) float features, finite; (n,) labels

    Returns
    -------
    dict
        Accuracy from 0 to 1 of `logistic regression`, of `neural network`, and of
        `best`: of the two, that with the better validation accuracy (ties: the first).

    Raises
    ------
    InputError
        NaN or infinity in the features, labels that do not fit them, different d, an
        empty subset, a single label in training, or no validation song with one of
        training.
    """
    features, (train_y, valid_y, test_y) = check_subsets(train, valid, test, "transfer")
    train_x, valid_x, test_x = _standardised("transfer", *features)
    train, valid = (train_x, train_y), (valid_x, valid_y)
    logistic = [LogisticRegression(C=c, max_iter=1000).fit(*train) for c in PENALTIES]
    networks = [_fit_network(train, valid, hidden, seed) for hidden in NETWORKS]
    chosen = {
        "logistic regression": _best(logistic, valid),
        "neural network": _best(networks, valid),
    }
    chosen["best"] = _best(list(chosen.values()), valid)
    return {name: float(model.score(test_x, test_y)) for name, model in chosen.items()}


def _best(models: list, valid: tuple[np.ndarray, np.ndarray]):
    """The model with the best accuracy on the validation songs, the first of equals."""
    return max(models, key=lambda model: model.score(*valid))


# ---------------------------------------------------------------- both


def _standardised(name: str, train_x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All with the training songs' mean and deviation in each dimension, as float32."""
    if any(x.shape[1] != train_x.shape[1] for x in others):
        raise InputError(
            f"{name}: features of {[x.shape[1] for x in (train_x, *others)]} dimensions in train, "
            "valid and test; extract all with the same weights"
        )
    if not np.ptp(train_x, axis=0).any():
        raise InputError(
            f"{name}, train subset: all songs have the same features; extract them again"
        )
    scaler = StandardScaler().fit(train_x)
    return [scaler.transform(x).astype(np.float32) for x in (train_x, *others)]


def _fit_network(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    hidden: tuple[int, ...],
    seed: int,
    *,
    epochs: int = 200,
    patience: int = 8,
) -> MLPClassifier:
    """A network with the weights of its lowest validation loss.

    Targets are (n,) class numbers, 0 to their largest in `train`, or (n, t) tags.
    """
    network = MLPClassifier(
        hidden,
        alpha=0,  # early stopping is the only regulariser
        batch_size=min(200, len(train[0])),
        # A generator, not the seed: each partial_fit would else shuffle alike.
        random_state=check_random_state(seed),
    )
    tags = train[1].ndim == 2
    classes = np.arange(train[1].shape[1] if tags else train[1].max() + 1)
    best, best_loss, wait = None, np.inf, 0
    for _ in range(epochs):
        network.partial_fit(*train, classes=classes)
        loss = _loss(network.predict_proba(valid[0]), valid[1])
        if loss < best_loss:
            best = [weights.copy() for weights in (*network.coefs_, *network.intercepts_)]
            best_loss, wait = loss, 0
        else:
            wait += 1
        if wait == patience:
            break
    layers = len(network.coefs_)
    network.coefs_, network.intercepts_ = best[:layers], best[layers:]
    return network


def _loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean cross-entropy over songs of class numbers (n,); over songs and tags of tags (n, t)."""
    probabilities = np.clip(probabilities.astype(np.float64), CUT, 1 - CUT)
    if targets.ndim == 1:
        return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())
    return float(-np.log(np.where(targets, probabilities, 1 - probabilities)).mean())
