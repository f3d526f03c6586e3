"""From layers to calls of C kernels: one function a kind of layer, found through one table."""

from collections.abc import Callable, Mapping

import numpy as np

from aidge_quant.errors import ExportError
from aidge_quant.export import affine, walks
from aidge_quant.export.affine import window_fields
from aidge_quant.export.program import Program, refuse, suffix_of, type_of
from aidge_quant.export.scaling import Scaling, add_scaling
from aidge_quant.export.target import Choice
from aidge_quant.integer.layers import (
    Add,
    ArgMax,
    AveragePool,
    Clamp,
    Concat,
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    Layer,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Rescale,
    Reshape,
    Resize,
    Slice,
    Transpose,
    TransposedConvolution,
)
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.memory.views import is_view


def add_layers(program: Program, choices: Mapping[str, Choice]) -> None:
    """Add the inputs, all layers of the network, and the copies in the end, to ``program``.

    Parameters
    ----------
    choices : mapping of layer name to Choice
        Of the layers that do not get the portable kernel.

    Raises
    ------
    ExportError
        Naming every layer that has no C, with the reason.
    """
    reasons = []
    for index, name in enumerate(program.network.inputs):
        if program.plan.places[name].kind == "arena":
            program.arrive(index)
    for layer in program.network.layers:
        program.begin(layer)
        try:
            if layer.name in choices:
                choices[layer.name].add(layer, program)
            else:
                _add_layer(layer, program)
        except ExportError as error:
            reasons.append(str(error))
    if reasons:
        raise ExportError(
            f"network {program.network.name}: {len(reasons)} of {len(program.network.layers)} "
            "layers cannot be written as C:\n  " + "\n  ".join(reasons)
        )
    for tensor, output in program.plan.copies:
        program.begin_copy(tensor, output)
        target = program.ends.outputs[output]
        walks.add_copy(program, program.network.tensor(tensor), program.pointer(tensor), target)


def _add_layer(layer: Layer, program: Program) -> None:
    function = LAYERS.get(type(layer))
    if function is None:
        raise refuse(layer, "a kind of layer with a C kernel", "one without")
    if not is_view(layer, program.network):
        function(layer, program)


def _two_operands(layer: Layer, program: Program, scaling: Scaling) -> tuple[str, dict]:
    """Return the name suffix and the fields of a kernel that combines two tensors."""
    a = program.network.tensor(layer.inputs[0])
    y = program.network.tensor(layer.output)
    suffix = suffix_of(a) + ("" if y.dtype is a.dtype else f"_{suffix_of(y)}")
    fields = {"x": type_of(a), "y": type_of(y)} | scaling.fields
    return suffix + scaling.suffix, fields


def _add(layer: Add, program: Program) -> None:
    scaling = add_scaling(program, layer, layer.requantization)
    suffix, fields = _two_operands(layer, program, scaling)
    a, b = (program.pointer(name) for name in layer.inputs)
    size = program.network.tensor(layer.output).size
    multiplier_a, multiplier_b = layer.multipliers
    arguments: tuple[str | int, ...] = (
        size,
        a,
        multiplier_a,
        b,
        multiplier_b,
        layer.bias,
        *scaling.arguments,
    )
    program.call("add", suffix, fields, (*arguments, program.pointer(layer.output)))


def _multiply(layer: Multiply, program: Program) -> None:
    scaling = add_scaling(program, layer, layer.requantization)
    suffix, fields = _two_operands(layer, program, scaling)
    a, b = (program.network.tensor(name) for name in layer.inputs)
    arguments: tuple[str | int, ...] = (
        a.size // b.size,
        b.size,
        program.pointer(a.name),
        layer.zero_points[0],
        program.pointer(b.name),
        layer.zero_points[1],
        layer.multiplier,
        layer.bias,
        *scaling.arguments,
        program.pointer(layer.output),
    )
    program.call("mul", suffix, fields, arguments)


def _rescale(layer: Rescale, program: Program) -> None:
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    scaling = add_scaling(program, layer, layer.requantization)
    suffix = suffix_of(x) + ("" if y.dtype is x.dtype else f"_{suffix_of(y)}")
    fields = {"x": type_of(x), "y": type_of(y)} | scaling.fields
    arguments = (x.size, program.pointer(x.name), layer.multiplier, layer.bias)
    rest = (*scaling.arguments, program.pointer(y.name))
    program.call("rescale", suffix + scaling.suffix, fields, (*arguments, *rest))


