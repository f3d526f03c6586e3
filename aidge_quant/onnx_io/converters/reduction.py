"""Reductions of whole axes."""

from aidge_quant.errors import GraphError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import ArgMax, Flatten, GlobalAveragePool, Identity, ReduceMax, ReduceMean


@converts("ReduceMean")
def reduce_mean(node: NodeReader) -> list[Value]:
    """Read as GlobalAveragePool (and Flatten) where exactly the spatial axes are reduced."""
    axes, keep = _axes(node)
    rank = node.rank()
    if not axes:
        return node.add(Identity(), node.value(0))
    if rank not in (3, 4) or axes != tuple(range(2, rank)):
        return node.add(ReduceMean(axes, keep), node.value(0))
    if keep:
        return node.add(GlobalAveragePool(), node.value(0))
    (pooled,) = node.add(GlobalAveragePool(), node.value(0), suffix="pool")
    return node.add(Flatten(), pooled)


@converts("ReduceMax")
def reduce_max(node: NodeReader) -> list[Value]:
    """Read with axes as attribute or as constant input."""
    axes, keep = _axes(node)
    operator = ReduceMax(axes, keep) if axes else Identity()
    return node.add(operator, node.value(0))


@converts("ArgMax")
def arg_max(node: NodeReader) -> list[Value]:
    """Read with either choice among equal values."""
    axis = node.axis(node.integer("axis", 0))
    keep, last = node.integer("keepdims", 1), node.integer("select_last_index", 0)
    return node.add(ArgMax(axis, bool(keep), bool(last)), node.value(0))


def _axes(node: NodeReader) -> tuple[tuple[int, ...], bool]:
    """Return the axes to reduce, from 0 and ascending (none: nothing is done), and keepdims."""
    keep = bool(node.integer("keepdims", 1))
    nothing = bool(node.integer("noop_with_empty_axes", 0))
    given = node.integers("axes")
    if node.optional(1) is not None:
        given = node.integers_at(1, "axes")
    if given:
        axes = sorted({node.axis(axis) for axis in given})
        if len(axes) != len(given):
            raise GraphError(f"axes are {given}, expected each axis once")
        return tuple(axes), keep
    return (() if nothing else tuple(range(node.rank()))), keep
