"""Symmetric matrices packed in half the memory, and LAPACK's routines for them.

In LAPACK's rectangular full packed format, the lower triangle of an (R, R) matrix is a vector of
R (R + 1) / 2 values in an order for which the routines are as fast as for full matrices. Sums and
matrix products over packed matrices do half the work.

The routines are called through ctypes, because SciPy's own functions do not let other threads run.
"""

import ctypes

import numpy as np
from numba.extending import get_cython_function_address
from scipy.linalg import lapack

_ORDER, _TRIANGLE = b"N", b"L"  # the routines' arguments TRANSR and UPLO


def _routine(name: str, arguments: int):
    """Return a LAPACK routine, which takes pointers."""
    address = get_cython_function_address("scipy.linalg.cython_lapack", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)


_factorise, _invert = _routine("dpftrf", 5), _routine("dpftri", 5)
_solve, _add_product = _routine("dpftrs", 8), _routine("dsfrk", 10)
_ONE = ctypes.byref(ctypes.c_double(1))


class PackedSymmetric:
    """Packs symmetric (…, R, R) float64 matrices as (…, size), and computes with these."""

    def __init__(self, rank: int):
        places = np.arange(rank * rank, dtype=np.float64).reshape(rank, rank)
        self._lower = lapack.dtrttf(places, uplo="L")[0].astype(np.intp)
        self.size = self._lower.size
        positions = np.zeros((rank, rank), dtype=np.intp)
        positions.ravel()[self._lower] = np.arange(self.size)
        self._positions = np.maximum(positions, positions.T)
        self._diagonal = positions.diagonal()
        self._rank, self._one = ctypes.c_int(rank), ctypes.c_int(1)

    def pack(self, full: np.ndarray) -> np.ndarray:
        """Pack matrices (…, R, R) as (…, size)."""
        return full.reshape(*full.shape[:-2], -1)[..., self._lower]

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Unpack (…, size) to full matrices (…, R, R)."""
        return packed[..., self._positions]

    def solve(self, matrix: np.ndarray, b: np.ndarray) -> float:
        """Replace b (R,) by L⁻¹ b and the packed L by its Cholesky factor; return log det L.

        Both arrays must be contiguous float64. If L is not positive definite, `LinAlgError` is
        raised.
        """
        failed = ctypes.c_int()
        rank, one, status = map(ctypes.byref, (self._rank, self._one, failed))
        _factorise(_ORDER, _TRIANGLE, rank, matrix.ctypes.data, status)
        log_determinant = 2 * np.log(matrix[self._diagonal]).sum() if not failed.value else np.nan
        if not np.isfinite(log_determinant):
            raise np.linalg.LinAlgError("the matrix is not positive definite, or not finite")
        _solve(_ORDER, _TRIANGLE, rank, one, matrix.ctypes.data, b.ctypes.data, rank, status)
        return log_determinant

    def second_moment(self, factor: np.ndarray, mean: np.ndarray) -> None:
        """Replace the factor of L that `solve` left by L⁻¹ + mean mean'."""
        rank, one, status = map(ctypes.byref, (self._rank, self._one, ctypes.c_int()))
        _invert(_ORDER, _TRIANGLE, rank, factor.ctypes.data, status)
        where = mean.ctypes.data, rank, _ONE, factor.ctypes.data
        _add_product(_ORDER, _TRIANGLE, b"N", rank, one, _ONE, *where)
