"""From the stored layout of an integer network to ONNX's: weights, windows, axes."""

import numpy as np

from aidge_quant.integer import layers
from aidge_quant.integer.tensors import IntegerTensor

Shape = tuple[int, ...]


def onnx_weight(layer: layers.Affine) -> np.ndarray:
    """Return the weight of a layer as ONNX stores it.

    Returns
    -------
    array
        (out, in / groups, height, width) of a convolution, (channels, 1, height, width) of a
        depthwise one, (in, out / groups, height, width) of a transposed one, (out, in) of a fully
        connected layer, columns in the stored order of its input.
    """
    weight = layer.weight
    if isinstance(layer, layers.Convolution):
        weight = weight.transpose(0, 3, 1, 2)
    elif isinstance(layer, layers.DepthwiseConvolution):
        weight = weight.transpose(2, 0, 1)[:, None]
    elif isinstance(layer, layers.TransposedConvolution):
        # (g, out / groups, height, width, in / groups) -> (g, in / groups, out / groups, h, w)
        parts = weight.reshape(layer.groups, -1, *weight.shape[1:]).transpose(0, 4, 1, 2, 3)
        weight = parts.reshape(-1, *parts.shape[2:])
    return np.ascontiguousarray(weight)


def row_axes(layer: layers.FullyConnected, source: IntegerTensor) -> tuple[int, ...]:
    """Return the axes before the last one in which a fully connected layer reads its rows."""
    inputs = layer.weight.shape[1]
    if source.size == inputs:
        return ()
    if source.shape[-1] == inputs:
        return source.shape[:-1]
    return (source.size // inputs,)


def row_weight(layer: layers.FullyConnected, source: IntegerTensor) -> np.ndarray:
    """Return the weight (out, in) of a layer that reads one row, columns in ONNX's order."""
    order = np.arange(source.size)
    if len(source.shape) == 3:
        order = order.reshape(source.shape).transpose(2, 0, 1).ravel()
    return np.ascontiguousarray(layer.weight[:, order])


def weight_sums(layer: layers.Affine) -> np.ndarray:
    """Return the sum of the weights of every output channel, int64 (out,)."""
    axis = 2 if isinstance(layer, layers.DepthwiseConvolution) else 0
    others = tuple(i for i in range(layer.weight.ndim) if i != axis)
    return layer.weight.sum(axis=others, dtype=np.int64)


def canonical_axis(tensor: IntegerTensor, stored_axis: int) -> int:
    """Return the axis of the canonical view, batch counted, that a stored axis is."""
    if len(tensor.shape) == 3:
        return (2, 3, 1)[stored_axis]
    return stored_axis + 1


def canonical_axes(tensor: IntegerTensor, values: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """Return one number for each stored axis in the order of the canonical view, batch first."""
    ordered = (values[2], values[0], values[1]) if len(values) == 3 else values
    return (batch, *ordered)


def per_channel(values: np.ndarray, rows: bool) -> np.ndarray:
    """Return one value a channel in a shape that spreads over the output of a layer.

    Parameters
    ----------
    values : array () or (1,) or (channels,)
    rows : bool
        Whether channels are the last axis of the output, as behind a fully connected layer; else
        they are axis 1 of four.
    """
    flat = np.atleast_1d(values)
    if flat.size == 1:
        return flat.reshape(())
    return flat if rows else flat.reshape(-1, 1, 1)
