"""Rules of the layers with weights."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.graph import Annotation, Node
from aidge_quant.integer.layers import (
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    TransposedConvolution,
)
from aidge_quant.integer.lowering.builder import (
    Builder,
    View,
    channels_last,
    onnx_order,
    stored_order,
)
from aidge_quant.integer.lowering.geometry import pair, sides
from aidge_quant.integer.lowering.requantize import Tail, folded_bias, read_tail, requantization
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor


def lower_conv(builder: Builder, node: Node) -> None:
    """Convolution, depthwise where every channel has one filter of its own."""
    operator = node.operator
    data = builder.tensor(node.input(0))
    weight = _two_spatial_axes(integer_weight(builder, node))
    tail = read_tail(builder, node)
    channels = weight.shape[0]
    sums = weight.reshape(channels, -1).sum(axis=1, dtype=np.int64)
    form, bias = _bias(builder, node, tail, -data.zero_point * sums)
    out = _output(builder, tail)
    common = (node.name, (data.name,), out.name, _source(node, tail))
    width = weight_type(builder, node, weight)
    weight = weight.astype(width.numpy)
    window = (pair(operator.stride), pair(operator.dilation), sides(operator.padding))
    groups: int = operator.groups
    if groups == channels == data.channels and channels > 1:
        kernel = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))  # (c, kh, kw) -> (kh, kw, c)
        numbers = (kernel, width, bias, form)
        builder.emit(DepthwiseConvolution(*common, *numbers, *window, data.zero_point))
    else:
        kernel = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))  # (o, i, h, w) -> (o, h, w, i)
        numbers = (kernel, width, bias, form)
        builder.emit(Convolution(*common, *numbers, *window, groups, data.zero_point))


def lower_conv_transpose(builder: Builder, node: Node) -> None:
    """Transposed convolution; ONNX stores its weight (in, out / groups, *window)."""
    operator = node.operator
    data = builder.tensor(node.input(0))
    stored = _two_spatial_axes(integer_weight(builder, node))
    groups = operator.groups
    per_group = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:])
    # (g, i, o, kh, kw) -> (g, o, kh, kw, i)
    kernel = np.ascontiguousarray(per_group.transpose(0, 2, 3, 4, 1))
    kernel = kernel.reshape(-1, *kernel.shape[2:])
    width = weight_type(builder, node, stored)
    top, left, bottom, right = sides(operator.padding)
    below, beside = (0, *operator.output_padding)[-2:]
    tail = read_tail(builder, node)
    form, bias = _bias(builder, node, tail, np.zeros(kernel.shape[0], np.int64))
    out = _output(builder, tail)
    builder.emit(
        TransposedConvolution(
            node.name,
            (data.name,),
            out.name,
            _source(node, tail),
            kernel.astype(width.numpy),
            width,
            bias,
            form,
            stride=pair(operator.stride),
            dilation=pair(operator.dilation),
            padding=(top, left, bottom - below, right - beside),
            groups=groups,
            input_zero_point=data.zero_point,
        )
    )


def lower_fc(builder: Builder, node: Node) -> None:
    """Fully connected; the weight columns follow the stored order of a flattened input."""
    weight = integer_weight(builder, node)
    view = builder.view(node.input(0))
    if len(view.shape) == 1:
        data = view.tensor
        weight = weight[:, stored_order(data.onnx_shape, data.layout)]
    else:
        data = builder.tensor(node.input(0), onnx_order)
    tail = read_tail(builder, node)
    sums = weight.sum(axis=1, dtype=np.int64)
    form, bias = _bias(builder, node, tail, -data.zero_point * sums)
    out = _output(builder, tail, rows=len(view.shape) > 1)
    width = weight_type(builder, node, weight)
    builder.emit(
        FullyConnected(
            node.name,
            (data.name,),
            out.name,
            _source(node, tail),
            np.ascontiguousarray(weight, width.numpy),
            width,
            bias,
            form,
        )
    )


def integer_weight(builder: Builder, node: Node) -> np.ndarray:
    """Return the weight of an affine node as int8 or int16.

    Raises
    ------
    GraphError
        If a value is not an integer, or is wider than 16 bits.
    """
    return _integers(builder, node, 1, dtype.int16).astype(np.int16)


def weight_type(builder: Builder, node: Node, weight: np.ndarray) -> dtype:
    """Return the type that stores a weight: as the producer is annotated, else by its values."""
    source = node.input(1).node
    while source.inputs and Annotation.PRECISION not in source.annotations:
        source = source.input(0).node
    largest = int(np.abs(weight).max(initial=0))
    declared = source.annotations.get(Annotation.PRECISION)
    if isinstance(declared, dtype) and declared.is_integer and largest <= declared.max:
        return declared if declared.bits <= 16 else dtype.int16
    return dtype.int8 if largest <= dtype.int8.max else dtype.int16


def _integers(builder: Builder, node: Node, slot: int, widest: dtype) -> np.ndarray:
    port = node.input(slot)
    values = np.asarray(builder.constant(port), np.float64)
    role = node.operator.role(slot)
    if not np.array_equal(values, np.floor(values)):
        raise builder.refuse(
            node,
            f"its {role} {port.node.name} holds values that are not integers",
            "call quantize_network before lower, without no_quant",
        )
    if values.size and not widest.min <= values.min() <= values.max() <= widest.max:
        raise GraphError(
            f"{node.name} ({node.type}): its {role} {port.node.name} spans {values.min():.0f} to "
            f"{values.max():.0f}, expected {widest.value}"
        )
    return values


def _bias(
    builder: Builder, node: Node, tail: Tail, correction: np.ndarray
) -> tuple[Requantization, np.ndarray]:
    """Return the requantization and the int32 bias; ``correction`` has one value a channel."""
    if tail.coefficient != 1:
        raise builder.refuse(node, "a compensation follows a layer with weights")
    bias = np.zeros(correction.shape, np.int64)
    if node.has_input(2):
        bias = _integers(builder, node, 2, dtype.int32).astype(np.int64)
    form, addend = requantization(tail, correction.size)
    return form, folded_bias(node.name, bias + correction, addend)


def _output(builder: Builder, tail: Tail, *, rows: bool = False) -> IntegerTensor:
    node = tail.last
    shape = builder.shape(node)
    stored, layout = onnx_order(shape) if rows else channels_last(shape)
    out = builder.new_tensor(
        node.name,
        stored,
        shape,
        layout,
        element_type=tail.element_type,
        scale=tail.scale,
        zero_point=tail.zero_point,
    )
    builder.bind(node, View(out, shape, tail.lower, tail.upper))
    return out


def _source(node: Node, tail: Tail) -> tuple[str, ...]:
    return (node.name, *(n.name for n in tail.nodes))


def _two_spatial_axes(weight: np.ndarray) -> np.ndarray:
    return weight if weight.ndim == 4 else weight[:, :, None, :]
