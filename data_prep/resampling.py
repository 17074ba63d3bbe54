"""Resampling to the papers' sample rate, by default with the filter that the authors' code used.

The authors loaded audio with the librosa of 2017, which resampled with resampy's `kaiser_best`.
That filter was a sinc with a Kaiser window: 64 zero crossings, roll-off 0.947594, β = 14.769656,
tabulated at 512 points per zero crossing and interpolated linearly (resampy 0.1.5 to 0.2.2). In
resampy 0.3.0, the name passed to a different filter, which attenuates 10 kHz by 3 dB and 10.4 kHz
by 18 dB.

If the ratio of input to output rate is M : L in lowest terms, every L-th output sample has the same
filter taps. The taps of up to 64 consecutive output samples form a matrix, and one matrix product
applies it to all periods of the track. For 44.1 kHz, where L is 1, FFTs are faster.

References
----------
Smith: *Digital Audio Resampling Home Page*, https://ccrma.stanford.edu/~jos/resample/
"""

import functools
import math

import numpy as np
import soxr

RESAMPLERS = ("kaiser_best_2017", "soxr_hq")

_ZERO_CROSSINGS, _PER_CROSSING = 64, 512
_ROLLOFF, _BETA = 0.9475937167399596, 14.769656459379492
_ROWS = 128  # periods per matrix product, so that they fit in the CPU cache
_FFT_OUTPUTS, _FFT_ROWS = 3072, 32  # output samples per FFT, and FFTs at a time
_BLOCK = 64  # output samples per matrix, which balances its size against the zeros in it


