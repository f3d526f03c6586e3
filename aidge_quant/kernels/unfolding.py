"""Doors to the kernels that write the windows of float images as columns, for gradients."""

import math

import numpy as np

from aidge_quant._kernels import unfolding
from aidge_quant.errors import ShapeError
from aidge_quant.kernels.arrays import checked, expect_shape

FLOATS = (np.float32, np.float64)

Pair = tuple[int, int]


def unfold(
    x: np.ndarray, *, window: Pair, stride: Pair, dilation: Pair, outputs: Pair
) -> np.ndarray:
    """Return what every window sees.

    Parameters
    ----------
    x : float array (batch, channels, height, width), padded
    window, stride, dilation, outputs : (int, int)

    Returns
    -------
    float array (batch, channels * window, outputs), rows in the order (channel, tap), columns that
    of the positions

    Raises
    ------
    ShapeError
        If a window reaches beyond the image.
    """
    x = checked("unfold", "input", x, FLOATS, 4)
    _expect_room(x.shape[2:], window, stride, dilation, outputs)
    rows = x.shape[1] * math.prod(window)
    y = np.empty((x.shape[0], rows, math.prod(outputs)), x.dtype)
    unfolding.unfold(x, window, stride, dilation, outputs, y)
    return y


def fold(
    columns: np.ndarray,
    target: np.ndarray,
    *,
    window: Pair,
    stride: Pair,
    dilation: Pair,
    outputs: Pair,
) -> None:
    """Add columns, as ``unfold`` orders them, to the places of ``target`` they stand for.

    Parameters
    ----------
    columns : float array (batch, channels * window, outputs)
    target : float array (batch, channels, height, width), contiguous; changed in place

    Raises
    ------
    ShapeError
        If the shapes do not fit, or the target is not contiguous.
    """
    columns = checked("fold", "columns", columns, FLOATS, 3)
    found = checked("fold", "target", target, (columns.dtype.type,), 4)
    if found is not target:
        raise ShapeError("fold: the target is not contiguous, so nothing can be added in place")
    _expect_room(target.shape[2:], window, stride, dilation, outputs)
    rows = target.shape[1] * math.prod(window)
    shape = (target.shape[0], rows, math.prod(outputs))
    expect_shape("fold", "columns", columns, shape)
    unfolding.fold(columns, window, stride, dilation, outputs, target)


def _expect_room(
    sizes: tuple[int, ...], window: Pair, stride: Pair, dilation: Pair, outputs: Pair
) -> None:
    for size, taps, step, spread, count in zip(
        sizes, window, stride, dilation, outputs, strict=True
    ):
        if min(taps, step, spread, count) < 1:
            raise ShapeError("unfold: window, stride, dilation and outputs are at least 1")
        if (count - 1) * step + (taps - 1) * spread >= size:
            raise ShapeError(
                f"unfold: {count} windows of {taps} with stride {step} and dilation {spread} "
                f"reach beyond {size} positions"
            )
