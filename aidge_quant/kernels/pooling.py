"""Checked doors to the pools."""

import numpy as np

from aidge_quant._kernels import pooling
from aidge_quant.errors import DataError
from aidge_quant.kernels.arrays import (
    DATA,
    checked,
    expect_within,
    for_type,
    padded,
    stored_type,
    window_count,
)
from aidge_quant.kernels.requantization import Requantizes, packed

Pair = tuple[int, int]


def inside_counts(
    size: int, count: int, window: int, stride: int, dilation: int, before: int
) -> np.ndarray:
    """Return how many positions of each window along one axis are inside: int32 array (count,)."""
    taps = np.arange(count)[:, None] * stride + np.arange(window) * dilation - before
    return ((taps >= 0) & (taps < size)).sum(axis=1, dtype=np.int32)


def _output(
    kernel: str,
    x: np.ndarray,
    window: Pair,
    stride: Pair,
    dilation: Pair,
    padding: tuple[int, int, int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inside counts of the windows of both axes; their sizes are those of the output."""
    counts = []
    for axis in range(2):
        size, steps = x.shape[1 + axis], (window[axis], stride[axis], dilation[axis])
        before, after = padding[axis], padding[axis + 2]
        count = window_count(kernel, size, *steps, before, after)
        inside = inside_counts(size, count, *steps, before)
        if not inside.all():
            raise DataError(f"{kernel}: padding {padding} puts a whole window outside the image")
        counts.append(inside)
    return counts[0], counts[1]


def avg_pool(
    x: np.ndarray,
    requantization: Requantizes | None,
    *,
    window: Pair,
    stride: Pair,
    padding: tuple[int, int, int, int],
    count_include_pad: bool,
    zero_point: int,
    bias: int,
    lower: int,
    upper: int,
    dtype: np.dtype | type,
) -> np.ndarray:
    """Return the average of every window, as a requantized sum or by a rounded division.

    Parameters
    ----------
    x : int8 or int16 array (batch, height, width, channels)
    requantization : Requantizes or None
        With one shift; None divides.
    window, stride : (int, int), height then width, at least 1
    padding : (int, int, int, int), top, left, bottom, right, at least 0
    count_include_pad : bool
        Whether positions outside count in the divisor.
    zero_point : int
        Read outside; subtracted before and added after a division.
    bias : int32
        Added to the sum that is requantized.
    lower, upper : int
        Bounds of the result of a division.
    dtype : numpy type
        Of the output; that of ``x`` for a division.

    Returns
    -------
    array (batch, output height, output width, channels)

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    x = checked("avg_pool", "input", x, DATA, 4)
    limits = np.iinfo(x.dtype)
    expect_within("avg_pool", "zero_point", zero_point, limits.min, limits.max)
    inside_y, inside_x = _output("avg_pool", x, window, stride, (1, 1), padding)
    shape = (x.shape[0], inside_y.size, inside_x.size, x.shape[3])
    acc = np.empty(x.shape[3], np.int32)
    if requantization is not None:
        expect_within("avg_pool", "bias", bias, -(1 << 31), (1 << 31) - 1)
        y = np.empty(shape, stored_type("avg_pool", dtype))
        images = padded(x, padding, zero_point, np.int16)
        constants = packed("avg_pool", requantization, 1, y.dtype)
        pooling.avg_pool_shift(images, window, stride, bias, *constants, acc, y)
        return y
    expect_within("avg_pool", "upper", upper, limits.min, limits.max)
    expect_within("avg_pool", "lower", lower, limits.min, upper)
    if x.dtype == np.int16:
        expect_within("avg_pool", "zero point of int16", zero_point, 0, 0)
    if np.dtype(dtype) != x.dtype:
        raise DataError(f"avg_pool: output {np.dtype(dtype)} of a division, expected {x.dtype}")
    counts = np.outer(inside_y, inside_x)
    if count_include_pad:
        counts = np.full_like(counts, window[0] * window[1])
    y = np.empty(shape, x.dtype)
    centred = x.astype(np.int16) - np.int16(zero_point)
    images = padded(centred, padding, 0, np.int16)
    pooling.avg_pool_divide(images, window, stride, counts, zero_point, lower, upper, acc, y)
    return y


def max_pool(
    x: np.ndarray,
    *,
    window: Pair,
    stride: Pair,
    dilation: Pair,
    padding: tuple[int, int, int, int],
) -> np.ndarray:
    """Return the largest value of every window; positions outside do not count.

    Parameters
    ----------
    x : int8 or int16 array (batch, height, width, channels)
    window, stride, dilation : (int, int), height then width, at least 1
    padding : (int, int, int, int), top, left, bottom, right, at least 0

    Returns
    -------
    array (batch, output height, output width, channels) of the type of ``x``

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    x = checked("max_pool", "input", x, DATA, 4)
    inside_y, inside_x = _output("max_pool", x, window, stride, dilation, padding)
    y = np.empty((x.shape[0], inside_y.size, inside_x.size, x.shape[3]), x.dtype)
    # The smallest value never wins against one that is inside.
    images = padded(x, padding, np.iinfo(x.dtype).min, x.dtype)
    pooling.max_pool(images, window, stride, dilation, y)
    return y


avg_pool_s8 = for_type(avg_pool, np.int8)
avg_pool_s16 = for_type(avg_pool, np.int16)
max_pool_s8 = for_type(max_pool, np.int8)
max_pool_s16 = for_type(max_pool, np.int16)
