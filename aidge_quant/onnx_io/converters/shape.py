"""Operators that move values."""

import numpy as np

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Value, check_size
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import (
    Concat,
    Flatten,
    Identity,
    Pad,
    Reshape,
    Slice,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)
from aidge_quant.ops.base import Shape


@converts("Reshape")
def reshape(node: NodeReader) -> list[Value]:
    """Read so that the batch stays free: axis 0 is copied or inferred where that is possible."""
    wanted = node.integers_at(1, "its shape")
    zero_is_size = bool(node.integer("allowzero", 0))
    if any(size < -1 for size in wanted) or wanted.count(-1) > 1:
        raise GraphError(f"its shape is {wanted}, expected sizes with at most one -1")
    data = node.shape()
    (resolved,) = Reshape(wanted, zero_is_size).infer_shapes(data)
    check_size(resolved)
    return node.add(Reshape(_free_batch(resolved, data, wanted)), node.value(0))


def _free_batch(resolved: Shape, data: Shape, wanted: Shape) -> Shape:
    """Return the shape with 0 or -1 in place of the size of axis 0."""
    if not resolved or not data:
        return resolved
    if resolved[0] == data[0]:
        return (0, *resolved[1:])
    if -1 in wanted[1:]:
        inferred = wanted.index(-1)
        return tuple(-1 if axis == inferred else size for axis, size in enumerate(resolved))
    return (-1, *resolved[1:])


@converts("Flatten")
def flatten(node: NodeReader) -> list[Value]:
    """Read with the batch kept wherever the shapes allow it."""
    axis = node.integer("axis", 1)
    rank = node.rank()
    if not -rank <= axis <= rank:
        raise GraphError(f"axis {axis} does not exist in data of {rank} axes")
    axis = axis + rank if axis < 0 else axis
    if axis == 0 and rank > 0 and node.shape()[0] == 1:
        axis = 1  # the same on a batch of 1, and right on any other
    return node.add(Flatten(axis), node.value(0))


@converts("Transpose")
def transpose(node: NodeReader) -> list[Value]:
    """Read the permutation; by default the axes are reversed."""
    permutation = node.integers("perm")
    if permutation is None:
        permutation = tuple(reversed(range(node.rank())))
    return node.add(Transpose(permutation), node.value(0))


@converts("Concat")
def concat(node: NodeReader) -> list[Value]:
    """Read the axis; one input alone is an Identity."""
    if not node.has("axis"):
        raise GraphError("attribute axis is missing")
    axis = node.axis(node.integer("axis", 0))
    if len(node.inputs) == 1:
        return node.add(Identity(), node.value(0))
    return node.add(Concat(axis), *node.inputs)


@converts("Slice")
def slices(node: NodeReader) -> list[Value]:
    """Read bounds that are attributes (before opset 10) or constant inputs."""
    if node.opset < 10:
        starts, ends = node.integers("starts"), node.integers("ends")
        axes, steps = node.integers("axes"), None
    else:
        starts, ends = node.integers_at(1, "its starts"), node.integers_at(2, "its ends")
        axes = node.integers_at(3, "its axes") if node.optional(3) else None
        steps = node.integers_at(4, "its steps") if node.optional(4) else None
    if starts is None or ends is None:
        raise GraphError("starts or ends are missing")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    axes = tuple(node.axis(axis) for axis in axes)
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(axes)) < len(axes):
        raise GraphError(
            f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not match"
        )
    if 0 in steps:
        raise GraphError(f"its steps are {steps}, expected none of them 0")
    return node.add(Slice(starts, ends, axes, steps), node.value(0))


@converts("Split")
def split(node: NodeReader) -> list[Value]:
    """Read sizes that are an attribute (before opset 13), a constant input, or equal."""
    axis = node.axis(node.integer("axis", 0))
    size, count = node.shape()[axis], node.integer("num_outputs", len(node.used_outputs))
    sizes = node.integers("split")
    if node.optional(1) is not None:
        sizes = node.integers_at(1, "its sizes")
    if sizes is None:
        if not 1 <= count <= size:
            raise GraphError(f"{size} positions cannot be split into {count} parts")
        part = -(-size // count)
        sizes = (*(part,) * (count - 1), size - part * (count - 1))
    if len(sizes) != len(node.used_outputs):
        raise GraphError(f"it has {len(node.used_outputs)} outputs, but the sizes {sizes}")
    if min(sizes) < 0:
        raise GraphError(f"its sizes are {sizes}, expected none below 0")
    return node.add(Split(axis, sizes), node.value(0))


@converts("Pad")
def pad(node: NodeReader) -> list[Value]:
    """Read padding with a constant; the pads are an attribute or a constant input."""
    mode = node.text("mode", "constant")
    if mode != "constant":
        raise UnsupportedError(f"mode is {mode!r}, expected constant")
    rank, value = node.rank(), 0.0
    if node.opset < 11:
        pads, value = node.integers("pads"), node.number("value", 0.0)
    else:
        pads = node.integers_at(1, "its pads")
        if node.optional(2) is not None:
            value = float(node.constant(2, "its value").reshape(-1)[0])
    axes = tuple(range(rank))
    if node.optional(3) is not None:
        axes = tuple(node.axis(axis) for axis in node.integers_at(3, "its axes"))
    if pads is None or len(pads) != 2 * len(axes) or any(abs(p) > 2**24 for p in pads):
        raise GraphError(f"its pads are {pads}, expected {2 * len(axes)} numbers")
    if not np.isfinite(value):
        raise UnsupportedError(f"its value is {value}, expected a finite number")
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = pads[position], pads[len(axes) + position]
    return node.add(Pad(tuple(before), tuple(after), value), node.value(0))


@converts("Squeeze")
def squeeze(node: NodeReader) -> list[Value]:
    """Read the axes, by default all of size 1 but the batch."""
    given = node.integers_at(1, "its axes") if node.optional(1) else node.integers("axes")
    sizes = node.shape()
    if given is None:
        axes = tuple(axis for axis, size in enumerate(sizes) if size == 1)
    else:
        axes = tuple(sorted({node.axis(axis) for axis in given}))
    return node.add(Squeeze(axes), node.value(0))


@converts("Unsqueeze")
def unsqueeze(node: NodeReader) -> list[Value]:
    """Read axes that are an attribute (before opset 13) or a constant input."""
    given = node.integers_at(1, "its axes") if node.optional(1) else node.integers("axes")
    if given is None:
        raise GraphError("its axes are missing")
    rank = node.rank() + len(given)
    return node.add(Unsqueeze(tuple(sorted(node.axis(a, rank) for a in given))), node.value(0))


@converts("Expand")
def expand(node: NodeReader) -> list[Value]:
    """Read where nothing is repeated, as Identity."""
    wanted = node.integers_at(1, "its shape")
    try:
        found = np.broadcast_shapes(node.shape(), wanted)
    except ValueError:
        raise GraphError(f"shape {node.shape()} does not broadcast to {wanted}") from None
    if found != node.shape():
        raise UnsupportedError(
            f"it repeats computed values of shape {node.shape()} to {found}, which is not handled; "
            "let the operator that reads them broadcast"
        )
    return node.add(Identity(), node.value(0))
