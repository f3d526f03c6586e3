"""Conversions between real values and integers."""

import math
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.onnx_io.node_writer import NodeWriter, Wire
from aidge_quant.onnx_io.tensors import TYPE_NUMBERS
from aidge_quant.onnx_io.writers.registry import writes

#: Version from which a scale may have one value for each channel.
_PER_CHANNEL = 13

#: Version from which an attribute says the type of the output.
_OUTPUT_TYPE = 21


@writes("QuantizeLinear")
def quantize_linear(node: NodeWriter) -> None:
    """Write; where there is no zero point, a zero or an attribute says the type."""
    data, scale, zero = node.input(0), node.input(1), node.optional(2)
    stored, target = node.outputs[0].element_type, None
    if zero is None and stored is not dtype.uint8:
        if node.opset >= _OUTPUT_TYPE:
            target = TYPE_NUMBERS[stored]
        else:
            zero = node.constant(np.zeros(_sizes(scale), stored.numpy), "zero_point", stored)
    node.finish("QuantizeLinear", data, scale, zero, axis=_axis(node), output_dtype=target)


@writes("DequantizeLinear")
def dequantize_linear(node: NodeWriter) -> None:
    """Write."""
    node.finish("DequantizeLinear", *node.inputs, axis=_axis(node))


@writes("QLinearSoftmax")
def q_linear_softmax(node: NodeWriter) -> None:
    """Write; an attribute says whose meaning the axis has, that of opset 12 or 13."""
    operator: Any = node.operator
    meaning = 12 if operator.flatten else 13
    domain = operator.onnx_domain
    node.finish("QLinearSoftmax", *node.inputs, domain=domain, axis=operator.axis, opset=meaning)


def _axis(node: NodeWriter) -> int | None:
    """Return the axis of a scale with many values, counted from the front."""
    scale: Any = node.input(1)
    if math.prod(_sizes(scale)) == 1:
        return None
    node.require(_PER_CHANNEL, "a scale for each channel")
    axis: int = node.operator.axis  # type: ignore[attr-defined]
    return axis + len(node.input().shape) if axis < 0 else axis


def _sizes(scale: Wire) -> tuple[int, ...]:
    sizes = tuple(size for size in scale.shape if isinstance(size, int))
    if len(sizes) < len(scale.shape):
        raise GraphError(f"its scale has shape {scale.shape}, expected known sizes")
    return sizes
