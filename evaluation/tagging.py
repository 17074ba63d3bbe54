"""Auto-tagging and genre transfer with fixed features (arxiv2017, Tables 1 and 2).

On MagnaTagATune, a network with two fully connected layers and sigmoid outputs predicts tags; the
metric is the area under each tag's ROC curve. On GTZAN, logistic regression and neural networks
predict the genre. Early stopping is implemented here because scikit-learn would take the validation
tracks from the training tracks.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from common.errors import InputError
from evaluation.feature_checks import Subset, check_features, check_subsets

HIDDEN = (512, 512)  # units in the layers of the tag network, which the paper does not specify
EPOCHS, PATIENCE = 200, 8  # limits of the networks' training

# Candidates for `transfer_accuracies`: inverse strength of the L2 penalty, and units per hidden
# layer. If several candidates tie, the first wins.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
NETWORKS = ((64,), (256,), (256, 256))

# Probabilities are clipped to [CLIP, 1 - CLIP], as in Keras, so that every loss is finite.
CLIP = 1e-7

# For matrices this small, threads cost more time than they save, and results would depend on the
# number of threads.
one_thread = threadpool_limits.wrap(limits=1)


def score_tags(probabilities: ArrayLike, tags: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Compute the area under the ROC curve and the average precision of each tag, (t,) float64.

    `probabilities` (n, t) are higher for likelier tags; only their order matters. The scores of
    tags (n, t) that apply to no track or to every track are NaN.
    """
    scores, tags = check_features(probabilities, "tagging, predictions"), np.asarray(tags, bool)
    evaluated = np.flatnonzero(tags.any(axis=0) & ~tags.all(axis=0))
    if not evaluated.size:
        raise InputError(
            f"tagging: none of {tags.shape[1]} tags is on some test tracks but not on others; "
            "check the subset and tags columns of the split"
        )
    auc, precision = np.full((2, tags.shape[1]), np.nan)
    truth, scores = tags[:, evaluated], scores[:, evaluated]
    auc[evaluated] = roc_auc_score(truth, scores, average=None)
    precision[evaluated] = average_precision_score(truth, scores, average=None)
    return auc, precision


@one_thread
def predict_tags(train: Subset, valid: Subset, test_x: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """Train a network to predict tags, and return the tag probabilities of the test tracks.

    Features are standardised with the statistics of the training tracks. The network has fully
    connected ReLU layers and one sigmoid output per tag, and is trained with binary cross-entropy
    and Adam (learning rate 1e-3, batch size 200). Training ends after `PATIENCE` epochs without a
    lower validation loss, and the best weights are used. `tags` is a binary (n, t) array with
    t >= 2.
    """
    features = (("train", train[0]), ("valid", valid[0]), ("test", test_x))
    checked = [check_features(x, f"tagging, {subset} subset") for subset, x in features]
    train_x, valid_x, test_x = _standardise("tagging", *checked)
    train_y, valid_y = (np.asarray(tags, np.int64) for _, tags in (train, valid))
    network = _fit_network((train_x, train_y), (valid_x, valid_y), HIDDEN, seed)
    return network.predict_proba(test_x).astype(np.float64)


@one_thread
def transfer_accuracies(
    train: Subset, valid: Subset, test: Subset, *, seed: int = 0
) -> dict[str, float]:
    """Train genre classifiers on fixed features, and return their test accuracies.

    The paper tries logistic regression and several neural networks without listing them. Here,
    the regression penalty (`PENALTIES`) and the network size (`NETWORKS`) are chosen by validation
    accuracy. Networks are trained as in `predict_tags`, but with a softmax output.

    Test tracks with a label that does not occur in the train subset count as errors; validation
    tracks with such a label are left out. The names of the accuracies are "logistic regression",
    "neural network", and "best", whichever of the two has the higher validation accuracy.
    """
    features, (train_y, valid_y, test_y) = check_subsets(train, valid, test, "transfer")
    train_x, valid_x, test_x = _standardise("transfer", *features)
    train, valid = (train_x, train_y), (valid_x, valid_y)
    regressions = [LogisticRegression(C=c, max_iter=1000).fit(*train) for c in PENALTIES]
    networks = [_fit_network(train, valid, hidden, seed) for hidden in NETWORKS]

    def best(models: Iterable):
        return max(models, key=lambda model: model.score(*valid))  # the first if several tie

    models = {"logistic regression": best(regressions), "neural network": best(networks)}
    models["best"] = best(models.values())
    return {name: float(model.score(test_x, test_y)) for name, model in models.items()}


def _standardise(name: str, train_x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Standardise each dimension with the training statistics, and return float32 arrays."""
    if not np.ptp(train_x, axis=0).any():
        raise InputError(f"{name}, train subset: all features are the same; extract them again")
    scaler = StandardScaler().fit(train_x)
    return [scaler.transform(x).astype(np.float32) for x in (train_x, *others)]


def _fit_network(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    hidden: tuple[int, ...],
    seed: int,
) -> MLPClassifier:
    """Train on class numbers (n,) or tags (n, t), and restore the best weights."""
    network = MLPClassifier(
        hidden,
        alpha=0,  # early stopping is the only regulariser
        batch_size=min(200, len(train[0])),
        # With an int instead of a generator, every partial_fit call would use the same order.
        random_state=check_random_state(seed),
    )
    tags = train[1].ndim == 2
    classes = np.arange(train[1].shape[1] if tags else train[1].max() + 1)
    best: list[np.ndarray] = []
    best_loss, wait = np.inf, 0
    for _ in range(EPOCHS):
        network.partial_fit(*train, classes=classes)
        loss = _cross_entropy(network.predict_proba(valid[0]), valid[1])
        if loss < best_loss:
            best = [weights.copy() for weights in (*network.coefs_, *network.intercepts_)]
            best_loss, wait = loss, 0
        else:
            wait += 1
        if wait == PATIENCE:
            break
    layers = len(network.coefs_)
    network.coefs_, network.intercepts_ = best[:layers], best[layers:]
    return network


def _cross_entropy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Average the cross-entropy over tracks for class numbers (n,), or also over tags (n, t)."""
    probabilities = np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP)
    if targets.ndim == 1:
        return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())
    return float(-np.log(np.where(targets, probabilities, 1 - probabilities)).mean())
