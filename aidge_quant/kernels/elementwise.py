"""Checked doors to the layers that work element by element."""

import numpy as np

from aidge_quant._kernels import elementwise
from aidge_quant.errors import ShapeError
from aidge_quant.kernels.arrays import (
    DATA,
    checked,
    expect_shape,
    expect_within,
    for_type,
    stored_type,
)
from aidge_quant.kernels.requantization import Requantizes, packed

_INT32 = (-(1 << 31), (1 << 31) - 1)


def _pair(kernel: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both operands checked: of one type, a batch each."""
    a = checked(kernel, "first input", a, DATA)
    b = checked(kernel, "second input", b, (a.dtype.type,))
    if a.ndim < 1 or b.ndim < 1 or a.shape[0] != b.shape[0]:
        raise ShapeError(f"{kernel}: inputs of shapes {a.shape} and {b.shape} differ in batch")
    return a, b


def add(
    a: np.ndarray,
    b: np.ndarray,
    requantization: Requantizes,
    *,
    multipliers: tuple[int, int],
    bias: int,
    dtype: np.dtype | type,
) -> np.ndarray:
    """Return ``multipliers[0] * a + multipliers[1] * b + bias``, requantized.

    Parameters
    ----------
    a, b : int8 or int16 arrays (batch, ...), of one type and shape
    requantization : Requantizes
        With one shift.
    multipliers : (int, int), each -32767 to 32767
    bias : int32
    dtype : numpy type
        Of the output: int8, int16 or int32.

    Returns
    -------
    array of the shape of ``a``

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    a, b = _pair("add", a, b)
    expect_shape("add", "second input", b, a.shape)
    for multiplier in multipliers:
        expect_within("add", "multiplier", multiplier, -32767, 32767)
    expect_within("add", "bias", bias, *_INT32)
    y = np.empty(a.shape, stored_type("add", dtype))
    constants = packed("add", requantization, 1, y.dtype)
    elementwise.add(a.ravel(), b.ravel(), *multipliers, bias, *constants, y.ravel())
    return y


def mul(
    a: np.ndarray,
    b: np.ndarray,
    requantization: Requantizes,
    *,
    multiplier: int,
    zero_points: tuple[int, int],
    bias: int,
    dtype: np.dtype | type,
) -> np.ndarray:
    """Return ``multiplier * (a - zero_points[0]) * (b - zero_points[1]) + bias``, requantized.

    Parameters
    ----------
    a : int8 or int16 array (batch, ..., channels)
    b : array of the type of ``a``
        (batch, ..., channels), or one value a channel: (batch, channels), (batch, 1, 1, channels).
    requantization : Requantizes
        With one shift.
    multiplier : int, 1 to 32767
    zero_points : (int, int), in the range of the type
    bias : int32
    dtype : numpy type
        Of the output: int8, int16 or int32.

    Returns
    -------
    array of the shape of ``a``

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    a, b = _pair("mul", a, b)
    batch, channels = a.shape[0], a.shape[-1] if a.ndim > 1 else 1
    by_channel = b.size == batch * channels and b.shape[-1] == channels
    if a.shape != b.shape and not by_channel:
        raise ShapeError(
            f"mul: the second input has shape {b.shape}, expected {a.shape} or one value a "
            f"channel: ({batch}, {channels})"
        )
    limits = np.iinfo(a.dtype)
    expect_within("mul", "multiplier", multiplier, 1, 32767)
    for zero_point in zero_points:
        expect_within("mul", "zero point", zero_point, limits.min, limits.max)
    expect_within("mul", "bias", bias, *_INT32)
    y = np.empty(a.shape, stored_type("mul", dtype))
    columns = b.size // batch if a.shape == b.shape else channels
    constants = packed("mul", requantization, 1, y.dtype)
    repeat = a.size // b.size
    elementwise.mul(
        a.reshape(-1, columns),
        b.reshape(-1, columns),
        repeat,
        *zero_points,
        multiplier,
        bias,
        *constants,
        y.reshape(-1, columns),
    )
    return y


def rescale(
    x: np.ndarray,
    requantization: Requantizes,
    *,
    multiplier: int,
    bias: int,
    dtype: np.dtype | type,
) -> np.ndarray:
    """Return ``multiplier * x + bias``, requantized.

    Parameters
    ----------
    x : int8 or int16 array (batch, ...)
    requantization : Requantizes
        With one shift.
    multiplier : int, 1 to 32767
    bias : int32
    dtype : numpy type
        Of the output: int8, int16 or int32.

    Returns
    -------
    array of the shape of ``x``

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    x = checked("rescale", "input", x, DATA)
    expect_within("rescale", "multiplier", multiplier, 1, 32767)
    expect_within("rescale", "bias", bias, *_INT32)
    y = np.empty(x.shape, stored_type("rescale", dtype))
    constants = packed("rescale", requantization, 1, y.dtype)
    elementwise.rescale(x.ravel(), multiplier, bias, *constants, y.ravel())
    return y


def clamp(x: np.ndarray, *, lower: int, upper: int) -> np.ndarray:
    """Return the values held within [lower, upper].

    Parameters
    ----------
    x : int8 or int16 array
    lower, upper : int
        In order, in the range of the type.

    Raises
    ------
    ShapeError, DtypeError, DataError
        If the array or a number does not fit.
    """
    x = checked("clamp", "input", x, DATA)
    limits = np.iinfo(x.dtype)
    expect_within("clamp", "upper", upper, limits.min, limits.max)
    expect_within("clamp", "lower", lower, limits.min, upper)
    y = np.empty_like(x)
    elementwise.clamp(x.ravel(), lower, upper, y.ravel())
    return y


def lookup(x: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    """Return ``table[c, x + 128]``.

    Parameters
    ----------
    x : int8 array (batch, ..., channels)
    table : int8 array (1, 256) or (channels, 256)

    Returns
    -------
    int8 array of the shape of ``x``

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array does not fit.
    """
    x = checked("lookup", "input", x, (np.int8,))
    table = checked("lookup", "table", table, (np.int8,), 2)
    channels = x.shape[-1] if x.ndim else 1
    if table.shape not in ((1, 256), (channels, 256)):
        raise ShapeError(
            f"lookup: table has shape {table.shape}, expected (1, 256) or ({channels}, 256)"
        )
    columns = channels if table.shape[0] > 1 else 1
    y = np.empty_like(x)
    elementwise.lookup(x.reshape(-1, columns), table, y.reshape(-1, columns))
    return y


add_s8 = for_type(add, np.int8)
add_s16 = for_type(add, np.int16)
mul_s8 = for_type(mul, np.int8)
mul_s16 = for_type(mul, np.int16)
rescale_s8 = for_type(rescale, np.int8)
rescale_s16 = for_type(rescale, np.int16)
clamp_s8 = for_type(clamp, np.int8)
clamp_s16 = for_type(clamp, np.int16)
lookup_s8 = for_type(lookup, np.int8)
