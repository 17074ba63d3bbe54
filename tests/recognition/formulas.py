"""Direct computations of Gaussian mixtures, to compare the package with."""

import numpy as np
from scipy.special import logsumexp

from recognition.gmm_ubm import DiagonalGMM


def random_gmm(c=4, d=3, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    weights, means = random.dirichlet(np.full(c, 3.0)), random.normal(size=(c, d)) * 2 + offset
    return DiagonalGMM(weights, means, random.uniform(0.2, 2.0, size=(c, d)))


def joint_log_density(gmm, frames):
    """Compute log w_c N(x; m_c, S_c), (n, C)."""
    squares = (frames[:, None] - gmm.means) ** 2 / gmm.variances
    density = -0.5 * (np.log(2 * np.pi * gmm.variances) + squares).sum(axis=2)
    return np.log(gmm.weights) + density


def log_likelihood(gmm, frames):
    return logsumexp(joint_log_density(gmm, frames), axis=1)


def posteriors(gmm, frames):
    """Compute p(c | x), (n, C)."""
    return np.exp(joint_log_density(gmm, frames) - log_likelihood(gmm, frames)[:, None])


def expected_llr(model, ubm, frames):
    return (log_likelihood(model, frames) - log_likelihood(ubm, frames)).mean()
