"""Gradients of convolutions, by matrix products over unfolded windows."""

import math
from collections.abc import Iterator

import numpy as np

from aidge_quant.kernels import fold, unfold
from aidge_quant.ops.windows import Sizes, pad_spatial, taps

#: How many unfolded values are held at a time: 2 MB of float32, about what a cache holds.
COLUMN_VALUES = 2**19

Geometry = tuple[Sizes, Sizes, Sizes]  #: stride, dilation, padding


def weight_gradient(
    x: np.ndarray, gradient: np.ndarray, shape: Sizes, geometry: Geometry, groups: int
) -> np.ndarray:
    """Return the gradient of the weight of a convolution.

    Parameters
    ----------
    x : float array (batch, in, *spatial)
    gradient : float array (batch, out, *outputs)
    shape : tuple of int
        Of the weight: (out, in / groups, *window).
    geometry : stride, dilation and padding
    groups : int
    """
    stride, dilation, padding = geometry
    padded = pad_spatial(x, padding, 0)
    arguments = (shape[2:], stride, dilation, gradient.shape[2:])
    if shape[1] == 1 and groups > 1:
        return _channel_weight_gradient(padded, gradient, shape, groups, arguments)
    result = np.zeros((groups, shape[0] // groups, math.prod(shape[1:])), x.dtype)
    padded, plane = _plane(padded), _plane_geometry(*arguments)
    for samples, count, positions in _portions(gradient, math.prod(shape[1:]) * groups):
        rows = unfold(padded[samples], **plane).reshape(count, groups, -1, positions)
        parts = gradient[samples].reshape(count, groups, -1, positions)
        result += np.matmul(parts, rows.swapaxes(2, 3)).sum(axis=0)
    return result.reshape(shape)


def data_gradient(
    gradient: np.ndarray, weight: np.ndarray, shape: Sizes, geometry: Geometry, groups: int
) -> np.ndarray:
    """Return the gradient of the data of a convolution.

    Parameters
    ----------
    gradient : float array (batch, out, *outputs)
    weight : float array (out, in / groups, *window)
    shape : tuple of int
        Of the data: (batch, in, *spatial).
    geometry : stride, dilation and padding
    groups : int
    """
    stride, dilation, padding = geometry
    rank, window = len(shape) - 2, weight.shape[2:]
    sizes = [shape[2 + i] + padding[i] + padding[rank + i] for i in range(rank)]
    padded = np.zeros((*shape[:2], *sizes), gradient.dtype)
    arguments = (window, stride, dilation, gradient.shape[2:])
    if weight.shape[1] == 1 and groups > 1:
        multiple, ones = weight.shape[0] // groups, (1,) * rank
        parts = gradient.reshape(shape[0], groups, multiple, *gradient.shape[2:])
        for tap, target in taps(padded, *arguments):
            factor = weight[_filter(tap)].reshape(groups, multiple, *ones)
            target += (
                (parts * factor).sum(axis=2) if multiple > 1 else parts[:, :, 0] * factor[:, 0]
            )
    else:
        rows = math.prod(weight.shape[1:])
        turned = weight.reshape(groups, -1, rows).swapaxes(1, 2)
        for samples, count, positions in _portions(gradient, rows * groups):
            parts = gradient[samples].reshape(count, groups, -1, positions)
            columns = np.matmul(turned, parts).reshape(count, -1, positions)
            fold(columns, _plane(padded)[samples], **_plane_geometry(*arguments))
    inner = tuple(slice(padding[i], padding[i] + shape[2 + i]) for i in range(rank))
    return padded[(slice(None), slice(None), *inner)]


def _channel_weight_gradient(
    padded: np.ndarray,
    gradient: np.ndarray,
    shape: Sizes,
    groups: int,
    arguments: tuple[Sizes, Sizes, Sizes, Sizes],
) -> np.ndarray:
    """Return the gradient where every group has one input channel."""
    parts = gradient.reshape(len(gradient), groups, -1, *gradient.shape[2:])
    result = np.empty(shape, gradient.dtype)
    for tap, seen in taps(padded, *arguments):
        found = np.einsum("ngm...,ng...->gm...", parts, seen)
        result[_filter(tap)] = found.reshape(shape[0], -1).sum(axis=1)
    return result


def _portions(gradient: np.ndarray, rows: int) -> Iterator[tuple[slice, int, int]]:
    """Yield slices of samples that bound the memory, how many each has, and the positions."""
    positions = math.prod(gradient.shape[2:])
    step = max(1, COLUMN_VALUES // (rows * positions))
    for start in range(0, len(gradient), step):
        stop = min(start + step, len(gradient))
        yield slice(start, stop), stop - start, positions


def _filter(tap: Sizes) -> tuple[slice | int, ...]:
    return (slice(None), 0, *tap)


def _plane(x: np.ndarray) -> np.ndarray:
    """Return signals (batch, channels, length) as images of height 1."""
    return x if x.ndim == 4 else x[:, :, None]


def _plane_geometry(
    window: Sizes, stride: Sizes, dilation: Sizes, outputs: Sizes
) -> dict[str, tuple[int, int]]:
    values = {"window": window, "stride": stride, "dilation": dilation, "outputs": outputs}
    return {name: (1, *sizes)[-2:] for name, sizes in values.items()}  # type: ignore[misc]
