"""The integer form: an integer network in standard integer operators of ONNX opset 13.

Values are held as uint8, 128 higher than the stored int8, and so are the weights: the only pair of
types that every runtime multiplies exactly, with and without dot-product instructions. Inputs and
outputs keep the types of the network.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView, Port
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange.geometry import (
    onnx_weight,
    per_channel,
    row_axes,
    row_weight,
    weight_sums,
)
from aidge_quant.interchange.integer.rounding import requantized
from aidge_quant.interchange.metadata import describe
from aidge_quant.interchange.moves import MOVES, clamped, ends
from aidge_quant.interchange.sheet import Sheet, View, own, plain
from aidge_quant.ops import (
    Add,
    Cast,
    ConvInteger,
    Div,
    Input,
    MatMulInteger,
    Mul,
    Pad,
    Reshape,
    Slice,
)

#: What stands for 0 where 128 is added to int8.
MIDDLE = 128


def integer_graph(network: IntegerNetwork) -> GraphView:
    """Return a graph of standard integer operators that computes what the network computes.

    Parameters
    ----------
    network : IntegerNetwork

    Returns
    -------
    GraphView
        Inputs and outputs are named as the network's and hold its integers in the ONNX layout.

    Raises
    ------
    UnsupportedError
        If the network has int16 values or weights, which ConvInteger does not take, or a multiplier
        whose product leaves 64 bits.
    """
    _refuse_wide(network)
    sheet = Sheet(network, unsigned=True)
    for name, tensor_name in zip(network.input_names, network.inputs, strict=True):
        tensor = network.tensor(tensor_name)
        node = sheet.graph.add_input(Input((1, *tensor.onnx_shape), tensor.dtype), name)
        sheet.bind(tensor_name, _moved_type(sheet, Port(node), tensor.dtype, True), own(tensor))
    for layer in network.layers:
        RULES[type(layer)](sheet, layer)
    for name, tensor_name in zip(network.output_names, network.outputs, strict=True):
        tensor = network.tensor(tensor_name)
        port = sheet.port(tensor_name, own(tensor))
        sheet.graph.add_output(_moved_type(sheet, port, tensor.dtype, False), name)
    sheet.graph.metadata = describe(network, "integer")
    sheet.graph.remove_dead_nodes()
    return sheet.graph


def _refuse_wide(network: IntegerNetwork) -> None:
    wide = [str(t.name) for t in network.tensors if t.dtype is dtype.int16]
    wide += [
        str(layer)
        for layer in network.layers
        if isinstance(layer, layers.Affine) and layer.weight_dtype is dtype.int16
    ]
    if wide:
        raise UnsupportedError(
            f"network {network.name} has int16 values in {', '.join(wide)}, expected int8: "
            "ConvInteger and MatMulInteger multiply 8 bits; export it with form='qdq'"
        )


def _moved_type(sheet: Sheet, port: Port, kind: dtype, inwards: bool) -> Port:
    """Return int8 values as uint8, 128 higher, or back; other types as they are."""
    if kind is not dtype.int8:
        return port
    name = port.node.name
    wide = sheet.add(Cast(dtype.int32), port, name=f"{name}_int32")
    step = np.asarray(MIDDLE if inwards else -MIDDLE, np.int32)
    constant = sheet.constant(step, "middle" if inwards else "minus_middle")
    moved = sheet.add(Add(), wide, constant, name=f"{name}_moved")
    target = dtype.uint8 if inwards else dtype.int8
    return Port(sheet.add(Cast(target), moved, name=f"{name}_{target.value}"))


# -- accumulators --------------------------------------------------------------------------------


def _scalar(sheet: Sheet, value: int, kind: dtype, name: str) -> Port:
    return Port(sheet.constant(np.asarray(value, kind.numpy), name, kind))


def _wide(sheet: Sheet, name: str, view: View | None = None) -> Port:
    """Return a tensor as int32, as it is held."""
    port = sheet.port(name, view)
    if sheet.network.tensor(name).dtype is dtype.int32:
        return port
    return Port(sheet.add(Cast(dtype.int32), port, name=f"{name}_int32"))


def _plus(sheet: Sheet, port: Port, values: np.ndarray, rows: bool, name: str) -> Port:
    """Return int32 values with a constant added, one for all channels or one each."""
    if not np.any(values):
        return port
    constant = sheet.constant(per_channel(values.astype(np.int32), rows), f"{name}_bias")
    return Port(sheet.add(Add(), port, constant, name=f"{name}_bias_added"))


def _times(sheet: Sheet, port: Port, factors: np.ndarray, rows: bool, name: str) -> Port:
    if np.all(factors == 1):
        return port
    constant = sheet.constant(per_channel(factors.astype(np.int32), rows), f"{name}_factor")
    return Port(sheet.add(Mul(), port, constant, name=f"{name}_multiplied"))


def _finish_affine(
    sheet: Sheet, layer: layers.Affine, accumulator: Port, bias: np.ndarray, rows: bool
) -> None:
    """Add residual and bias, requantize, bind the output."""
    view = plain(sheet.network.tensor(layer.output).shape) if rows else None
    if layer.residual is not None:
        other = sheet.network.tensor(layer.inputs[1])
        factors = layer.residual.astype(np.int64)
        bias = bias - factors * sheet.offset(other)
        product = _times(
            sheet, _wide(sheet, other.name, view), factors, rows, f"{layer.name}_residual"
        )
        name = f"{layer.name}_with_residual"
        accumulator = Port(sheet.add(Add(), accumulator, product, name=name))
    accumulator = _plus(sheet, accumulator, bias, rows, layer.name)
    out = requantized(sheet, accumulator, layer.requantization, layer.name, layer.output, rows)
    sheet.bind(layer.output, out, view)


def _unsigned_weight(sheet: Sheet, layer: layers.Affine, weight: np.ndarray) -> tuple[Port, Port]:
    values = (weight.astype(np.int16) + MIDDLE).astype(np.uint8)
    constant = Port(sheet.constant(values, f"{layer.name}_weight"))
    return constant, _scalar(sheet, MIDDLE, dtype.uint8, "weight_zero_point")


def _convolved(
    sheet: Sheet, layer: Any, port: Port, zero_point: int, padding: tuple[int, ...], groups: int
) -> Port:
    """Return ConvInteger over held values; positions outside read ``zero_point``, stored."""
    weight, weight_zero = _unsigned_weight(sheet, layer, onnx_weight(layer))
    zero = _scalar(sheet, zero_point + MIDDLE, dtype.uint8, "zero_point")
    operator = ConvInteger(layer.stride, layer.dilation, padding, groups)
    return Port(sheet.add(operator, port, weight, zero, weight_zero, name=layer.name))


def draw_convolution(sheet: Sheet, layer: layers.Convolution) -> None:
    """Draw ConvInteger, which subtracts the zero point that the bias corrects in the network."""
    _draw_windows(sheet, layer, layer.groups)


def draw_depthwise(sheet: Sheet, layer: layers.DepthwiseConvolution) -> None:
    """Draw ConvInteger with one group a channel."""
    _draw_windows(sheet, layer, layer.weight.shape[2])


def _draw_windows(sheet: Sheet, layer: Any, groups: int) -> None:
    port = sheet.port(layer.inputs[0])
    found = _convolved(sheet, layer, port, layer.pad_value, layer.padding, groups)
    bias = layer.bias.astype(np.int64) + layer.pad_value * weight_sums(layer)
    _finish_affine(sheet, layer, found, bias, rows=False)


def draw_transposed(sheet: Sheet, layer: layers.TransposedConvolution) -> None:
    """Draw zero points between the positions, then ConvInteger with mirrored windows."""
    source, target = ends(sheet, layer)
    height, width, channels = source.shape
    zero = layer.input_zero_point + sheet.offset(source)
    port = sheet.port(source.name)
    (sy, sx), name = layer.stride, layer.name
    if (sy, sx) != (1, 1):
        spread = Reshape((0, channels, height, 1, width, 1))
        port = Port(sheet.add(spread, port, name=f"{name}_apart"))
        gaps = Pad((0,) * 6, (0, 0, 0, sy - 1, 0, sx - 1), float(zero))
        port = Port(sheet.add(gaps, port, name=f"{name}_gaps"))
        joined = Reshape((0, channels, height * sy, width * sx))
        port = Port(sheet.add(joined, port, name=f"{name}_spread"))
    before, after = [], []
    for axis in (0, 1):
        size = (height, width)[axis] * layer.stride[axis]
        reach = layer.dilation[axis] * (layer.weight.shape[1 + axis] - 1)
        before.append(reach - layer.padding[axis])
        after.append(target.shape[axis] + reach - size - before[-1])
    port = _fitted(sheet, port, (before, after), zero, name)
    kernel = layers.Convolution(
        **{field: getattr(layer, field) for field in ("name", "inputs", "output", "source")},
        weight=layer.weight[:, ::-1, ::-1],
        weight_dtype=layer.weight_dtype,
        bias=layer.bias,
        requantization=layer.requantization,
        stride=(1, 1),
        dilation=layer.dilation,
        padding=(0, 0, 0, 0),
        groups=layer.groups,
        pad_value=layer.input_zero_point,
    )
    found = _convolved(sheet, kernel, port, layer.input_zero_point, (0, 0, 0, 0), layer.groups)
    _finish_affine(sheet, layer, found, layer.bias.astype(np.int64), rows=False)


def _fitted(
    sheet: Sheet, port: Port, sides: tuple[list[int], list[int]], value: int, name: str
) -> Port:
    """Return an image with positions added or, where negative, cut off at its sides."""
    before, after = sides
    if min(*before, *after) < 0:
        starts = tuple(max(-b, 0) for b in before)
        stops = tuple(-max(-a, 0) or 2**31 - 1 for a in after)
        port = Port(sheet.add(Slice(starts, stops, (2, 3), (1, 1)), port, name=f"{name}_cut"))
    more = [(0, 0, *(max(side, 0) for side in group)) for group in (before, after)]
    if any(map(any, more)):
        port = Port(sheet.add(Pad(more[0], more[1], float(value)), port, name=f"{name}_padded"))
    return port


def draw_fully_connected(sheet: Sheet, layer: layers.FullyConnected) -> None:
    """Draw MatMulInteger over rows of the stored order."""
    source, _ = ends(sheet, layer)
    outputs, inputs = layer.weight.shape
    axes = row_axes(layer, source)
    if source.size == inputs:
        port, values = sheet.row(source.name), row_weight(layer, source)
    else:
        view = View((*axes, inputs), tuple(range(len(axes) + 1)))
        port, values = sheet.port(source.name, view), layer.weight
    weight, weight_zero = _unsigned_weight(sheet, layer, values.T)
    zero = _scalar(sheet, source.zero_point + MIDDLE, dtype.uint8, "zero_point")
    found = Port(sheet.add(MatMulInteger(), port, weight, zero, weight_zero, name=layer.name))
    target = sheet.network.tensor(layer.output)
    bias = layer.bias.astype(np.int64) + source.zero_point * weight_sums(layer)
    found = sheet.reshaped(found, (*axes, outputs), target.shape, layer.name)
    _finish_affine(sheet, layer, found, bias, rows=True)


# -- element by element --------------------------------------------------------------------------


def draw_add(sheet: Sheet, layer: layers.Add) -> None:
    """Draw two products and a constant."""
    parts, bias = [], layer.bias
    for name, factor in zip(layer.inputs, layer.multipliers, strict=True):
        bias -= factor * sheet.offset(sheet.network.tensor(name))
        wide = _wide(sheet, name)
        parts.append(_times(sheet, wide, np.asarray(factor), False, f"{layer.name}_{name}"))
    found = Port(sheet.add(Add(), *parts, name=layer.name))
    _finish(sheet, layer, found, bias)


def draw_multiply(sheet: Sheet, layer: layers.Multiply) -> None:
    """Draw the product of two differences."""
    first, second = (sheet.network.tensor(name) for name in layer.inputs)
    parts = []
    for tensor, zero in zip((first, second), layer.zero_points, strict=True):
        constant = np.asarray(-zero - sheet.offset(tensor))
        parts.append(_plus(sheet, _wide(sheet, tensor.name), constant, False, tensor.name))
    if second.shape != first.shape and len(first.shape) == 3 and len(second.shape) == 1:
        wanted = (second.channels, 1, 1)
        parts[1] = sheet.reshaped(parts[1], second.shape, wanted, second.name)
    found = Port(sheet.add(Mul(), *parts, name=layer.name))
    found = _times(sheet, found, np.asarray(layer.multiplier), False, layer.name)
    _finish(sheet, layer, found, layer.bias)


def draw_rescale(sheet: Sheet, layer: layers.Rescale) -> None:
    """Draw a product and a constant."""
    source, _ = ends(sheet, layer)
    bias = layer.bias - layer.multiplier * sheet.offset(source)
    found = _times(
        sheet, _wide(sheet, source.name), np.asarray(layer.multiplier), False, layer.name
    )
    _finish(sheet, layer, found, bias)


def draw_average(sheet: Sheet, layer: layers.AveragePool) -> None:
    """Draw sums over windows as ConvInteger with ones, then a requantization or a division."""
    source, target = ends(sheet, layer)
    channels = source.channels
    ones = sheet.constant(np.ones((channels, 1, *layer.window), np.uint8), f"{layer.name}_ones")
    zeros = [
        _scalar(sheet, value, dtype.uint8, name)
        for value, name in ((layer.zero_point + MIDDLE, "zero_point"), (0, "ones_zero_point"))
    ]
    operator = ConvInteger(layer.stride, (1, 1), layer.padding, channels)
    found = Port(sheet.add(operator, sheet.port(source.name), ones, *zeros, name=layer.name))
    count = layer.window[0] * layer.window[1]
    if layer.requantization is not None:
        _finish(sheet, layer, found, layer.bias + count * layer.zero_point)
        return
    # floor((2 S + N) / (2 N)) of a sum that may be negative: 256 is more than any mean.
    counts = np.asarray(count) if layer.count_include_pad else _counts(layer, source, target)
    counts = counts.astype(np.int32)
    doubled = _times(sheet, found, np.asarray(2), False, layer.name)
    addend = sheet.constant(counts + 512 * counts, f"{layer.name}_addend")
    moved = sheet.add(Add(), doubled, addend, name=f"{layer.name}_moved")
    divisor = sheet.constant(2 * counts, f"{layer.name}_divisor")
    mean = Port(sheet.add(Div(), moved, divisor, name=f"{layer.name}_mean"))
    step = layer.zero_point + sheet.offset(target) - 256
    mean = _plus(sheet, mean, np.asarray(step), False, f"{layer.name}_mean")
    # Within the type already: a mean lies between the values, and the zero point is one of them.
    held = Port(sheet.add(Cast(sheet.held(target)), mean, name=target.name))
    bounds = (np.asarray(layer.lower), np.asarray(layer.upper))
    sheet.bind(layer.output, clamped(sheet, held, target, bounds, layer.name))


def _counts(layer: layers.AveragePool, source: Any, target: Any) -> np.ndarray:
    """Return how many positions of each window are inside, (height, width)."""
    per_axis = []
    for axis in (0, 1):
        starts = np.arange(target.shape[axis]) * layer.stride[axis] - layer.padding[axis]
        stops = np.minimum(starts + layer.window[axis], source.shape[axis])
        per_axis.append(stops - np.maximum(starts, 0))
    return np.multiply.outer(*per_axis)


def _finish(sheet: Sheet, layer: Any, accumulator: Port, bias: int) -> None:
    accumulator = _plus(sheet, accumulator, np.asarray(bias), False, layer.name)
    form = layer.requantization
    out = requantized(sheet, accumulator, form, layer.name, layer.output, False)
    sheet.bind(layer.output, out)


RULES: Mapping[type[Layer], Callable[[Sheet, Any], None]] = {
    **MOVES,
    layers.Convolution: draw_convolution,
    layers.DepthwiseConvolution: draw_depthwise,
    layers.TransposedConvolution: draw_transposed,
    layers.FullyConnected: draw_fully_connected,
    layers.Add: draw_add,
    layers.Multiply: draw_multiply,
    layers.Rescale: draw_rescale,
    layers.AveragePool: draw_average,
}
