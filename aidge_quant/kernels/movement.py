"""Doors to the layers that only move or compare integers of any type: plain numpy.

Axis 0 is the batch; the numbers of a layer speak of the axes behind it.
"""

from collections.abc import Sequence

import numpy as np

from aidge_quant.errors import ShapeError
from aidge_quant.kernels.arrays import STORED, checked


def reshape(x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    """Return the same values in the same order as (batch, *shape)."""
    x = checked("reshape", "input", x, STORED)
    return x.reshape(x.shape[0], *shape)


def transpose(x: np.ndarray, *, permutation: tuple[int, ...]) -> np.ndarray:
    """Return the array whose axis j is axis ``permutation[j]`` of the input, batch left alone."""
    x = checked("transpose", "input", x, STORED, len(permutation) + 1)
    axes = (0, *(axis + 1 for axis in permutation))
    return np.ascontiguousarray(x.transpose(axes))


def slice_(
    x: np.ndarray, *, starts: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Return the values at ``starts + i * steps`` for i from 0 to shape, axis by axis.

    Raises
    ------
    ShapeError
        If a position lies outside the input.
    """
    x = checked("slice", "input", x, STORED, len(shape) + 1)
    index = [np.arange(x.shape[0])]
    for axis, (start, step, count) in enumerate(zip(starts, steps, shape, strict=True)):
        size, last = x.shape[axis + 1], start + (count - 1) * step
        if not (0 <= start < size and 0 <= last < size):
            raise ShapeError(f"slice: positions {start} to {last} of axis {axis}, which has {size}")
        index.append(start + step * np.arange(count))
    return np.ascontiguousarray(x[np.ix_(*index)])


def pad(
    x: np.ndarray, *, before: tuple[int, ...], after: tuple[int, ...], value: int
) -> np.ndarray:
    """Return the input with positions of ``value`` added on each axis behind the batch."""
    x = checked("pad", "input", x, STORED, len(before) + 1)
    widths = ((0, 0), *zip(before, after, strict=True))
    return np.pad(x, widths, constant_values=value)


def concat(arrays: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    """Return the inputs one after the other along axis ``axis`` behind the batch."""
    types = (arrays[0].dtype.type,)
    parts = [checked("concat", f"input {i}", array, types) for i, array in enumerate(arrays)]
    return np.concatenate(parts, axis=axis + 1)


def resize(x: np.ndarray, *, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return ``x[:, rows][:, :, columns]`` of (batch, height, width, channels)."""
    x = checked("resize", "input", x, STORED, 4)
    return np.ascontiguousarray(x[:, rows[:, None], columns])


def argmax(x: np.ndarray) -> np.ndarray:
    """Return the index, int32, of the first largest value of the last axis, which gets size 1."""
    x = checked("argmax", "input", x, STORED)
    return x.argmax(axis=-1, keepdims=True).astype(np.int32)
