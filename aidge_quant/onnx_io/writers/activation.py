"""Functions of one value whose form in ONNX changed over time."""

import math

import numpy as np

from aidge_quant.errors import UnsupportedError
from aidge_quant.onnx_io.dimensions import Dims
from aidge_quant.onnx_io.node_writer import NodeWriter, Wire
from aidge_quant.onnx_io.writers.registry import writes


@writes("Clip")
def clip(node: NodeWriter) -> None:
    """Write bounds as attributes (before opset 11) or inputs; Max and Min for each channel."""
    data, stored = node.input(), node.input().element_type
    lower, upper = node.operator.lower, node.operator.upper  # type: ignore[attr-defined]
    if stored.is_integer:
        lower = int(max(lower, stored.min))
        upper = np.minimum(upper, stored.max).astype(stored.numpy)
    if np.size(upper) > 1:
        node.require(8, "a bound for each channel")
        if np.isfinite(lower):
            data = node.emit("Max", data, node.scalar(lower, "lower"), suffix="above")
        column = np.reshape(upper, (-1, *(1,) * (len(data.shape) - 2))).astype(stored.numpy)
        node.finish("Min", data, node.constant(column, "upper", stored))
        return
    bounds = {"min": float(lower), "max": float(np.reshape(upper, ()))}
    given = {name: value if math.isfinite(value) else None for name, value in bounds.items()}
    if node.has_attribute("Clip", "min"):
        node.finish("Clip", data, min=given["min"], max=given["max"])
        return
    inputs = (None if v is None else node.scalar(v, name) for name, v in given.items())
    node.finish("Clip", data, *inputs)


@writes("Softmax")
def softmax(node: NodeWriter) -> None:
    """Write either meaning of the axis in either form of the operator."""
    data = node.input()
    rank = len(data.shape)
    axis = node.operator.axis % rank  # type: ignore[attr-defined]
    flatten = node.operator.flatten  # type: ignore[attr-defined]
    # one axis and "all axes from this one on" are the same where the later ones have size 1
    if all(size == 1 for size in data.shape[axis + 1 :]) or flatten == (node.opset < 13):
        node.finish("Softmax", data, axis=axis)
    elif flatten:
        _flattened(node, data, axis)
    else:
        _moved(node, data, axis)


def _flattened(node: NodeWriter, data: Wire, axis: int) -> None:
    open_axes = [i for i, size in enumerate(data.shape) if not isinstance(size, int)]
    if len(open_axes) > 1:
        raise UnsupportedError(f"its data has shape {data.shape}: more than the batch is open")
    rest = [size for size in data.shape[axis:] if isinstance(size, int)]
    width = math.prod(rest) if len(rest) == len(data.shape) - axis else None
    rows: Dims = (data.shape[0] if axis == 1 else None, width)
    flat = node.emit("Flatten", data, suffix="flat", shape=rows, axis=axis)
    found = node.emit("Softmax", flat, suffix="rows", axis=1)
    sizes = [size if isinstance(size, int) else -1 for size in data.shape]
    node.finish("Reshape", found, node.integers(sizes, "shape"))


def _moved(node: NodeWriter, data: Wire, axis: int) -> None:
    order = list(range(len(data.shape)))
    order[axis], order[-1] = order[-1], order[axis]  # its own inverse
    shape = tuple(data.shape[i] for i in order)
    moved = node.emit("Transpose", data, suffix="moved", shape=shape, perm=order)
    found = node.emit("Softmax", moved, suffix="last", axis=len(order) - 1)
    node.finish("Transpose", found, perm=order)