def _average_pool(layer: AveragePool, program: Program) -> None:
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    divide = layer.requantization is None
    shape = window_fields(layer, program, layer.window, layer.stride) | {
        "top": layer.padding[0],
        "left": layer.padding[1],
        "zero_point": layer.zero_point,
    }
    suffix = suffix_of(x) + ("" if y.dtype is x.dtype else f"_{suffix_of(y)}")
    fields: dict[str, object] = {"x": type_of(x), "y": type_of(y), "divide": divide}
    if layer.requantization is None:
        shape |= {
            "whole_window": int(layer.count_include_pad),
            "lower": layer.lower,
            "upper": layer.upper,
        }
        record = program.record(layer, "shape", "avg_pool", shape)
        ends = (record, program.pointer(x.name), program.pointer(y.name))
        program.call("avg_pool", suffix + "_mean", fields, ends)
        return
    record = program.record(layer, "shape", "avg_pool", shape)
    scaling = add_scaling(program, layer, layer.requantization)
    arguments: tuple[str | int, ...] = (
        record,
        program.pointer(x.name),
        layer.bias,
        *scaling.arguments,
    )
    fields |= scaling.fields
    program.call("avg_pool", suffix + scaling.suffix, fields, (*arguments, program.pointer(y.name)))


def _same_type(layer: Layer, program: Program) -> tuple[IntegerTensor, str, dict[str, object]]:
    """Return the input, name suffix and fields of a kernel that keeps the type of its data."""
    x = program.network.tensor(layer.inputs[0])
    return x, suffix_of(x), {"x": type_of(x), "y": type_of(x)}


def _max_pool(layer: MaxPool, program: Program) -> None:
    x, suffix, fields = _same_type(layer, program)
    shape = window_fields(layer, program, layer.window, layer.stride) | {
        "dilation_y": layer.dilation[0],
        "dilation_x": layer.dilation[1],
        "top": layer.padding[0],
        "left": layer.padding[1],
    }
    fields["lowest"] = f"INT{x.dtype.bits}_MIN"
    record = program.record(layer, "shape", "max_pool", shape)
    arguments = (record, program.pointer(x.name), program.pointer(layer.output))
    program.call("max_pool", suffix, fields, arguments)


def _clamp(layer: Clamp, program: Program) -> None:
    x, suffix, fields = _same_type(layer, program)
    arguments = (x.size, program.pointer(x.name), layer.lower, layer.upper)
    program.call("clamp", suffix, fields, (*arguments, program.pointer(layer.output)))


def _lookup(layer: Lookup, program: Program) -> None:
    x, suffix, fields = _same_type(layer, program)
    tables = layer.table.shape[0]
    text = f"table, {tables} x 256"
    table = program.constant(layer, "table", "int8_t", layer.table, text)
    rows, step = (1, 0) if tables == 1 else (x.size // tables, 256)
    channels = x.size // rows
    arguments = (rows, channels, program.pointer(x.name), table, step)
    program.call("lookup", suffix, fields, (*arguments, program.pointer(layer.output)))


def _resize(layer: Resize, program: Program) -> None:
    x, suffix, fields = _same_type(layer, program)
    out_height, out_width = layer.rows.size, layer.columns.size
    short = max(x.shape) < 2**15
    type_, store = ("int16_t", np.int16) if short else ("int32_t", np.int32)
    rows = program.constant(
        layer, "rows", type_, layer.rows.astype(store), "row of the input, by row"
    )
    columns = program.constant(
        layer, "columns", type_, layer.columns.astype(store), "column of the input, by column"
    )
    arguments = (x.shape[1], x.shape[2], out_height, out_width, rows, columns)
    ends = (program.pointer(x.name), program.pointer(layer.output))
    fields["table"] = type_
    suffix += "" if short else "_long"
    program.call("resize", suffix, fields, (*arguments, *ends))


def _argmax(layer: ArgMax, program: Program) -> None:
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    arguments = (x.size // x.channels, x.channels, program.pointer(x.name))
    fields: dict[str, object] = {"x": type_of(x), "y": type_of(y)}
    program.call("argmax", suffix_of(x), fields, (*arguments, program.pointer(y.name)))


LAYERS: dict[type[Layer], Callable[..., None]] = {
    Convolution: affine.add_convolution,
    DepthwiseConvolution: affine.add_depthwise_convolution,
    TransposedConvolution: affine.add_transposed_convolution,
    FullyConnected: affine.add_fully_connected,
    Add: _add,
    Multiply: _multiply,
    Rescale: _rescale,
    AveragePool: _average_pool,
    MaxPool: _max_pool,
    Clamp: _clamp,
    Lookup: _lookup,
    Reshape: lambda layer, program: None,
    Transpose: walks.add_transpose,
    Slice: walks.add_slice,
    Pad: walks.add_pad,
    Concat: walks.add_concat,
    Resize: _resize,
    ArgMax: _argmax,
}
