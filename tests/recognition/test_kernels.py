"""Test the compiled loops against NumPy in double precision."""

import numpy as np
import pytest

from recognition import kernels

DTYPES = pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-14)])


@DTYPES
def test_expand_matches_numpy(dtype, rtol):
    frames = np.random.default_rng(0).normal(5, 2, (10, 3)).astype(np.float32)
    centre, scale, expanded = np.array([5.0, 4, 6]), np.array([2.0, 1, 3]), np.empty((10, 7), dtype)
    kernels.expand(frames, centre, scale, expanded)
    z = (frames.astype(np.float64) - centre) / scale
    np.testing.assert_allclose(expanded, np.column_stack([z**2, z, np.ones(10)]), rtol=rtol)


@DTYPES
def test_exponentiate_matches_numpy(dtype, rtol):
    joint = np.random.default_rng(0).uniform(-200, 0, (16, 1000)).astype(dtype)
    peak, total = np.empty((2, 1000), dtype)
    densities = joint.copy()
    kernels.exponentiate(densities, peak, total)
    expected = np.exp(np.maximum(joint - joint.max(axis=0), -60).astype(np.float64))
    np.testing.assert_array_equal(peak, joint.max(axis=0))
    np.testing.assert_allclose(densities, expected, rtol=rtol)
    np.testing.assert_allclose(total, expected.sum(axis=0), rtol=2 * rtol)


@DTYPES
def test_add_exponentials_matches_numpy(dtype, rtol):
    rows = np.array([5, 0, 3])
    terms = np.random.default_rng(0).uniform(-80, 88, (3, 500)).astype(dtype)
    sums = np.zeros((6, 500), dtype)
    kernels.add_exponentials(sums, rows, terms)
    kernels.add_exponentials(sums, rows, np.full((3, 500), -np.inf, dtype))
    expected = np.exp(terms.astype(np.float64)) + np.exp(-80.0)
    np.testing.assert_allclose(sums[rows], expected, rtol=rtol)
    assert not sums[[1, 2, 4]].any()


@DTYPES
def test_add_exponentials_overflows_to_infinity(dtype, rtol):
    sums = np.zeros((1, 3), dtype)
    kernels.add_exponentials(sums, np.array([0]), np.array([[88.0, 1e3, np.inf]], dtype))
    np.testing.assert_allclose(sums[0], np.array([np.exp(88.0), np.inf, np.inf]), rtol=rtol)
