"""Compiled loops over log densities, for which NumPy would pass over memory several times.

Numba, which librosa needs too, compiles them for float32 and float64 when they are first called.
"""

import math

import numba
import numpy as np
from numba.extending import overload

_LOWEST = -60.0  # lower limit in `exponentiate`, because denormal numbers are slow
LOWEST_TERM = -80.0  # lower limit of the terms in `add_exponentials`
_LOG2_E, _HALF = np.float32(math.log2(math.e)), np.float32(0.5)
# ln 2 in two parts: multiples of the first by integers up to 2**15 are exact in float32.
_LN2_HIGH = np.float32(355 / 512)
_LN2_LOW = np.float32(math.log(2) - 355 / 512)
_TAYLOR = tuple(np.float32(1 / math.factorial(power)) for power in range(8))
_BIAS, _MANTISSA, _INFINITE = np.int32(127), np.int32(23), np.float32(128)


def _exp(x):
    """Return e^x for x of at least -80; Numba's own function is not vectorised for float32."""
    return np.exp(x)


@overload(_exp, inline="always")
def _choose_exp(x):
    if x != numba.float32:
        return lambda x: np.exp(x)

    def exp(x):
        # e^x = 2^power e^rest; |rest| is at most ln(2) / 2, so the Taylor series is off by 5e-9.
        power = min(np.floor(x * _LOG2_E + _HALF), _INFINITE)
        rest = x - power * _LN2_HIGH - power * _LN2_LOW
        a, b, c, d, e, f, g, h = _TAYLOR
        series = (((((h * rest + g) * rest + f) * rest + e) * rest + d) * rest + c) * rest + b
        scale = np.int32((np.int32(power) + _BIAS) << _MANTISSA).view(np.float32)
        return (series * rest + a) * scale

    return exp


@numba.njit(nogil=True, cache=True)
def expand(frames, centre, scale, expanded):
    """Set expanded (n, 2 D + 1) to [z², z, 1], where z is (frames - centre) / scale."""
    d = len(centre)
    for i in range(len(frames)):
        for j in range(d):
            expanded[i, d + j] = (frames[i, j] - centre[j]) / scale[j]
        for j in range(d):
            expanded[i, j] = expanded[i, d + j] * expanded[i, d + j]
        expanded[i, 2 * d] = 1


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def exponentiate(joint, peak, total):
    """Replace each column of joint (C, n) by exp(column - peak), and set peak and total (n,)."""
    components, frames = joint.shape
    lowest = joint.dtype.type(_LOWEST)
    peak[:] = joint[0]
    for c in range(1, components):
        for i in range(frames):
            peak[i] = np.maximum(peak[i], joint[c, i])  # vectorised, which max() is not
    total[:] = 0
    for c in range(components):
        for i in range(frames):
            joint[c, i] = _exp(max(joint[c, i] - peak[i], lowest))
            total[i] += joint[c, i]


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def add_exponentials(sums, rows, terms):
    """Add exp(terms) (n, models) to the rows (n,) of sums."""
    lowest = terms.dtype.type(LOWEST_TERM)
    for number, row in enumerate(rows):
        for model in range(terms.shape[1]):
            sums[row, model] += _exp(max(terms[number, model], lowest))
