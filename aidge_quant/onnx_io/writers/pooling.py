"""Pools."""

import math

from aidge_quant.errors import GraphError
from aidge_quant.onnx_io.dimensions import Dims
from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.writers.registry import from_table, table_attributes, writes
from aidge_quant.ops.pooling import WindowPool
from aidge_quant.ops.windows import missing_at_end


@writes("MaxPool", "AveragePool")
def pool(node: NodeWriter) -> None:
    """Write the fields, rounding up as padding at the end that does not count.

    Where padding counts, what lies beyond it does not, and only rounding up can say so. Before
    opset 22 that was defined to begin windows in the padding as well.
    """
    operator, pads = _pool(node), _full_pads(node)
    counted = getattr(operator, "count_include_pad", False)
    if not operator.ceil or not counted or pads == list(operator.padding):
        from_table(node, ceil_mode=0, pads=pads)
        return
    if not _is_plain_ceil(node):
        node.require(22, "rounding up without windows that begin in the padding")
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


def _is_plain_ceil(node: NodeWriter) -> bool:
    """Whether rounding up leaves out no window that would begin in the padding."""
    operator, rank = _pool(node), len(_pool(node).window)
    axes = zip(
        _known(node.input().shape),
        _known(node.outputs[0].shape),
        operator.window,
        operator.stride,
        operator.dilation,
        operator.padding[:rank],
        operator.padding[rank:],
        strict=True,
    )
    return all(
        count == -(-(size + begin + end - d * (w - 1) - 1) // s) + 1
        for size, count, w, s, d, begin, end in axes
    )


def _known(shape: Dims) -> tuple[int, ...]:
    """Return the sizes of the spatial axes."""
    return tuple(size for size in shape[2:] if isinstance(size, int))


def _full_pads(node: NodeWriter) -> list[int]:
    """Return the pads with those at the end as wide as the windows reach."""
    operator = _pool(node)
    sizes, found = _known(node.input().shape), _known(node.outputs[0].shape)
    if len(sizes) != len(operator.window):
        raise GraphError(f"its data has shape {node.input().shape}, expected known sizes")
    arguments = (operator.window, operator.stride, operator.dilation, operator.padding)
    extra = missing_at_end(sizes, *arguments, found)
    ends = zip(operator.padding[len(sizes) :], extra, strict=True)
    return [*operator.padding[: len(sizes)], *(end + more for end, more in ends)]
