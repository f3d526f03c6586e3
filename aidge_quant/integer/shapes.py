"""Output shape of every layer, and what its input must look like.

Each function takes the layer, its input tensors and its output tensor, and returns the stored
shape that the output must have; a ShapeError says what does not fit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aidge_quant.errors import GraphError, ShapeError
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.kernels.arrays import window_count
from aidge_quant.kernels.pooling import inside_counts

Shape = tuple[int, ...]
ShapeRule = Callable[[Any, Sequence[IntegerTensor], IntegerTensor], Shape]


def _image(layer: Layer, tensor: IntegerTensor) -> Shape:
    if len(tensor.shape) != 3:
        raise ShapeError(
            f"{layer}: input {tensor.name} has shape {tensor.shape}, expected 3 axes (height, "
            "width, channels)"
        )
    return tensor.shape


def _pair(layer: Layer, field: str) -> tuple[int, int]:
    value = getattr(layer, field)
    if len(value) != 2 or min(value) < 1:
        raise GraphError(f"{layer}: {field} is {value}, expected two numbers of at least 1")
    return value


def _border(layer: Layer, least: int | None = 0) -> tuple[int, int, int, int]:
    value = layer.padding  # type: ignore[attr-defined]
    if len(value) != 4 or (least is not None and min(value) < least):
        raise GraphError(
            f"{layer}: padding is {value}, expected four numbers of at least {least}: top, left, "
            "bottom, right"
        )
    return value


def _axes(layer: Layer, field: str, tensor: IntegerTensor) -> tuple[int, ...]:
    value = getattr(layer, field)
    if len(value) != len(tensor.shape):
        raise ShapeError(f"{layer}: {field} is {value}, expected one number an axis of the input")
    return value


def _windows(layer: Layer, shape: Shape, window: Shape, dilation: Shape) -> tuple[int, int]:
    stride, padding = _pair(layer, "stride"), _border(layer)
    first, second = (
        window_count(
            str(layer), shape[i], window[i], stride[i], dilation[i], padding[i], padding[i + 2]
        )
        for i in range(2)
    )
    return first, second


def _expect_weight(layer: Layer, weight: np.ndarray, shape: Shape) -> None:
    if weight.shape != shape:
        raise ShapeError(f"{layer}: weight has shape {weight.shape}, expected {shape}")


def _expect_axes(layer: Layer, weight: np.ndarray, axes: Shape | tuple[str, ...]) -> None:
    if weight.ndim != len(axes):
        raise ShapeError(
            f"{layer}: weight has shape {weight.shape}, expected {len(axes)} axes "
            f"({', '.join(map(str, axes))})"
        )


def _grouped(layer: Layer, weight: np.ndarray, groups: int, channels: int) -> None:
    _expect_axes(layer, weight, ("out", "kernel height", "kernel width", "in / groups"))
    if groups < 1 or channels % groups or weight.shape[0] % groups:
        raise ShapeError(
            f"{layer}: {groups} groups do not divide {channels} input channels and "
            f"{weight.shape[0]} outputs"
        )
    _expect_weight(layer, weight, (*weight.shape[:3], channels // groups))


def convolution(layer: layers.Convolution, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return (output height, output width, out)."""
    shape = _image(layer, inputs[0])
    _grouped(layer, layer.weight, layer.groups, shape[2])
    sizes = _windows(layer, shape, layer.weight.shape[1:3], _pair(layer, "dilation"))
    return (*sizes, layer.weight.shape[0])


def depthwise(
    layer: layers.DepthwiseConvolution, inputs: Sequence[IntegerTensor], _: object
) -> Shape:
    """Return (output height, output width, channels)."""
    shape = _image(layer, inputs[0])
    _expect_axes(layer, layer.weight, ("kernel height", "kernel width", "channels"))
    _expect_weight(layer, layer.weight, (*layer.weight.shape[:2], shape[2]))
    sizes = _windows(layer, shape, layer.weight.shape[:2], _pair(layer, "dilation"))
    return (*sizes, shape[2])


def transposed(
    layer: layers.TransposedConvolution, inputs: Sequence[IntegerTensor], _: object
) -> Shape:
    """Return (output height, output width, out)."""
    shape = _image(layer, inputs[0])
    _grouped(layer, layer.weight, layer.groups, shape[2])
    stride, dilation = _pair(layer, "stride"), _pair(layer, "dilation")
    padding = _border(layer, None)
    sizes = tuple(
        (shape[i] - 1) * stride[i]
        + dilation[i] * (layer.weight.shape[1 + i] - 1)
        + 1
        - padding[i]
        - padding[i + 2]
        for i in range(2)
    )
    return (*sizes, layer.weight.shape[0])


