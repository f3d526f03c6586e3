"""Convolutions and matrix products."""

import numpy as np

from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.writers.registry import from_table, writes

#: Which input is the weight, by operator class.
_WEIGHT_SLOTS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}

#: Version of the operator set from which the last input of Gemm may be left out.
_GEMM_WITHOUT_C = 11


@writes(*_WEIGHT_SLOTS)
def convolution(node: NodeWriter) -> None:
    """Write the fields, and the window that the weight has."""
    weight = node.input(_WEIGHT_SLOTS[node.operator.type])
    from_table(node, kernel_shape=list(weight.shape[2:]))


@writes("FC")
def fully_connected(node: NodeWriter) -> None:
    """Write Gemm for rows of data; MatMul and Add for data of more axes."""
    data, weight, bias = node.input(0), node.input(1), node.optional(2)
    has_form = bias is not None or node.opset >= _GEMM_WITHOUT_C
    if len(data.shape) == 2 and has_form:
        node.finish("Gemm", data, weight, bias, alpha=1.0, beta=1.0, transA=0, transB=1)
        return
    matrix = node.transposed(1)
    if bias is None:
        node.finish("MatMul", data, matrix)
        return
    shape = node.outputs[0].shape
    product = node.emit("MatMul", data, matrix, suffix="product", shape=shape)
    node.finish("Add", product, bias)


@writes("Gemm")
def gemm(node: NodeWriter) -> None:
    """Write the fields; old versions need a last input."""
    if node.optional(2) is None and node.opset < _GEMM_WITHOUT_C:
        stored = node.input().element_type
        zero = node.constant(np.zeros(1, stored.numpy), "zero", stored)
        node.inputs = [*node.inputs[:2], zero]
    from_table(node)
