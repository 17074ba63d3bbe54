"""The sample out of a stream: of its size, in order, and fair."""

import numpy as np

from common.reservoir import Reservoir


def test_the_sample_is_no_larger_than_it_should_be_and_fair():
    sample = Reservoir(100, seed=0)
    for first in range(0, 10_000, 70):
        sample.offer(np.arange(first, min(first + 70, 10_000), dtype=float)[:, None])
    drawn_ = sample.drawn()[:, 0]
    assert len(np.unique(drawn_)) == 100 and (np.diff(drawn_) > 0).all()
    assert 3800 < drawn_.mean() < 6200
