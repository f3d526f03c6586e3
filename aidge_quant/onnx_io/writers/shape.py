"""Operators that move values, whose parameters turned from attributes into inputs over time."""

from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.writers.registry import writes
from aidge_quant.ops import Pad, Reshape, Slice, Split, Squeeze, Unsqueeze

#: Bounds of int64, for ends that mean "to the last".
_LEAST, _MOST = -(2**63), 2**63 - 1


@writes("Reshape")
def reshape(node: NodeWriter) -> None:
    """Write the shape, in which 0 or -1 stands for the batch where it is free."""
    operator = node.operator
    assert isinstance(operator, Reshape)
    zero = 1 if operator.zero_is_size and 0 in operator.shape else None
    shape = node.integers(operator.shape, "shape")
    node.finish("Reshape", node.input(), shape, allowzero=zero)


@writes("Squeeze", "Unsqueeze")
def squeeze(node: NodeWriter) -> None:
    """Write the axes."""
    operator = node.operator
    assert isinstance(operator, Squeeze | Unsqueeze)
    if operator.axes:
        node.finish_with(operator.type, "axes", operator.axes)
    else:
        node.finish("Identity", node.input())


@writes("Split")
def split(node: NodeWriter) -> None:
    """Write the sizes."""
    operator = node.operator
    assert isinstance(operator, Split)
    axis = operator.axis % len(node.input().shape)
    node.finish_with("Split", "split", operator.sizes, axis=axis)


@writes("Slice")
def slices(node: NodeWriter) -> None:
    """Write the bounds."""
    operator, data = node.operator, node.input()
    assert isinstance(operator, Slice)
    axes = tuple(axis % len(data.shape) for axis in operator.axes)
    starts, ends = (
        tuple(min(max(bound, _LEAST), _MOST) for bound in bounds)
        for bounds in (operator.starts, operator.ends)
    )
    if not axes:
        node.finish("Identity", data)
    elif node.has_attribute("Slice", "starts"):
        if any(step != 1 for step in operator.steps):
            node.require(10, "a step other than 1")
        node.finish("Slice", data, starts=starts, ends=ends, axes=axes)
    else:
        lists = {"starts": starts, "ends": ends, "axes": axes, "steps": operator.steps}
        node.finish("Slice", data, *(node.integers(v, name) for name, v in lists.items()))


@writes("Pad")
def pad(node: NodeWriter) -> None:
    """Write the pads and their value."""
    operator, data = node.operator, node.input()
    assert isinstance(operator, Pad)
    pads = (*operator.before, *operator.after)
    if node.has_attribute("Pad", "pads"):
        node.finish("Pad", data, mode="constant", pads=pads, value=float(operator.value))
    else:
        value = node.scalar(operator.value, "value")
        node.finish("Pad", data, node.integers(pads, "pads"), value, mode="constant")