def resample(
    waveform: np.ndarray, rate: int, new_rate: int, resampler: str = RESAMPLERS[0]
) -> np.ndarray:
    """Resample a (n,) float32 waveform to (ceil(n * new_rate / rate),) float32.

    `resampler` is "kaiser_best_2017", the authors' filter, or "soxr_hq", libsoxr's, whose passband
    reaches closer to the new Nyquist frequency.

    Raises
    ------
    ValueError
        If the resampler is unknown.

    Examples
    --------
    >>> resample(np.zeros(44_100, np.float32), 44_100, 22_050).shape
    (22050,)
    """
    if resampler not in RESAMPLERS:
        raise ValueError(f"resampler: {resampler!r}, expected one of {', '.join(RESAMPLERS)}")
    if rate == new_rate:
        return waveform
    if resampler == "soxr_hq":
        return soxr.resample(waveform, rate, new_rate, quality="HQ")
    common = math.gcd(rate, new_rate)
    up, down = new_rate // common, rate // common
    # librosa padded what resampy returned with zeros if the length was no whole number.
    output = np.zeros(-(-len(waveform) * up // down), np.float32)
    count = len(waveform) * up // down
    if up == 1 and _PER_CROSSING % down == 0:  # the filter is then symmetric
        output[:count] = _decimate(waveform, down, count)
        return output
    reach = _reach(up, down)
    periods = max(1, -(-_BLOCK // up))  # several periods make one block if they are short
    up, down = up * periods, down * periods
    rows = -(-count // up)
    padded = np.zeros(reach + rows * down + down + reach + 2, np.float32)
    padded[reach : reach + len(waveform)] = waveform
    result = np.empty((rows, up), np.float32)
    for first in range(0, up, _BLOCK):
        matrix, start = _taps(up, down, first)
        windows = np.lib.stride_tricks.sliding_window_view(padded[start:], len(matrix))[::down]
        for row in range(0, rows, _ROWS):
            part = slice(row, min(row + _ROWS, rows))
            np.matmul(windows[part], matrix, out=result[part, first : first + _BLOCK])
    output[:count] = result.ravel()[:count]
    return output


def _decimate(waveform: np.ndarray, down: int, count: int) -> np.ndarray:
    """Filter a waveform by FFTs of overlapping blocks, and keep every `down`-th sample."""
    import scipy.fft  # see `data_prep.mel.log_mel`

    kept, nyquist = _FFT_OUTPUTS - 2 * _ZERO_CROSSINGS, _FFT_OUTPUTS // 2
    size, lead = _FFT_OUTPUTS * down, _ZERO_CROSSINGS * down
    rows = max(1, -(-count // kept))
    padded = np.zeros(size + (rows - 1) * kept * down, np.float32)
    padded[lead:][: len(waveform)] = waveform[: len(padded) - lead]
    blocks = np.lib.stride_tricks.sliding_window_view(padded, size)[:: kept * down]
    result = np.empty((rows, kept), np.float32)
    for row in range(0, rows, _FFT_ROWS):
        spectrum = scipy.fft.rfft(blocks[row : row + _FFT_ROWS])
        # The transition band ends within an eighth above the new Nyquist frequency. What it leaves
        # there is mirrored below.
        spectrum = spectrum[:, : nyquist + nyquist // 8] * _response(down)
        mirrored = spectrum[:, : nyquist - 1 : -1].conj()
        spectrum[:, nyquist + 1 - mirrored.shape[1] : nyquist + 1] += mirrored
        samples = scipy.fft.irfft(spectrum[:, : nyquist + 1], _FFT_OUTPUTS)
        result[row : row + _FFT_ROWS] = samples[:, _ZERO_CROSSINGS : _ZERO_CROSSINGS + kept]
    return result.ravel()[:count]


@functools.lru_cache(maxsize=8)
def _response(down: int) -> np.ndarray:
    """Return the filter's frequency response, divided by `down`, for `_decimate`."""
    taps, _ = _taps(1, down, 0)
    centred = np.zeros(_FFT_OUTPUTS * down)
    centred[: len(taps)] = taps[:, 0]
    centred = np.roll(centred, -_reach(1, down))
    nyquist = _FFT_OUTPUTS // 2
    response = np.fft.rfft(centred).real / down  # real because the filter is symmetric
    return response[: nyquist + nyquist // 8].astype(np.float32)


def _reach(up: int, down: int) -> int:
    """Return the greatest number of input samples on one side of an output sample."""
    return (_ZERO_CROSSINGS * _PER_CROSSING + 1) // _table_step(up, down)


def _table_step(up: int, down: int) -> int:
    return int(min(1.0, up / down) * _PER_CROSSING)  # truncated, as in resampy


@functools.lru_cache(maxsize=512)
def _taps(up: int, down: int, first: int) -> tuple[np.ndarray, int]:
    """Return the filter matrix of output samples first to first + 63, and where its rows start.

    The matrix is (input samples, output samples) float32. Its first row belongs to the sample at
    that index of an input which is preceded by `_reach` zeros.
    """
    scale, step, reach = min(1.0, up / down), _table_step(up, down), _reach(up, down)
    table = scale * _half_filter()
    slope = np.diff(table, append=table[-1])
    outputs = np.arange(first, min(first + _BLOCK, up))
    before = outputs * down // up  # the last input sample at or before each output sample
    matrix = np.zeros((before[-1] - before[0] + 2 * reach + 1, len(outputs)))
    for column, (output, left) in enumerate(zip(outputs, before, strict=True)):
        fraction = scale * ((output * down % up) / up)
        nearest = left - before[0] + reach
        for position, sign, origin in ((fraction, -1, nearest), (scale - fraction, 1, nearest + 1)):
            offset = int(position * _PER_CROSSING)
            index = offset + step * np.arange((len(table) - offset) // step)
            weights = table[index] + (position * _PER_CROSSING - offset) * slope[index]
            matrix[origin + sign * np.arange(len(index)), column] += weights
    return matrix.astype(np.float32), int(before[0])


@functools.cache
def _half_filter() -> np.ndarray:
    """Return the right half of the windowed sinc, tabulated, (64 * 512 + 1,) float64."""
    count = _ZERO_CROSSINGS * _PER_CROSSING
    sinc = _ROLLOFF * np.sinc(_ROLLOFF * np.linspace(0, _ZERO_CROSSINGS, count + 1))
    return sinc * np.kaiser(2 * count + 1, _BETA)[count:]
