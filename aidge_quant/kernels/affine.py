"""Checked doors to the layers with weights.

Images are (batch, height, width, channels). That no accumulator can leave int32 is the caller's
promise; `aidge_quant.integer.check` proves it for a network.
"""

import numpy as np

from aidge_quant._kernels import affine
from aidge_quant.errors import ShapeError
from aidge_quant.kernels.arrays import (
    DATA,
    checked,
    expect_shape,
    expect_within,
    for_type,
    padded,
    stored_type,
    window_count,
)
from aidge_quant.kernels.requantization import Requantizes, packed

# Rows of products are this long, or a multiple: AQ_DEPTH in _kernels/matmul.h.
_DEPTH = 16
# A factor and what it is multiplied with: what an Add in the accumulator takes.
Residual = tuple[np.ndarray, np.ndarray]
# Rows of a fully connected layer that are accumulated before they are requantized.
_BLOCK = 64


def _deep(rows: np.ndarray) -> np.ndarray:
    """Return the rows as int16 with zeros up to the next multiple of the depth."""
    count = rows.shape[-1]
    result = np.zeros((*rows.shape[:-1], -(-count // _DEPTH) * _DEPTH), np.int16)
    result[..., :count] = rows
    return result


def _packed_residual(
    kernel: str, residual: Residual | None, like: np.ndarray, shape: tuple[int, ...]
) -> Residual:
    """Return factors and values as the compiled kernels take them; empty without a residual.

    Parameters
    ----------
    kernel : str
        For messages.
    residual : (int32 array (1,) or (out,), array of ``shape``), or None
    like : array
        The input, whose type the values must have.
    shape : tuple of int
        Of the output.
    """
    if residual is None:
        return np.empty(0, np.int32), np.empty((0,) * len(shape), np.int16)
    factors = checked(kernel, "residual factors", residual[0], (np.int32,), 1)
    values = checked(kernel, "residual", residual[1], (like.dtype.type,), len(shape))
    if factors.shape != (1,):
        expect_shape(kernel, "residual factors", factors, shape[-1:])
    expect_shape(kernel, "residual", values, shape)
    return factors, np.ascontiguousarray(values, np.int16)


def _expect_groups(kernel: str, x: np.ndarray, weight: np.ndarray, groups: int) -> None:
    """Raise a ShapeError unless the groups divide the channels of input and output."""
    out, depth = weight.shape[0], weight.shape[3]
    if groups < 1 or out % groups or x.shape[3] != depth * groups:
        raise ShapeError(
            f"{kernel}: weight has shape {weight.shape} with {groups} groups, expected an input "
            f"of {depth * groups} channels and a multiple of {groups} outputs, came {x.shape[3]} "
            f"channels and {out} outputs"
        )


def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    requantization: Requantizes,
    *,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
    pad_value: int,
    dtype: np.dtype | type,
    residual: Residual | None = None,
) -> np.ndarray:
    """Return the 2-D convolution of a batch of images, requantized.

    Parameters
    ----------
    x : int8 or int16 array (batch, height, width, in)
    weight : int8 or int16 array (out, kernel height, kernel width, in / groups)
    bias : int32 array (out,)
    requantization : Requantizes
        With one shift, or one a channel.
    stride, dilation : (int, int), height then width, at least 1
    padding : (int, int, int, int), top, left, bottom, right, at least 0
    groups : int, a divisor of in and of out
    pad_value : int
        Read outside the image.
    dtype : numpy type
        Of the output: int8, int16 or int32.
    residual : (int32 array (1,) or (out,), array), optional
        Factors, and what is added to the accumulator times them: of the output's shape, in the
        input's type.

    Returns
    -------
    array (batch, output height, output width, out)

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    x = checked("conv", "input", x, DATA, 4)
    weight = checked("conv", "weight", weight, DATA, 4)
    bias = checked("conv", "bias", bias, (np.int32,), 1)
    _expect_groups("conv", x, weight, groups)
    expect_shape("conv", "bias", bias, weight.shape[:1])
    window = (stride, dilation, padding, pad_value)
    return _conv(x, weight, bias, requantization, *window, dtype, x, residual)


def _conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    requantization: Requantizes,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    pad_value: int,
    dtype: np.dtype | type,
    like: np.ndarray,
    residual: Residual | None,
) -> np.ndarray:
    """Allocate what the convolution needs and run it; the groups follow from the shapes."""
    out, kernel_height, kernel_width, depth = weight.shape
    groups = x.shape[3] // depth
    top, left, bottom, right = padding
    height = window_count("conv", x.shape[1], kernel_height, stride[0], dilation[0], top, bottom)
    width = window_count("conv", x.shape[2], kernel_width, stride[1], dilation[1], left, right)
    images = padded(x, padding, pad_value, np.int16)
    taps = _deep(weight.reshape(groups, out // groups, kernel_height * kernel_width * depth))
    y = np.empty((x.shape[0], height, width, out), stored_type("conv", dtype))
    affine.conv(
        images,
        taps,
        bias,
        (kernel_height, kernel_width),
        stride,
        dilation,
        *packed("conv", requantization, out, y.dtype),
        *_packed_residual("conv", residual, like, y.shape),
        np.zeros((width, taps.shape[2]), np.int16),
        np.empty((width, out), np.int32),
        y,
    )
    return y


def depthwise_conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    requantization: Requantizes,
    *,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    pad_value: int,
    dtype: np.dtype | type,
    residual: Residual | None = None,
) -> np.ndarray:
    """Return the depthwise convolution of a batch of images, requantized.

    Parameters
    ----------
    x : int8 or int16 array (batch, height, width, channels)
    weight : int8 or int16 array (kernel height, kernel width, channels)
    bias : int32 array (channels,)
    requantization, stride, dilation, padding, pad_value, dtype, residual
        As those of ``conv``.

    Returns
    -------
    array (batch, output height, output width, channels)

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    x = checked("depthwise_conv", "input", x, DATA, 4)
    weight = checked("depthwise_conv", "weight", weight, DATA, 3)
    bias = checked("depthwise_conv", "bias", bias, (np.int32,), 1)
    n, h, w, channels = x.shape
    expect_shape("depthwise_conv", "weight", weight, (*weight.shape[:2], channels))
    expect_shape("depthwise_conv", "bias", bias, (channels,))
    (top, left, bottom, right), kernel = padding, "depthwise_conv"
    height = window_count(kernel, h, weight.shape[0], stride[0], dilation[0], top, bottom)
    width = window_count(kernel, w, weight.shape[1], stride[1], dilation[1], left, right)
    y = np.empty((n, height, width, channels), stored_type(kernel, dtype))
    affine.depthwise_conv(
        padded(x, padding, pad_value, np.int16),
        weight.astype(np.int16),
        bias,
        stride,
        dilation,
        *packed(kernel, requantization, channels, y.dtype),
        *_packed_residual(kernel, residual, x, y.shape),
        np.empty((width, channels), np.int32),
        y,
    )
    return y


def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    requantization: Requantizes,
    *,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
    input_zero_point: int,
    dtype: np.dtype | type,
    residual: Residual | None = None,
) -> np.ndarray:
    """Return the 2-D transposed convolution of a batch of images, requantized.

    Parameters
    ----------
    x : int8 or int16 array (batch, height, width, in)
    weight : int8 or int16 array (out, kernel height, kernel width, in / groups)
    bias : int32 array (out,)
    padding : (int, int, int, int), top, left, bottom, right
        Cut off the output; added to it where negative.
    input_zero_point : int
        Subtracted from the input; 0 for int16.
    requantization, stride, dilation, groups, dtype, residual
        As those of ``conv``.

    Returns
    -------
    array (batch, output height, output width, out)

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.

    Notes
    -----
    Computed as a convolution with the reversed kernel over the input spread out by the stride.
    """
    x = checked("conv_transpose", "input", x, DATA, 4)
    weight = checked("conv_transpose", "weight", weight, DATA, 4)
    bias = checked("conv_transpose", "bias", bias, (np.int32,), 1)
    out, kernel_height, kernel_width, _ = weight.shape
    _expect_groups("conv_transpose", x, weight, groups)
    expect_shape("conv_transpose", "bias", bias, (out,))
    if x.dtype == np.int16:
        expect_within("conv_transpose", "zero point of int16", input_zero_point, 0, 0)
    n, h, w, channels = x.shape
    top, left, bottom, right = padding
    reach_y, reach_x = dilation[0] * (kernel_height - 1), dilation[1] * (kernel_width - 1)
    height = (h - 1) * stride[0] + 1 + reach_y - top - bottom
    width = (w - 1) * stride[1] + 1 + reach_x - left - right
    if height < 1 or width < 1:
        raise ShapeError(f"conv_transpose: padding {padding} leaves nothing of the output")
    spread = np.zeros((n, height + reach_y, width + reach_x, channels), np.int16)
    rows, sources_y = _spread(h, stride[0], reach_y - top, spread.shape[1])
    columns, sources_x = _spread(w, stride[1], reach_x - left, spread.shape[2])
    values = x.astype(np.int16) - np.int16(input_zero_point)
    spread[:, rows[:, None], columns] = values[:, sources_y[:, None], sources_x]
    reversed_weight = weight[:, ::-1, ::-1]
    window = ((1, 1), dilation, (0, 0, 0, 0), 0)
    return _conv(spread, reversed_weight, bias, requantization, *window, dtype, x, residual)


def _spread(size: int, stride: int, before: int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the positions of the input lie in the room, and which ones do."""
    sources = np.arange(size)
    targets = before + sources * stride
    inside = (targets >= 0) & (targets < room)
    return targets[inside], sources[inside]


def fc(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    requantization: Requantizes,
    *,
    dtype: np.dtype | type,
    residual: Residual | None = None,
) -> np.ndarray:
    """Return the fully connected layer of a batch of rows, requantized.

    Parameters
    ----------
    x : int8 or int16 array (rows, in)
    weight : int8 or int16 array (out, in)
    bias : int32 array (out,)
    requantization, dtype, residual
        As those of ``conv``.

    Returns
    -------
    array (rows, out)

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array or a number does not fit.
    """
    x = checked("fc", "input", x, DATA, 2)
    weight = checked("fc", "weight", weight, DATA, 2)
    bias = checked("fc", "bias", bias, (np.int32,), 1)
    out = weight.shape[0]
    expect_shape("fc", "weight", weight, (out, x.shape[1]))
    expect_shape("fc", "bias", bias, (out,))
    y = np.empty((x.shape[0], out), stored_type("fc", dtype))
    affine.fc(
        _deep(x),
        _deep(weight),
        bias,
        *packed("fc", requantization, out, y.dtype),
        *_packed_residual("fc", residual, x, y.shape),
        np.empty((min(_BLOCK, x.shape[0]), out), np.int32),
        y,
    )
    return y


conv_s8 = for_type(conv, np.int8)
conv_s16 = for_type(conv, np.int16)
depthwise_conv_s8 = for_type(depthwise_conv, np.int8)
depthwise_conv_s16 = for_type(depthwise_conv, np.int16)
conv_transpose_s8 = for_type(conv_transpose, np.int8)
conv_transpose_s16 = for_type(conv_transpose, np.int16)
fc_s8 = for_type(fc, np.int8)
fc_s16 = for_type(fc, np.int16)
