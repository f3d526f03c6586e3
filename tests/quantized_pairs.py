"""A float graph with its quantized twin, for the tests of the analysis."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ptq import auto_assign_node_precision, quantize_network


def quantized(graph: GraphView, calibration, *, activations=dtype.int8, **options) -> GraphView:
    """Return a quantized copy in single-shift form; its inputs are int8."""
    copy = graph.clone()
    auto_assign_node_precision(copy, activations, dtype.int8, dtype.int32)
    for node in copy.inputs:
        node.annotations[Annotation.PRECISION] = dtype.int8
    quantize_network(copy, calibration, **{"single_shift": True, **options})
    return copy


def change(graph: GraphView, name: str, function) -> None:
    """Replace the value of a parameter by ``function`` of it, in the same type."""
    node = graph.node(name)
    value = np.asarray(function(node.operator.value)).astype(node.operator.value.dtype)
    node.operator = dataclasses.replace(node.operator, value=value)
