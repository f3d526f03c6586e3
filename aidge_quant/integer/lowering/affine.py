"""Rules of the layers with weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.graph import Annotation, Node, Port
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
from aidge_quant.integer.lowering.requantize import folded_bias, read_tail, requantization
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops import Add, Sub


@dataclass(frozen=True)
class Sum:
    """An Add or Sub that takes the accumulator of an affine node as it is.

    Attributes
    ----------
    node : Node
    residual : Port
        What is added: an integer tensor.
    factors : int64 array () or (channels,)
        What it is multiplied with, in units of the accumulator; negative where it is subtracted.
    """

    node: Node
    residual: Port
    factors: np.ndarray


def lower_affine(builder: Builder, node: Node) -> None:
    """Emit the layer of an affine node, unless an Add takes its accumulator: then that one does."""
    reader = builder.graph.sole_consumer(node)
    if reader is None or not isinstance(reader.operator, Add | Sub):
        emit_affine(builder, node, None)


def emit_affine(builder: Builder, node: Node, total: Sum | None) -> None:
    """Emit the layer of an affine node, with what is added to its accumulator."""
    EMIT[node.type](builder, node, total)


def _emit_conv(builder: Builder, node: Node, total: Sum | None) -> None:
    """Convolution, depthwise where every channel has one filter of its own."""
    operator = node.operator
    data = builder.tensor(node.input(0))
    weight = _two_spatial_axes(integer_weight(builder, node))
    channels = weight.shape[0]
    sums = weight.reshape(channels, -1).sum(axis=1, dtype=np.int64)
    end = _end(builder, node, total, data, -data.zero_point * sums)
    width = weight_type(builder, node, weight)
    weight = weight.astype(width.numpy)
    end |= {
        "weight_dtype": width,
        "stride": pair(operator.stride),
        "dilation": pair(operator.dilation),
        "padding": sides(operator.padding),
        "pad_value": data.zero_point,
    }
    groups: int = operator.groups
    if groups == channels == data.channels and channels > 1:
        kernel = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))  # (c, kh, kw) -> (kh, kw, c)
        builder.emit(DepthwiseConvolution(weight=kernel, **end))
    else:
        kernel = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))  # (o, i, h, w) -> (o, h, w, i)
        builder.emit(Convolution(weight=kernel, groups=groups, **end))


def _emit_conv_transpose(builder: Builder, node: Node, total: Sum | None) -> None:
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
    end = _end(builder, node, total, data, np.zeros(kernel.shape[0], np.int64))
    builder.emit(
        TransposedConvolution(
            **end,
            weight=kernel.astype(width.numpy),
            weight_dtype=width,
            stride=pair(operator.stride),
            dilation=pair(operator.dilation),
            padding=(top, left, bottom - below, right - beside),
            groups=groups,
            input_zero_point=data.zero_point,
        )
    )


def _emit_fc(builder: Builder, node: Node, total: Sum | None) -> None:
    """Fully connected; the weight columns follow the stored order of a flattened input."""
    weight = integer_weight(builder, node)
    view = builder.view(node.input(0))
    rows = len(view.shape) > 1
    if rows:
        data = builder.tensor(node.input(0), onnx_order)
    else:
        data = view.tensor
        weight = weight[:, stored_order(data.onnx_shape, data.layout)]
    sums = weight.sum(axis=1, dtype=np.int64)
    end = _end(builder, node, total, data, -data.zero_point * sums, rows=rows)
    width = weight_type(builder, node, weight)
    kernel = np.ascontiguousarray(weight, width.numpy)
    builder.emit(FullyConnected(weight=kernel, weight_dtype=width, **end))


EMIT: Mapping[str, Callable[[Builder, Node, Sum | None], None]] = {
    "Conv": _emit_conv,
    "ConvTranspose": _emit_conv_transpose,
    "FC": _emit_fc,
}


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


def _end(
    builder: Builder,
    node: Node,
    total: Sum | None,
    data: IntegerTensor,
    correction: np.ndarray,
    *,
    rows: bool = False,
) -> dict[str, Any]:
    """Return what all layers with weights have, their output bound: names, bias, last step.

    Parameters
    ----------
    total : Sum or None
    data : IntegerTensor
        What the layer reads.
    correction : int64 array (out,)
        What the zero point of the input adds to the bias.
    rows : bool
        Whether the output keeps the order of ONNX.
    """
    order = onnx_order if rows else channels_last
    last = node if total is None else total.node
    inputs, sources = [data.name], dict.fromkeys((node.name, last.name))
    bias = np.asarray(correction, np.int64)
    if node.has_input(2):
        bias = bias + _integers(builder, node, 2, dtype.int32).astype(np.int64)
    factors = None
    if total is not None:
        added = builder.tensor(total.residual, order)
        shapes = (builder.shape(node), added.onnx_shape)
        if shapes[0] != shapes[1]:
            raise builder.refuse(last, f"its inputs have shapes {shapes}, expected equal ones")
        factors = np.atleast_1d(total.factors).astype(np.int32)
        bias = bias - added.zero_point * factors.astype(np.int64)
        inputs.append(added.name)
    tail = read_tail(builder, last, affine=True)
    if tail.coefficient != 1:
        raise builder.refuse(node, "a compensation follows a layer with weights")
    form, addend = requantization(tail, bias.size)
    shape = builder.shape(tail.last)
    stored, layout = order(shape)
    out = builder.new_tensor(
        tail.last.name,
        stored,
        shape,
        layout,
        element_type=tail.element_type,
        scale=tail.scale,
        zero_point=tail.zero_point,
    )
    builder.bind(tail.last, View(out, shape, *tail.bounds))
    sources.update(dict.fromkeys(n.name for n in tail.nodes))
    return {
        "name": node.name,
        "inputs": tuple(inputs),
        "output": out.name,
        "source": tuple(sources),
        "bias": folded_bias(node.name, bias, addend),
        "requantization": form,
        "residual": factors,
    }


def _two_spatial_axes(weight: np.ndarray) -> np.ndarray:
    return weight if weight.ndim == 4 else weight[:, :, None, :]
