"""Convolutions and pools of our geometry, asymmetric pads and ceil mode included, in torch."""

import math
from typing import Any

from aidge_quant.interop.torch.library import Tensor, functional, torch
from aidge_quant.ops import AveragePool, Conv, ConvTranspose, MaxPool
from aidge_quant.ops.pooling import WindowPool
from aidge_quant.ops.windows import missing_at_end, taps


def conv(operator: Conv, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the convolution."""
    function = functional.conv1d if x.ndim == 3 else functional.conv2d
    begins, ends = _halves(operator.padding)
    padding: Any = begins
    if begins != ends:
        x, padding = _padded(x, operator.padding, 0.0), 0
    return function(x, weight, bias, operator.stride, padding, operator.dilation, operator.groups)


def conv_transpose(
    operator: ConvTranspose, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Return the transposed convolution; the pads cut, after the result has grown at its end."""
    function = functional.conv_transpose1d if x.ndim == 3 else functional.conv_transpose2d
    groups, dilation = operator.groups, operator.dilation
    full = function(x, weight, None, operator.stride, 0, 0, groups, dilation)
    begins, ends = _halves(operator.padding)
    grown = zip(operator.output_padding, ends, strict=True)
    cuts = (*(-begin for begin in begins), *(extra - end for extra, end in grown))
    result = _padded(full, cuts, 0.0)
    return result if bias is None else result + bias.reshape(-1, *(1,) * (x.ndim - 2))


def max_pool(operator: MaxPool, x: Tensor) -> Tensor:
    """Return the largest value of each window; the gradient goes to the first of equal ones."""
    function = functional.max_pool1d if x.ndim == 3 else functional.max_pool2d
    room, outputs = _room(operator, x, -math.inf)
    found = function(room, operator.window, operator.stride, 0, operator.dilation)
    return found[_first(outputs)]


def sum_pool(operator: WindowPool, x: Tensor) -> Tensor:
    """Return the sum of each window, padding as zeros."""
    room, outputs = _room(operator, x, 0.0)
    return _sums(operator, room, outputs)


def average_pool(operator: AveragePool, x: Tensor) -> Tensor:
    """Return the sum of each window over how many values count."""
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    counted, outputs = _room(operator, ones, float(operator.count_include_pad))
    return sum_pool(operator, x) / _sums(operator, counted, outputs)


def _sums(operator: WindowPool, room: Tensor, outputs: tuple[int, ...]) -> Tensor:
    if any(step != 1 for step in operator.dilation):
        seen = taps(room, operator.window, operator.stride, operator.dilation, outputs)
        return sum(
            (part for _, part in seen), torch.zeros((), dtype=room.dtype, device=room.device)
        )
    plane = room if room.ndim == 4 else room[:, :, None]
    window, stride = (1, *operator.window)[-2:], (1, *operator.stride)[-2:]
    found = functional.avg_pool2d(plane, window, stride, divisor_override=1)
    return (found if room.ndim == 4 else found[:, :, 0])[_first(outputs)]


def _room(operator: WindowPool, x: Tensor, value: float) -> tuple[Tensor, tuple[int, ...]]:
    """Return x padded, its ceil-mode end with what does not count, and the output sizes."""
    sizes = tuple(x.shape[2:])
    ((_, _, *outputs),) = operator.infer_shapes(tuple(x.shape))
    arguments = (operator.window, operator.stride, operator.dilation, operator.padding)
    extra = missing_at_end(sizes, *arguments, tuple(outputs))
    padded = _padded(x, operator.padding, value)
    beyond = -math.inf if value == -math.inf else 0.0
    return _padded(padded, (*(0,) * len(extra), *extra), beyond), tuple(outputs)


def _padded(x: Tensor, padding: tuple[int, ...], value: float) -> Tensor:
    """Return x with all begins, then all ends, of its spatial axes padded, or cut below 0."""
    if not any(padding):
        return x
    begins, ends = _halves(padding)
    pairs = reversed(list(zip(begins, ends, strict=True)))  # torch counts from the last axis
    return functional.pad(x, [width for pair in pairs for width in pair], value=value)


def _halves(padding: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(padding) // 2
    return tuple(padding[:rank]), tuple(padding[rank:])


def _first(sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(size) for size in sizes))
