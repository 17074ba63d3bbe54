"""Uniform samples of streams."""

import numpy as np

from common.reservoir import Reservoir


def test_reservoir_draws_a_uniform_sample_in_order():
    sample = Reservoir(100, seed=0)
    for first in range(0, 10_000, 70):
        sample.offer(np.arange(first, min(first + 70, 10_000), dtype=float)[:, None])
    rows = sample.drawn()[:, 0]
    assert len(np.unique(rows)) == 100 and (np.diff(rows) > 0).all()
    assert 3800 < rows.mean() < 6200
