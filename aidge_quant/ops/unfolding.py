"""Convolutions and their gradients, by matrix products over unfolded windows."""

import math
from collections.abc import Iterator

import numpy as np

from aidge_quant.kernels import fold, unfold
from aidge_quant.kernels.unfolding import FLOATS
from aidge_quant.ops.windows import Sizes, pad_spatial, taps

#: How many unfolded values are held at a time: 2 MB of float32, about what a cache holds.
COLUMN_VALUES = 2**19

#: The same where samples share a matrix product: it reads the weights once for all of them.
JOINED_VALUES = 2**22

#: From so many positions on, each sample has a matrix product of its own.
OWN_PRODUCT = 128

Geometry = tuple[Sizes, Sizes, Sizes]  #: stride, dilation, padding


def sum_windows(
    padded: np.ndarray,
    weight: np.ndarray,
    stride: Sizes,
    dilation: Sizes,
    outputs: Sizes,
    groups: int,
) -> np.ndarray:
    """Return a convolution without bias.

    Parameters
    ----------
    padded : float array (batch, in, *spatial)
    weight : float array (out, in / groups, *window)
    stride, dilation, outputs : tuple of int, one a spatial axis
    groups : int

    Returns
    -------
    float array (batch, out, *outputs)
    """
    window, rows, positions = weight.shape[2:], math.prod(weight.shape[1:]), math.prod(outputs)
    matrices = weight.reshape(groups, -1, rows)
    result = np.empty((len(padded), *matrices.shape[:2], positions), padded.dtype)
    as_they_are = math.prod(window) == 1 and padded.shape[2:] == outputs
    padded, plane = _plane(padded), _plane_geometry(window, stride, dilation, outputs)
    alone = positions >= OWN_PRODUCT
    values = COLUMN_VALUES if alone else JOINED_VALUES
    for samples, count in _portions(len(padded), rows * groups * positions, values):
        columns = padded[samples] if as_they_are else _columns(padded[samples], plane)
        columns = columns.reshape(count, groups, rows, positions)
        if alone:
            np.matmul(matrices, columns, out=result[samples])
            continue
        for group, matrix in enumerate(matrices):
            joined = columns[:, group].swapaxes(0, 1).reshape(rows, count * positions)
            product = (matrix @ joined).reshape(-1, count, positions)
            result[samples, group] = product.swapaxes(0, 1)
    return result.reshape(len(padded), len(weight), *outputs)


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
    positions = math.prod(gradient.shape[2:])
    for samples, count in _portions(len(gradient), math.prod(shape[1:]) * groups * positions):
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
        rows, positions = math.prod(weight.shape[1:]), math.prod(gradient.shape[2:])
        turned = weight.reshape(groups, -1, rows).swapaxes(1, 2)
        for samples, count in _portions(len(gradient), rows * groups * positions):
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


def _portions(count: int, size: int, values: int = COLUMN_VALUES) -> Iterator[tuple[slice, int]]:
    """Yield slices of samples of so many unfolded values each, and how many each has."""
    step = max(1, values // size)
    for start in range(0, count, step):
        stop = min(start + step, count)
        yield slice(start, stop), stop - start


def _columns(x: np.ndarray, plane: dict[str, tuple[int, int]]) -> np.ndarray:
    """Return what every window sees, in the type of x."""
    if x.dtype in FLOATS:
        return unfold(x, **plane)
    return unfold(x.astype(np.float32), **plane).astype(x.dtype)  # float16: nothing is lost


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
