"""Layers that move, select or look up stored integers: the same in every form."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Node, Port
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.geometry import canonical_axes, canonical_axis
from aidge_quant.interchange.sheet import Sheet, canonical
from aidge_quant.ops import Add, ArgMax, Cast, Concat, Gather, Max, MaxPool, Min, Pad, Resize, Slice


def ends(sheet: Sheet, layer: Layer) -> tuple[IntegerTensor, IntegerTensor]:
    """Return the first tensor that a layer reads and the one that it writes."""
    return sheet.network.tensor(layer.inputs[0]), sheet.network.tensor(layer.output)


def draw_reshape(sheet: Sheet, layer: layers.Reshape) -> None:
    """Draw other axes over the same stored order."""
    source, target = ends(sheet, layer)
    views = (canonical(source.shape), canonical(target.shape))
    sheet.bind(layer.output, sheet.rearranged(sheet.port(source.name), views, layer.name))


def draw_transpose(sheet: Sheet, layer: layers.Transpose) -> None:
    """Draw stored axes in another order: one permutation of the axes of the canonical views."""
    source, target = ends(sheet, layer)
    now, wanted = canonical(source.shape), canonical(target.shape)
    moved = [now.layout[axis] for axis in layer.permutation]
    permutation = tuple(moved[int(axis)] for axis in np.argsort(wanted.layout))
    sheet.bind(layer.output, sheet.transposed(sheet.port(source.name), permutation, layer.name))


def draw_slice(sheet: Sheet, layer: layers.Slice) -> None:
    """Draw part of the data; axes that are whole are left out."""
    source, target = ends(sheet, layer)
    axes: list[tuple[int, int, int, int]] = []
    for axis, (start, step) in enumerate(zip(layer.starts, layer.steps, strict=True)):
        size, count = source.shape[axis], target.shape[axis]
        if (start, step, count) == (0, 1, size):
            continue
        end = start + count * step
        # Before the first value: ONNX counts negative ends from the back.
        end = end if end >= 0 else -size - 1
        axes.append((canonical_axis(source, axis), start, end, step))
    port = sheet.port(source.name)
    if axes:
        axes.sort()
        which, starts, stops, steps = zip(*axes, strict=True)
        port = Port(sheet.add(Slice(starts, stops, which, steps), port, name=layer.name))
    sheet.bind(layer.output, port)


def draw_pad(sheet: Sheet, layer: layers.Pad) -> None:
    """Draw positions of one stored value around the data."""
    source, _ = ends(sheet, layer)
    before = canonical_axes(source, layer.before, 0)
    after = canonical_axes(source, layer.after, 0)
    operator = Pad(before, after, float(layer.value + sheet.offset(source)))
    sheet.bind(layer.output, sheet.add(operator, sheet.port(source.name), name=layer.name))


def draw_concat(sheet: Sheet, layer: layers.Concat) -> None:
    """Draw tensors one after the other."""
    source, _ = ends(sheet, layer)
    ports = [sheet.port(name) for name in layer.inputs]
    operator = Concat(canonical_axis(source, layer.axis))
    sheet.bind(layer.output, sheet.add(operator, *ports, name=layer.name))


def draw_resize(sheet: Sheet, layer: layers.Resize) -> None:
    """Draw the nearest neighbour: Resize where one of its modes takes the same positions.

    Otherwise rows, then columns, are taken at listed places.
    """
    source, target = ends(sheet, layer)
    port = sheet.port(source.name)
    operator = _resize_of(layer, source.shape, target.shape)
    if operator is not None:
        sheet.bind(layer.output, sheet.add(operator, port, name=layer.name))
        return
    for axis, places in ((2, layer.rows), (3, layer.columns)):
        if not np.array_equal(places, np.arange(source.shape[axis - 2])):
            indices = sheet.constant(places.astype(np.int64), f"{layer.name}_places")
            port = Port(sheet.add(Gather(axis), port, indices, name=layer.name))
    sheet.bind(layer.output, port)


def _resize_of(
    layer: layers.Resize, source: tuple[int, ...], target: tuple[int, ...]
) -> Resize | None:
    height, width, channels = source
    for coordinates in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"):
        for nearest in ("floor", "round_prefer_floor", "round_prefer_ceil", "ceil"):
            operator = Resize((), (0, channels, target[0], target[1]), coordinates, nearest)
            _, _, rows, columns = operator.indices((1, channels, height, width))
            if np.array_equal(rows, layer.rows) and np.array_equal(columns, layer.columns):
                return operator
    return None


def draw_max_pool(sheet: Sheet, layer: layers.MaxPool) -> None:
    """Draw the largest value of a window."""
    source, _ = ends(sheet, layer)
    if source.dtype is not dtype.int8:
        raise UnsupportedError(
            f"{layer}: ONNX has no MaxPool of {source.dtype.value}; quantize its input to int8"
        )
    operator = MaxPool(layer.window, layer.stride, layer.dilation, layer.padding)
    sheet.bind(layer.output, sheet.add(operator, sheet.port(source.name), name=layer.name))


def draw_clamp(sheet: Sheet, layer: layers.Clamp) -> None:
    """Keep stored values between two bounds."""
    source, _ = ends(sheet, layer)
    bounds = (np.asarray(layer.lower), np.asarray(layer.upper))
    sheet.bind(layer.output, clamped(sheet, sheet.port(source.name), source, bounds, layer.name))


def clamped(
    sheet: Sheet,
    port: Port | Node,
    tensor: IntegerTensor,
    bounds: tuple[np.ndarray, np.ndarray],
    name: str,
) -> Port | Node:
    """Return stored values of ``tensor`` kept between bounds; nothing where its type does that.

    Parameters
    ----------
    bounds : (int array, int array)
        Of the stored value, shaped to spread over the data.
    """
    held, offset = sheet.held(tensor), sheet.offset(tensor)
    lower, upper = (np.asarray(bound, np.int64) + offset for bound in bounds)
    if (lower > held.min).any():
        least = sheet.constant(lower.astype(held.numpy), f"{name}_lower", held)
        port = sheet.add(Max(), port, least, name=f"{name}_max")
    if (upper < held.max).any():
        most = sheet.constant(upper.astype(held.numpy), f"{name}_upper", held)
        port = sheet.add(Min(), port, most, name=f"{name}_min")
    return port


def draw_lookup(sheet: Sheet, layer: layers.Lookup) -> None:
    """Draw a table of 256 stored values, or one for each channel, read at the stored input."""
    source, target = ends(sheet, layer)
    offset = 128 - sheet.offset(source)
    index = sheet.add(Cast(dtype.int32), sheet.port(source.name), name=f"{layer.name}_index")
    rows = layer.table.shape[0]
    starts = offset + 256 * np.arange(rows, dtype=np.int32)
    if starts.any():
        shape: tuple[int, ...] = ()
        if rows > 1:
            shape = (rows, 1, 1) if len(source.shape) == 3 else (rows,)
        constant = sheet.constant(starts.reshape(shape), f"{layer.name}_rows")
        index = sheet.add(Add(), index, constant, name=f"{layer.name}_index")
    values = layer.table.astype(np.int16).reshape(-1) + sheet.offset(target)
    held = sheet.held(target)
    table = sheet.constant(values.astype(held.numpy), f"{layer.name}_table", held)
    sheet.bind(layer.output, sheet.add(Gather(0), table, index, name=layer.name))


def draw_argmax(sheet: Sheet, layer: layers.ArgMax) -> None:
    """Draw the index of the first largest value along the channels."""
    source, target = ends(sheet, layer)
    axis = canonical_axis(source, len(source.shape) - 1)
    found = sheet.add(ArgMax(axis), sheet.port(source.name), name=layer.name)
    index = sheet.add(Cast(target.dtype), found, name=f"{layer.name}_{target.dtype.value}")
    sheet.bind(layer.output, index)


MOVES: Mapping[type[Layer], Callable[[Sheet, Any], None]] = {
    layers.Reshape: draw_reshape,
    layers.Transpose: draw_transpose,
    layers.Slice: draw_slice,
    layers.Pad: draw_pad,
    layers.Concat: draw_concat,
    layers.Resize: draw_resize,
    layers.MaxPool: draw_max_pool,
    layers.Clamp: draw_clamp,
    layers.Lookup: draw_lookup,
    layers.ArgMax: draw_argmax,
}
