"""Pools."""

import math

from aidge_quant.errors import GraphError
from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.writers.registry import from_table, table_attributes, writes
from aidge_quant.ops.pooling import WindowPool
from aidge_quant.ops.windows import missing_at_end


@writes("MaxPool", "AveragePool")
def pool(node: NodeWriter) -> None:
    """Write the fields; before opset 10, rounding up becomes padding that does not count."""
    operator = _pool(node)
    counted = getattr(operator, "count_include_pad", False)
    if operator.ceil and node.opset < 10 and not counted:
        from_table(node, ceil_mode=0, pads=_full_pads(node))
    else:
        from_table(node)


@writes("SumPool")
def sum_pool(node: NodeWriter) -> None:
    """Write the average over all of every window, times the size of the window."""
    operator = _pool(node)
    attributes = table_attributes(node) | {"ceil_mode": 0, "pads": _full_pads(node)}
    shape = node.outputs[0].shape
    mean = node.emit(
        "AveragePool", node.input(), suffix="mean", shape=shape, count_include_pad=1, **attributes
    )
    node.finish("Mul", mean, node.scalar(math.prod(operator.window), "count"))


@writes("GlobalMaxPool")
def global_max_pool(node: NodeWriter) -> None:
    """Write; of integers, the ReduceMax that means the same."""
    data = node.input()
    if not data.element_type.is_integer:
        from_table(node)
        return
    node.finish_with("ReduceMax", "axes", range(2, len(data.shape)), keepdims=1)


def _pool(node: NodeWriter) -> WindowPool:
    operator = node.operator
    assert isinstance(operator, WindowPool)
    return operator


def _full_pads(node: NodeWriter) -> list[int]:
    """Return the pads with those at the end so wide that rounding up changes nothing."""
    operator = _pool(node)
    sizes = tuple(size for size in node.input().shape[2:] if isinstance(size, int))
    found = tuple(size for size in node.outputs[0].shape[2:] if isinstance(size, int))
    if len(sizes) != len(operator.window):
        raise GraphError(f"its data has shape {node.input().shape}, expected known sizes")
    arguments = (operator.window, operator.stride, operator.dilation, operator.padding)
    extra = missing_at_end(sizes, *arguments, found)
    ends = zip(operator.padding[len(sizes) :], extra, strict=True)
    return [*operator.padding[: len(sizes)], *(end + more for end, more in ends)]
