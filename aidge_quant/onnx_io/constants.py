"""Constant folding: the arithmetic of shapes and parameters that exporters leave in a model.

Each entry computes one ONNX operator on numpy arrays. Operators that we have as classes and that
mean the same on every type need no entry: a node whose inputs are all constant is computed by them.
"""

import math
from collections.abc import Callable

import numpy as np

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Value, constant_value
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.onnx_io.tensors import element_type

#: Largest constant that an operator may make out of a smaller one.
MOST_FOLDED = 2**26

Folder = Callable[[NodeReader, list[np.ndarray]], np.ndarray]


def fold(node: NodeReader) -> list[Value] | None:
    """Return the outputs of a node whose inputs are all constant; None if it is not for here."""
    folder = FOLDERS.get(node.op)
    arrays = [value.array for value in node.inputs if value is not None]
    if folder is None or not arrays or any(array is None for array in arrays):
        return None
    with np.errstate(all="ignore"):
        result = np.asarray(folder(node, [a for a in arrays if a is not None]))
    return [constant_value(node.name, result)]


def _divide(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    a, b = arrays
    if a.dtype.kind not in "iu":
        return a / b
    if not b.all():
        raise GraphError("it divides by 0")
    quotient = np.abs(a) // np.abs(b)  # ONNX truncates
    return (np.sign(a) * np.sign(b) * quotient).astype(a.dtype)


def _modulo(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    if not arrays[1].all():
        raise GraphError("it divides by 0")
    return np.fmod(*arrays) if node.integer("fmod", 0) else np.mod(*arrays)


def _cast(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    node.ignore("saturate", "round_mode")
    target = element_type(node.integer("to", 0))
    if target.bits < 8:
        raise UnsupportedError(f"it converts to {target.value}, which is not handled")
    return arrays[0].astype(target.numpy)


def _constant_of_shape(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    value = node.tensor("value")
    value = np.zeros(1, np.float32) if value is None else value
    return np.full(_shape(arrays[0]), value.reshape(-1)[0])


def _range(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    start, limit, delta = (array.reshape(()) for array in arrays)
    if not delta:
        raise GraphError("its step is 0")
    count = max(int(np.ceil((float(limit) - float(start)) / float(delta))), 0)
    _check((count,))
    return (start + np.arange(count) * delta).astype(start.dtype)


def _expand(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(int(s) for s in arrays[1]))
    _check(shape)
    return np.ascontiguousarray(np.broadcast_to(arrays[0], shape))


def _tile(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    repeats = [int(r) for r in arrays[1]]
    _check(tuple(size * r for size, r in zip(arrays[0].shape, repeats, strict=True)))
    return np.tile(arrays[0], repeats)


def _gather(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
    axis = node.axis(node.integer("axis", 0))
    size = arrays[0].shape[axis]
    if arrays[1].size and not -size <= arrays[1].min() <= arrays[1].max() < size:
        raise GraphError(f"its indices leave an axis of size {size}")
    return np.take(arrays[0], arrays[1], axis=axis)


def _reducer(function: Callable[..., np.ndarray]) -> Folder:
    def reduce(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
        axes = node.integers("axes")
        if len(arrays) > 1:
            axes = tuple(int(axis) for axis in arrays[1])
        keep, nothing = bool(node.integer("keepdims", 1)), node.integer("noop_with_empty_axes", 0)
        if not axes and nothing:
            return arrays[0]
        return np.asarray(function(arrays[0], axis=axes or None, keepdims=keep)).astype(
            arrays[0].dtype
        )

    return reduce


def _chain(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Folder:
    def apply(node: NodeReader, arrays: list[np.ndarray]) -> np.ndarray:
        result = arrays[0]
        for array in arrays[1:]:
            result = function(result, array)
        return result

    return apply


def _plain(function: Callable[..., np.ndarray]) -> Folder:
    return lambda node, arrays: function(*arrays)


def _shape(array: np.ndarray) -> tuple[int, ...]:
    shape = tuple(int(size) for size in array.reshape(-1))
    _check(shape)
    return shape


def _check(shape: tuple[int, ...]) -> None:
    """Refuse constants that would fill the memory; empty ones are part of shape idioms."""
    if any(size < 0 for size in shape) or math.prod(shape) > MOST_FOLDED:
        raise GraphError(f"a constant has shape {shape}, expected at most {MOST_FOLDED} values")


FOLDERS: dict[str, Folder] = {
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Cast": _cast,
    "Ceil": _plain(np.ceil),
    "ConstantOfShape": _constant_of_shape,
    "Div": _divide,
    "Equal": _plain(np.equal),
    "Expand": _expand,
    "Floor": _plain(np.floor),
    "Gather": _gather,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Max": _chain(np.maximum),
    "Min": _chain(np.minimum),
    "Mod": _modulo,
    "Mul": _plain(np.multiply),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Pow": lambda node, arrays: np.power(*arrays).astype(arrays[0].dtype),
    "Range": _range,
    "ReduceMax": _reducer(np.max),
    "ReduceMin": _reducer(np.min),
    "ReduceProd": _reducer(np.prod),
    "ReduceSum": _reducer(np.sum),
    "Sub": _plain(np.subtract),
    "Sum": _chain(np.add),
    "Tile": _tile,
    "Where": _plain(np.where),
}

#: Operators that are read on constants only.
ONLY_CONSTANT = (
    "And",
    "Ceil",
    "ConstantOfShape",
    "Equal",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Mod",
    "Not",
    "Or",
    "Range",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Tile",
    "Where",
)
