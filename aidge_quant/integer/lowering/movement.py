"""Rules of the operators that move values."""

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.integer.layers import Concat, Pad, Resize, Slice
from aidge_quant.integer.lowering.builder import Builder, View, channels_last, onnx_order
from aidge_quant.integer.tensors import IntegerTensor


def lower_view(builder: Builder, node: Node) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze: the same values in ONNX order under another shape."""
    view = builder.view(node.input(0))
    builder.bind(node, View(view.tensor, builder.shape(node), view.lower, view.upper))


def lower_identity(builder: Builder, node: Node) -> None:
    """Pass the values on."""
    builder.bind(node, builder.view(node.input(0)))


def lower_transpose(builder: Builder, node: Node) -> None:
    """Another order of the ONNX axes, the batch staying first."""
    permutation = node.operator.permutation
    if permutation[0] != 0:
        raise builder.refuse(node, f"permutation {permutation} moves the batch axis")
    view = builder.view(node.input(0))
    data = builder.tensor(node.input(0), onnx_order)
    moved = builder.transposed(
        data, *_permuted(data, tuple(axis - 1 for axis in permutation[1:])), (node.name,)
    )
    # The moved tensor, read as a tensor of its own.
    renamed = builder.reshaped(moved, moved.shape, *onnx_order(moved.shape), (node.name,))
    builder.bind(node, View(renamed, builder.shape(node), view.lower, view.upper))


def lower_slice(builder: Builder, node: Node) -> None:
    """Part of the data."""
    view = builder.view(node.input(0))
    data = builder.tensor(node.input(0))
    parts = node.operator.slices((1, *view.shape))
    if parts[0] != slice(0, 1, 1):
        raise builder.refuse(node, "it cuts the batch axis")
    starts, steps = _on_stored_axes(data, [(p.start, p.step) for p in parts[1:]], (0, 1))
    out = builder.output(node, like=data)
    builder.emit(Slice(node.name, (data.name,), out.name, (node.name,), starts, steps))
    builder.bind(node, View(out, builder.shape(node), view.lower, view.upper))


def lower_pad(builder: Builder, node: Node) -> None:
    """Positions of one value around the data."""
    operator = node.operator
    view = builder.view(node.input(0))
    data = builder.tensor(node.input(0))
    if operator.before[0] or operator.after[0]:
        raise builder.refuse(node, "it pads the batch axis")
    if min(*operator.before, *operator.after) < 0:
        raise builder.refuse(node, "a negative pad cuts", "write it as a Slice")
    value = operator.value
    if value != int(value) or not view.lower <= value <= view.upper:
        low, high = min(view.lower, int(value)), max(view.upper, int(value))
        if value != int(value) or not _storable(data, low, high):
            raise builder.refuse(node, f"pad value {value} cannot be stored in {data.dtype.value}")
    pads = list(zip(operator.before[1:], operator.after[1:], strict=True))
    before, after = _on_stored_axes(data, pads, (0, 0))
    out = builder.output(node, like=data)
    stored = int(value) + data.zero_point
    builder.emit(Pad(node.name, (data.name,), out.name, (node.name,), before, after, stored))
    bounds = (min(view.lower, int(value)), max(view.upper, int(value)))
    builder.bind(node, View(out, builder.shape(node), *bounds))


def lower_concat(builder: Builder, node: Node) -> None:
    """Join tensors of one scale and one zero point."""
    ports = [port for port in node.inputs if port is not None]
    views = [builder.view(port) for port in ports]
    parts = [builder.tensor(port) for port in ports]
    formats = {(part.dtype, part.zero_point) for part in parts}
    if len(formats) > 1:
        raise builder.refuse(
            node, f"its inputs are stored in different ways: {sorted(map(str, formats))}"
        )
    axis = node.operator.axis % (len(views[0].shape) + 1) - 1
    if axis < 0:
        raise builder.refuse(node, "it joins batches")
    padded = len(parts[0].shape) - len(parts[0].layout)
    stored_axis = parts[0].layout.index(axis) + padded
    out = builder.output(node, like=parts[0])
    names = tuple(part.name for part in parts)
    builder.emit(Concat(node.name, names, out.name, (node.name,), stored_axis))
    bounds = (min(v.lower for v in views), max(v.upper for v in views))
    builder.bind(node, View(out, builder.shape(node), *bounds))


def lower_resize(builder: Builder, node: Node) -> None:
    """Nearest neighbour over height and width."""
    view = builder.view(node.input(0))
    if len(view.shape) != 3:
        raise builder.refuse(node, f"data with {len(view.shape)} axes beside the batch, expected 3")
    data = builder.tensor(node.input(0))
    indices = node.operator.indices((1, *view.shape))
    for axis in (0, 1):
        if list(indices[axis]) != list(range((1, *view.shape)[axis])):
            raise builder.refuse(node, "it resizes batch or channels")
    out = builder.output(node, like=data)
    builder.emit(
        Resize(
            node.name,
            (data.name,),
            out.name,
            (node.name,),
            *(i.astype(np.int32) for i in indices[2:]),
        )
    )
    builder.bind(node, View(out, builder.shape(node), view.lower, view.upper))


def lower_space_to_depth(builder: Builder, node: Node) -> None:
    """Blocks of positions become blocks of channels: reshape, transpose, reshape."""
    operator = node.operator
    view = builder.view(node.input(0))
    data = builder.tensor(node.input(0))
    height, width, channels = data.shape
    block = operator.block
    split = (height // block, block, width // block, block, channels)
    order = (0, 2, 4, 1, 3) if operator.columns_first else (0, 2, 1, 3, 4)
    _regrouped(builder, node, view, data, split, order)


def lower_depth_to_space(builder: Builder, node: Node) -> None:
    """Blocks of channels become blocks of positions: reshape, transpose, reshape."""
    operator = node.operator
    view = builder.view(node.input(0))
    data = builder.tensor(node.input(0))
    height, width, channels = data.shape
    block = operator.block
    inner = channels // (block * block)
    if not operator.columns_first:
        split, order = (height, width, block, block, inner), (0, 2, 1, 3, 4)
    else:
        split, order = (height, width, inner, block, block), (0, 3, 1, 4, 2)
    _regrouped(builder, node, view, data, split, order)


def _regrouped(
    builder: Builder,
    node: Node,
    view: View,
    data: IntegerTensor,
    split: tuple[int, ...],
    order: tuple[int, ...],
) -> None:
    """Bind the stored values read as ``split``, its axes put in ``order``."""
    source = (node.name,)
    parts = builder.reshaped(data, split, *onnx_order(split), source)
    moved = builder.transposed(parts, tuple(split[axis] for axis in order), order, source)
    shape = builder.shape(node)
    stored, layout = channels_last(shape)
    out = builder.reshaped(moved, stored, shape, layout, source)
    builder.bind(node, View(out, shape, view.lower, view.upper))


def _permuted(
    data: IntegerTensor, permutation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(data.onnx_shape[axis] for axis in permutation), permutation


def _storable(data: IntegerTensor, lower: int, upper: int) -> bool:
    low, high = lower + data.zero_point, upper + data.zero_point
    return data.dtype.min <= low and high <= data.dtype.max


def _on_stored_axes(
    data: IntegerTensor, pairs: list[tuple[int, int]], missing: tuple[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return pairs given for the ONNX axes in stored order; a signal's height gets ``missing``."""
    ordered = [pairs[axis] for axis in data.layout]
    ordered = [missing] * (len(data.shape) - len(ordered)) + ordered
    return tuple(p[0] for p in ordered), tuple(p[1] for p in ordered)
