"""Compare computations with packed matrices with NumPy's for full matrices."""

import numpy as np
import pytest

from recognition.packed import PackedSymmetric


@pytest.mark.parametrize("size", [1, 2, 3, 33, 100])
def test_packed_matrices_match_numpy(size):
    random = np.random.default_rng(size)
    factor, b = random.normal(size=(size, 2 * size)), random.normal(size=size)
    matrix = np.eye(size) + factor @ factor.T
    symmetric = PackedSymmetric(size)
    packed, mean = symmetric.pack(matrix), b.copy()
    assert packed.shape == (size * (size + 1) // 2,)
    np.testing.assert_array_equal(symmetric.unpack(packed), matrix)
    log_determinant = symmetric.solve(packed, mean)
    assert log_determinant == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
    np.testing.assert_allclose(mean, np.linalg.solve(matrix, b), rtol=1e-9, atol=1e-12)
    symmetric.second_moment(packed, mean)
    expected = np.linalg.inv(matrix) + np.outer(mean, mean)
    np.testing.assert_allclose(symmetric.unpack(packed), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("matrix", [np.diag([1.0, -1.0]), np.full((2, 2), np.nan)])
def test_matrices_that_are_not_positive_definite_are_rejected(matrix):
    symmetric = PackedSymmetric(2)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        symmetric.solve(symmetric.pack(matrix), np.ones(2))
