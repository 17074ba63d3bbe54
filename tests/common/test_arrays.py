"""Tests of concatenation on disk and of uniform sampling from streams."""

import numpy as np

from common.arrays import Reservoir, concatenate_on_disk


def test_concatenate_on_disk_returns_all_rows(tmp_path):
    random = np.random.default_rng(0)
    arrays = [random.random((count, 3)).astype(np.float32) for count in (4, 0, 1, 7)]
    rows, start = concatenate_on_disk(iter(arrays), tmp_path)
    assert start.tolist() == [0, 4, 4, 5, 12] and rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.concatenate(arrays))
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_reservoir_draws_a_uniform_sample_in_order():
    sample = Reservoir(100, seed=0)
    for first in range(0, 10_000, 70):
        sample.offer(np.arange(first, min(first + 70, 10_000), dtype=float)[:, None])
    rows = sample.drawn()[:, 0]
    assert len(np.unique(rows)) == 100 and (np.diff(rows) > 0).all()
    assert 3800 < rows.mean() < 6200
