"""Reductions of whole axes."""

from aidge_quant.errors import UnsupportedError
from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.writers.registry import writes
from aidge_quant.ops.reduction import Reduction


@writes("ReduceMean", "ReduceMax")
def reduction(node: NodeWriter) -> None:
    """Write the axes as an attribute or, in new versions, an input."""
    operator, data = node.operator, node.input()
    assert isinstance(operator, Reduction)
    if operator.type == "ReduceMean" and data.element_type.is_integer:
        raise UnsupportedError("it takes the mean of integers, which ONNX truncates; use floats")
    if not operator.axes:
        node.finish("Identity", data)
    else:
        keep = int(operator.keep_axes)
        node.finish_with(operator.type, "axes", operator.axes, keepdims=keep)
