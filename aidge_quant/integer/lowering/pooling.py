"""Rules of the pools."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Node
from aidge_quant.integer.layers import ArgMax, AveragePool, MaxPool
from aidge_quant.integer.lowering.builder import Builder, View, channels_last
from aidge_quant.integer.lowering.geometry import pair, sides
from aidge_quant.integer.lowering.requantize import folded_bias, read_tail, requantization
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops.windows import missing_at_end, output_sizes


def lower_max_pool(builder: Builder, node: Node) -> None:
    """Largest value of a window."""
    operator = node.operator
    data = builder.tensor(node.input(0))
    layer = MaxPool(
        node.name,
        (data.name,),
        _passed_on(builder, node, data).name,
        (node.name,),
        pair(operator.window),
        pair(operator.stride),
        pair(operator.dilation),
        sides(_padding(builder, node)),
    )
    builder.emit(layer)


def lower_global_max_pool(builder: Builder, node: Node) -> None:
    """Largest value over all positions."""
    data = builder.tensor(node.input(0))
    window = (data.shape[0], data.shape[1])
    out = _passed_on(builder, node, data)
    geometry = (window, (1, 1), (1, 1), (0, 0, 0, 0))
    builder.emit(MaxPool(node.name, (data.name,), out.name, (node.name,), *geometry))


def lower_average_pool(builder: Builder, node: Node) -> None:
    """Mean over a window, rounded half up, on the scale of the input."""
    operator = node.operator
    if any(step != 1 for step in operator.dilation):
        raise builder.refuse(node, f"an average with dilation {operator.dilation}")
    padding = _padding(builder, node)
    if operator.count_include_pad and padding != operator.padding:
        raise builder.refuse(
            node, "ceil_mode and count_include_pad together let windows count differently"
        )
    _emit_average(
        builder,
        node,
        pair(operator.window),
        pair(operator.stride),
        sides(padding),
        operator.count_include_pad,
    )


def lower_global_average_pool(builder: Builder, node: Node) -> None:
    """Mean over all positions."""
    height, width, _ = builder.tensor(node.input(0)).shape
    _emit_average(builder, node, (height, width), (1, 1), (0, 0, 0, 0), False)


def lower_sum_pool(builder: Builder, node: Node) -> None:
    """Sum over a window, with the quantizer that divides it."""
    operator = node.operator
    if any(step != 1 for step in operator.dilation) or operator.ceil:
        raise builder.refuse(node, "a sum with dilation or in ceil mode")
    data = builder.tensor(node.input(0))
    tail = read_tail(builder, node)
    if tail.coefficient != 1:
        raise builder.refuse(node, "a compensation follows a pool")
    form, addend = requantization(tail, 1)
    window = pair(operator.window)
    zeros = -window[0] * window[1] * data.zero_point
    out = builder.output(
        tail.last, element_type=tail.element_type, scale=tail.scale, zero_point=tail.zero_point
    )
    builder.bind(tail.last, View(out, builder.shape(tail.last), *tail.bounds))
    builder.emit(
        AveragePool(
            node.name,
            (data.name,),
            out.name,
            (node.name, *(n.name for n in tail.nodes)),
            window=window,
            stride=pair(operator.stride),
            padding=sides(operator.padding),
            count_include_pad=True,
            zero_point=data.zero_point,
            bias=int(folded_bias(node.name, np.asarray(zeros), addend)),
            lower=form.lower,
            upper=form.bounds[1],
            requantization=form,
        )
    )


def lower_argmax(builder: Builder, node: Node) -> None:
    """Index of the largest value along the channels."""
    operator = node.operator
    data = builder.tensor(node.input(0))
    rank = len(data.onnx_shape) + 1
    if operator.axis % rank != 1 or operator.last:
        raise builder.refuse(
            node, "only the first index along the channels (axis 1) is implemented"
        )
    kept = (1, *data.onnx_shape[1:])
    stored, layout = channels_last(kept)
    out = builder.new_tensor(node.name, stored, kept, layout, element_type=dtype.int32)
    builder.emit(ArgMax(node.name, (data.name,), out.name, (node.name,)))
    builder.bind(node, View(out, builder.shape(node), 0, data.channels - 1))


def _emit_average(
    builder: Builder,
    node: Node,
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    count_include_pad: bool,
) -> None:
    data = builder.tensor(node.input(0))
    view = builder.view(node.input(0))
    out = _passed_on(builder, node, data)
    builder.emit(
        AveragePool(
            node.name,
            (data.name,),
            out.name,
            (node.name,),
            window,
            stride,
            padding,
            count_include_pad,
            data.zero_point,
            0,
            min(view.lower, 0) + data.zero_point if any(padding) else view.lower + data.zero_point,
            max(view.upper, 0) + data.zero_point if any(padding) else view.upper + data.zero_point,
            None,
        )
    )


def _passed_on(builder: Builder, node: Node, data: IntegerTensor) -> IntegerTensor:
    view = builder.view(node.input(0))
    out = builder.output(node, like=data)
    builder.bind(node, View(out, builder.shape(node), view.lower, view.upper))
    return out


def _padding(builder: Builder, node: Node) -> tuple[int, ...]:
    """Return the padding with the reach of ceil-mode windows added to the ends."""
    operator = node.operator
    data = builder.view(node.input(0)).shape[1:]
    arguments = (operator.window, operator.stride, operator.dilation, operator.padding)
    outputs = output_sizes(data, *arguments, ceil=operator.ceil)
    extra = missing_at_end(data, *arguments, outputs)
    rank = len(data)
    ends = np.add(operator.padding[rank:], extra)
    return (*operator.padding[:rank], *map(int, ends))
