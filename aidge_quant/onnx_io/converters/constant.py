"""Constants, and the shape of a tensor as a constant."""

import numpy as np

from aidge_quant.errors import UnsupportedError
from aidge_quant.onnx_io.builder import Value, constant_value
from aidge_quant.onnx_io.constants import ONLY_CONSTANT
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader


@converts("Constant")
def constant(node: NodeReader) -> list[Value]:
    """Read a constant given in any of its forms but text and sparse."""
    array = node.tensor("value")
    if node.has("value_float"):
        array = np.asarray(node.number("value_float", 0.0), np.float32)
    elif node.has("value_int"):
        array = np.asarray(node.integer("value_int", 0), np.int64)
    elif node.has("value_floats"):
        array = np.asarray(node.numbers("value_floats"), np.float32)
    elif node.has("value_ints"):
        array = np.asarray(node.integers("value_ints"), np.int64)
    if array is None:
        raise UnsupportedError("it holds text or a sparse tensor, expected numbers")
    return [constant_value(node.name, array)]


@converts("Shape")
def shape(node: NodeReader) -> list[Value]:
    """Return the known shape, or a part of it (opset 15)."""
    rank = node.rank()
    start, end = node.integer("start", 0), node.integer("end", rank)
    return [constant_value(node.name, np.asarray(node.shape()[slice(start, end)], np.int64))]


@converts("Size")
def size(node: NodeReader) -> list[Value]:
    """Return the known number of values."""
    return [constant_value(node.name, np.asarray(int(np.prod(node.shape())), np.int64))]


@converts(*ONLY_CONSTANT)
def refuse_computed(node: NodeReader) -> list[Value]:
    """Refuse: constants of these operators are folded before a converter is asked."""
    computed = next((i for i, value in enumerate(node.inputs) if value and value.array is None), 0)
    raise UnsupportedError(
        f"this operator is handled on constants only, but input {computed} is computed; replace "
        "it, or simplify the model so that it becomes a constant"
    )
