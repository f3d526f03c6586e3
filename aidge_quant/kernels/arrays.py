"""What every door does with its arrays: check, widen, pad, name by type."""

import functools
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from aidge_quant.errors import DataError, DtypeError, ShapeError

Function = TypeVar("Function", bound=Callable[..., np.ndarray])

#: Types of the data that a layer with arithmetic reads.
DATA = (np.int8, np.int16)
#: Types that a requantization writes.
STORED = (np.int8, np.int16, np.int32)


def checked(
    kernel: str, thing: str, array: np.ndarray, types: tuple[type, ...], axes: int | None = None
) -> np.ndarray:
    """Return the array, C-contiguous, after a look at its type, axes and size.

    Parameters
    ----------
    kernel, thing : str
        Which argument of which kernel this is, for the message.
    array : array
    types : tuple of numpy types
        What the kernel takes.
    axes : int, optional
        How many axes the kernel takes; any number by default.

    Raises
    ------
    DtypeError, ShapeError, DataError
        If the type or the number of axes differs, or the array is empty.
    """
    if not isinstance(array, np.ndarray) or array.dtype.type not in types:
        came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        expected = " or ".join(np.dtype(each).name for each in types)
        raise DtypeError(f"{kernel}: {thing} is {came}, expected {expected}")
    if axes is not None and array.ndim != axes:
        raise ShapeError(f"{kernel}: {thing} has shape {array.shape}, expected {axes} axes")
    if array.size == 0:
        raise DataError(f"{kernel}: {thing} has shape {array.shape}, which holds no value")
    return np.ascontiguousarray(array)


def expect_shape(kernel: str, thing: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise a ShapeError unless the array has this shape."""
    if array.shape != shape:
        raise ShapeError(f"{kernel}: {thing} has shape {array.shape}, expected {shape}")


def expect_within(kernel: str, thing: str, value: int, lower: int, upper: int) -> None:
    """Raise a DataError unless lower <= value <= upper."""
    if not lower <= value <= upper:
        raise DataError(f"{kernel}: {thing} is {value}, expected {lower} to {upper}")


def stored_type(kernel: str, dtype: np.dtype | type) -> np.dtype:
    """Return the numpy type of an output, after checking that a requantization can write it."""
    chosen = np.dtype(dtype)
    if chosen.type not in STORED:
        raise DtypeError(f"{kernel}: the output is {chosen}, expected int8, int16 or int32")
    return chosen


def window_count(
    kernel: str, size: int, window: int, stride: int, dilation: int, before: int, after: int
) -> int:
    """Return how many windows fit along one axis.

    Raises
    ------
    ShapeError
        If none fits.
    DataError
        If a window, stride or dilation is less than 1, or a padding less than 0.
    """
    if min(window, stride, dilation) < 1 or min(before, after) < 0:
        raise DataError(
            f"{kernel}: window {window}, stride {stride}, dilation {dilation}, padding "
            f"{before} and {after}: expected at least 1, and padding at least 0"
        )
    room = size + before + after - dilation * (window - 1) - 1
    if room < 0:
        raise ShapeError(
            f"{kernel}: {size} positions with padding {before} and {after} are fewer than a "
            f"window of {window} with dilation {dilation} covers"
        )
    return room // stride + 1


def padded(
    x: np.ndarray, padding: tuple[int, int, int, int], value: int, dtype: np.dtype | type
) -> np.ndarray:
    """Return images with a border, in another type that holds them.

    Parameters
    ----------
    x : integer array (batch, height, width, channels)
    padding : (int, int, int, int), top, left, bottom, right
    value : int
        Stored in the border.
    dtype : numpy integer type
    """
    top, left, bottom, right = padding
    n, h, w, c = x.shape
    if not any(padding):
        return np.ascontiguousarray(x, dtype=dtype)
    result = np.full((n, top + h + bottom, left + w + right, c), value, dtype=dtype)
    result[:, top : top + h, left : left + w] = x
    return result


def for_type(door: Function, dtype: type) -> Function:
    """Return the door for one type of data under its own name, ``conv_s8`` for conv and int8."""
    name = f"{door.__name__}_s{np.dtype(dtype).itemsize * 8}"

    @functools.wraps(door)
    def typed(x: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
        checked(name, "input", x, (dtype,))
        return door(x, *arguments, **options)

    typed.__name__ = typed.__qualname__ = name
    return typed  # type: ignore[return-value]