def fully_connected(
    layer: layers.FullyConnected, inputs: Sequence[IntegerTensor], output: IntegerTensor
) -> Shape:
    """Return the output's own shape if it holds the rows."""
    _expect_axes(layer, layer.weight, ("out", "in"))
    out, depth = layer.weight.shape
    size = inputs[0].size
    if size % depth:
        raise ShapeError(f"{layer}: the input holds {size} values, expected rows of {depth}")
    if output.size == size // depth * out and output.channels == out:
        return output.shape
    return (out,) if size == depth else (size // depth, out)


def equal(layer: Layer, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the shape that all inputs share."""
    for tensor in inputs[1:]:
        if tensor.shape != inputs[0].shape:
            raise ShapeError(
                f"{layer}: inputs have shapes {inputs[0].shape} and {tensor.shape}, expected "
                "equal ones"
            )
    return inputs[0].shape


def multiply(layer: layers.Multiply, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the shape of the first input."""
    first, second = inputs
    channels = first.channels
    if second.shape not in (first.shape, (1, 1, channels), (channels,)):
        raise ShapeError(
            f"{layer}: the second input has shape {second.shape}, expected {first.shape}, "
            f"(1, 1, {channels}) or ({channels},)"
        )
    return first.shape


def pool(
    layer: layers.AveragePool | layers.MaxPool, inputs: Sequence[IntegerTensor], _: object
) -> Shape:
    """Return (output height, output width, channels)."""
    shape, window = _image(layer, inputs[0]), _pair(layer, "window")
    dilation = _pair(layer, "dilation") if isinstance(layer, layers.MaxPool) else (1, 1)
    sizes = _windows(layer, shape, window, dilation)
    for i in range(2):
        inside = inside_counts(
            shape[i], sizes[i], window[i], layer.stride[i], dilation[i], layer.padding[i]
        )
        if not inside.all():
            raise ShapeError(f"{layer}: padding {layer.padding} puts a whole window outside")
    return (*sizes, shape[2])


def lookup(layer: layers.Lookup, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the shape of the input."""
    channels = inputs[0].channels
    if layer.table.shape not in ((1, 256), (channels, 256)):
        raise ShapeError(
            f"{layer}: table has shape {layer.table.shape}, expected (1, 256) or ({channels}, 256)"
        )
    return inputs[0].shape


def reshape(layer: Layer, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> Shape:
    """Return the output's own shape if it holds as many values."""
    return output.shape if output.size == inputs[0].size else inputs[0].shape


def transpose(layer: layers.Transpose, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the permuted shape."""
    permutation = _axes(layer, "permutation", inputs[0])
    if sorted(permutation) != list(range(len(permutation))):
        raise GraphError(f"{layer}: permutation is {permutation}, expected each axis once")
    return tuple(inputs[0].shape[axis] for axis in permutation)


def slice_(layer: layers.Slice, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> Shape:
    """Return the output's own shape if every position is inside the input."""
    starts, steps = _axes(layer, "starts", inputs[0]), _axes(layer, "steps", inputs[0])
    if len(output.shape) != len(starts):
        raise ShapeError(f"{layer}: output has shape {output.shape}, expected {len(starts)} axes")
    for axis, size in enumerate(inputs[0].shape):
        last = starts[axis] + (output.shape[axis] - 1) * steps[axis]
        if steps[axis] == 0 or not (0 <= starts[axis] < size and 0 <= last < size):
            raise ShapeError(
                f"{layer}: axis {axis} is read from {starts[axis]} to {last} in steps of "
                f"{steps[axis]}, expected positions 0 to {size - 1}"
            )
    return output.shape


def pad(layer: layers.Pad, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the shape with what is added."""
    before, after = _axes(layer, "before", inputs[0]), _axes(layer, "after", inputs[0])
    if min((*before, *after), default=0) < 0:
        raise GraphError(f"{layer}: padding {before} and {after}, expected at least 0")
    return tuple(sum(sizes) for sizes in zip(before, inputs[0].shape, after, strict=True))


def concat(layer: layers.Concat, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the shape of the first input, longer along the axis."""
    first, axis = inputs[0].shape, layer.axis
    if not 0 <= axis < len(first):
        raise GraphError(f"{layer}: axis is {axis}, expected 0 to {len(first) - 1}")
    for tensor in inputs[1:]:
        rest = (*tensor.shape[:axis], *tensor.shape[axis + 1 :])
        if len(tensor.shape) != len(first) or rest != (*first[:axis], *first[axis + 1 :]):
            raise ShapeError(
                f"{layer}: inputs have shapes {first} and {tensor.shape}, expected them equal but "
                f"for axis {axis}"
            )
    return (*first[:axis], sum(tensor.shape[axis] for tensor in inputs), *first[axis + 1 :])


def resize(layer: layers.Resize, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return (rows, columns, channels)."""
    shape = _image(layer, inputs[0])
    for field, index, size in (
        ("rows", layer.rows, shape[0]),
        ("columns", layer.columns, shape[1]),
    ):
        if index.ndim != 1 or index.size == 0:
            raise ShapeError(f"{layer}: {field} has shape {index.shape}, expected one axis")
        if index.min() < 0 or index.max() >= size:
            raise ShapeError(
                f"{layer}: {field} go from {index.min()} to {index.max()}, expected 0 to {size - 1}"
            )
    return (layer.rows.size, layer.columns.size, shape[2])


def argmax(layer: layers.ArgMax, inputs: Sequence[IntegerTensor], _: object) -> Shape:
    """Return the shape with a last axis of 1."""
    if not inputs[0].shape:
        raise ShapeError(f"{layer}: the input has no axis to search")
    return (*inputs[0].shape[:-1], 1)
