"""Rules of the layers that work element by element."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, Node, Port
from aidge_quant.integer.layers import Add, Clamp, Lookup, Multiply, Rescale
from aidge_quant.integer.lowering.affine import Sum, emit_affine
from aidge_quant.integer.lowering.builder import Builder, View
from aidge_quant.integer.lowering.requantize import (
    Tail,
    channel_compensation,
    clipped,
    compensation,
    data_port,
    folded_bias,
    quantizer_tail,
    read_tail,
    requantization,
    storage_type,
    stored_zero_point,
)
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops import Add as AddOperator
from aidge_quant.ops import Dequantizer, Quantizer, Sub, Trait


def lower_add(builder: Builder, node: Node) -> None:
    """Add and Sub of two tensors of one shape, with the compensations in the multipliers.

    Where one operand is the accumulator of an affine node, the sum becomes part of its layer.
    """
    operands = (port.node for port in node.inputs[:2] if port is not None)
    waiting = [operand for operand in operands if Trait.AFFINE in operand.operator.traits]
    if waiting:
        _add_to_accumulator(builder, node, waiting)
        return
    (first, factor), (second, other) = (_operand(builder, port) for port in node.inputs[:2])
    if first.shape != second.shape:
        raise builder.refuse(
            node, f"its inputs have shapes {first.onnx_shape} and {second.onnx_shape}, expected one"
        )
    tail = read_tail(builder, node)
    sign = -1 if isinstance(node.operator, Sub) else 1
    multipliers = (tail.coefficient * factor, sign * tail.coefficient * other)
    zeros = -(multipliers[0] * first.zero_point + multipliers[1] * second.zero_point)
    form, addend = requantization(tail, 1)
    bias = int(folded_bias(node.name, np.asarray(zeros), addend))
    out = _output(builder, tail)
    inputs = (first.name, second.name)
    builder.emit(Add(node.name, inputs, out.name, _source(node, tail), multipliers, bias, form))


def _operand(builder: Builder, port: Port | None) -> tuple[IntegerTensor, int]:
    """Return what an Add reads, and the integer factor that stands before it."""
    assert port is not None
    if not port.node.annotations.get(Annotation.IS_COMPENSATION):
        return builder.tensor(port), 1
    return builder.tensor(data_port(builder, port.node)), compensation(builder, port.node)


def _add_to_accumulator(builder: Builder, node: Node, waiting: list[Node]) -> None:
    """Emit the layer of the affine node whose accumulator an Add or Sub takes."""
    subtracts = isinstance(node.operator, Sub)
    if len(waiting) > 1 or (subtracts and node.input(0).node is not waiting[0]):
        reason = "both its inputs are" if len(waiting) > 1 else "it subtracts"
        raise builder.refuse(
            node, f"{reason} an accumulator without a quantizer", "call quantize_network before"
        )
    other = next(port for port in node.inputs[:2] if port is not None and port.node not in waiting)
    factors = np.ones((), np.int64)
    if other.node.annotations.get(Annotation.IS_COMPENSATION):
        factors = channel_compensation(builder, other.node)
        other = data_port(builder, other.node)
    emit_affine(builder, waiting[0], Sum(node, other, -factors if subtracts else factors))


def lower_mul(builder: Builder, node: Node) -> None:
    """Emit a Rescale for a compensation, a Multiply for a product of two tensors.

    A compensation that only an Add or Sub reads becomes one of its multipliers.
    """
    if node.annotations.get(Annotation.IS_COMPENSATION):
        quantizer = builder.graph.sole_consumer(node)
        if quantizer is not None and isinstance(quantizer.operator, AddOperator | Sub):
            return
        if quantizer is None or not isinstance(quantizer.operator, Quantizer):
            raise builder.refuse(node, "a compensation without a quantizer behind it")
        tail = quantizer_tail(builder, quantizer)
        _emit_rescale(builder, node, data_port(builder, node), tail, compensation(builder, node))
        return
    first, second = builder.tensor(node.input(0)), builder.tensor(node.input(1))
    if first.size < second.size:
        first, second = second, first
    per_channel = second.size == second.channels == first.channels
    if first.shape != second.shape and not per_channel:
        raise builder.refuse(
            node,
            f"its inputs have shapes {first.onnx_shape} and {second.onnx_shape}, expected one "
            "shape or one value a channel",
        )
    tail = read_tail(builder, node)
    form, addend = requantization(tail, 1)
    out = _output(builder, tail)
    zeros = (first.zero_point, second.zero_point)
    inputs = (first.name, second.name)
    bias = int(folded_bias(node.name, np.zeros((), np.int64), addend))
    numbers = (tail.coefficient, zeros, bias, form)
    builder.emit(Multiply(node.name, inputs, out.name, _source(node, tail), *numbers))


def lower_quantizer(builder: Builder, node: Node) -> None:
    """Emit a Rescale for a quantizer that follows no layer."""
    source = node.input(0)
    tail = quantizer_tail(builder, node)
    _emit_rescale(builder, node, source, tail, 1)


def lower_clip(builder: Builder, node: Node) -> None:
    """ReLU and Clip that nothing before could take over."""
    view = builder.view(node.input(0))
    lower, upper = clipped(node, view.lower, view.upper)
    if isinstance(upper, int) and (lower, upper) == (view.lower, view.upper):
        builder.bind(node, view)
        return
    if not isinstance(upper, int):
        raise builder.refuse(
            node, "it has a bound for every channel, and no layer with weights before it"
        )
    data = builder.tensor(node.input(0))
    out = builder.output(node, like=data)
    bounds = (lower + data.zero_point, upper + data.zero_point)
    builder.emit(Clamp(node.name, (data.name,), out.name, (node.name,), *bounds))
    builder.bind(node, View(out, builder.shape(node), lower, upper))


def lower_dequantizer(builder: Builder, node: Node) -> None:
    """At the output: nothing. Before functions of one value: a table of all of them together."""
    if all(output.port.node is not node for output in builder.graph.outputs):
        _lower_function(builder, node)
        return
    if builder.graph.uses(node):
        raise builder.refuse(node, "it is an output and is read as well")
    builder.bind(node, builder.view(node.input(0)))


def _lower_function(builder: Builder, node: Node) -> None:
    functions: list[Node] = []
    following = builder.graph.sole_consumer(node)
    while following is not None and Trait.POINTWISE in following.operator.traits:
        functions.append(following)
        following = builder.graph.sole_consumer(following)
    if following is None or not isinstance(following.operator, Quantizer) or not functions:
        last = functions[-1] if functions else node
        raise builder.refuse(
            last,
            "it stays in float: no quantizer follows it",
            "only functions of one value can be tables",
        )
    data = builder.tensor(node.input(0))
    tail = quantizer_tail(builder, following)
    for element_type in (data.dtype, tail.element_type):
        if element_type is not dtype.int8:
            raise builder.refuse(
                functions[0], f"a table holds int8 only, its data is {element_type.value}"
            )
    table = _tabulate(builder, [node, *functions, following], data, tail)
    out = _output(builder, tail)
    names = (node.name, *(n.name for n in functions), *(n.name for n in tail.nodes))
    builder.fused.update(functions)
    builder.emit(Lookup(functions[0].name, (data.name,), out.name, names, table))


def lower_table(builder: Builder, node: Node) -> None:
    """Emit the table of a function that the graph has tabulated already."""
    operator = node.operator
    data = builder.tensor(node.input(0))
    if operator.interval is None or Annotation.SCALE not in node.annotations:
        raise builder.refuse(node, "the real value of its integers is not noted on it")
    if data.dtype is not dtype.int8 or storage_type(operator.interval) is not dtype.int8:
        raise builder.refuse(node, f"a table holds int8 only, its data is {data.dtype.value}")
    lower, upper = operator.interval
    zero_point = stored_zero_point(lower, upper, dtype.int8)
    # stored x = v + zero point, and column 0 belongs to v = first
    columns = np.clip(
        np.arange(-128, 128) - data.zero_point - operator.first, 0, operator.table.shape[1] - 1
    )
    values = np.clip(operator.table[:, columns].astype(np.int64), lower, upper) + zero_point
    scale = node.annotations[Annotation.SCALE]
    out = builder.output(node, scale=scale, zero_point=zero_point)
    table = np.ascontiguousarray(values.astype(np.int8))
    builder.emit(Lookup(node.name, (data.name,), out.name, (node.name,), table))
    builder.bind(node, View(out, builder.shape(node), lower, upper))


def _tabulate(builder: Builder, chain: list[Node], data: IntegerTensor, tail: Tail) -> np.ndarray:
    """Return the int8 table (1 or channels, 256): the chain run on every stored value."""
    stored = np.arange(-128, 128, dtype=np.int64)
    rank = len(data.onnx_shape)
    channels = data.onnx_shape[0] if rank else 1
    values = (stored - data.zero_point).astype(np.float64)
    x: np.ndarray = np.broadcast_to(
        values.reshape(256, *(1,) * rank), (256, channels, *(1,) * (rank - 1))
    )
    for node in chain:
        parameters = [builder.constant(port) for port in node.inputs[1:] if port is not None]
        operator = node.operator
        if isinstance(operator, Quantizer | Dequantizer):
            x = operator.forward(x)
        else:
            x = np.asarray(operator.forward(x.astype(np.float32), *parameters))
    result = np.clip(x.astype(np.int64), tail.lower, tail.upper) + tail.zero_point
    table = result.reshape(256, channels).T.astype(np.int8)
    return np.ascontiguousarray(table[:1] if (table == table[:1]).all() else table)


def _emit_rescale(builder: Builder, node: Node, source: Port, tail: Tail, multiplier: int) -> None:
    data = builder.tensor(source)
    form, addend = requantization(tail, data.channels if len(data.onnx_shape) in (1, 3) else 1)
    if form.per_channel:
        raise builder.refuse(node, "a rescale has one scale for all channels")
    bias = int(folded_bias(node.name, np.asarray(-multiplier * data.zero_point), addend))
    out = _output(builder, tail)
    sources = tuple(dict.fromkeys((node.name, *(n.name for n in tail.nodes))))
    builder.emit(Rescale(node.name, (data.name,), out.name, sources, multiplier, bias, form))


def _output(builder: Builder, tail: Tail) -> IntegerTensor:
    out = builder.output(
        tail.last,
        element_type=tail.element_type,
        scale=tail.scale,
        zero_point=tail.zero_point,
    )
    builder.bind(tail.last, View(out, builder.shape(tail.last), *tail.bounds))
    return out


def _source(node: Node, tail: Tail) -> tuple[str, ...]:
    return (node.name, *(n.name for n in tail.nodes))
