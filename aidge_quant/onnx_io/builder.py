"""The graph under construction: what is known of each ONNX tensor, and the nodes made so far."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, GraphError, ShapeError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.graph.names import free_name
from aidge_quant.onnx_io.tensors import dtype_of
from aidge_quant.ops import Operator, Producer
from aidge_quant.ops.base import Shape

#: No tensor of a network for a microcontroller has as many values.
MOST_VALUES = 2**31 - 1


@dataclass(eq=False)
class Value:
    """What is known of one ONNX tensor.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Batch first, 1 where the model leaves the batch open.
    element_type : dtype
    array : array or None
        The values, where they are constant.
    port : Port or None
        Where the tensor comes from; made on demand for constants.
    known : array or None
        The values of a quantized constant, which keeps the nodes that it is computed by.
    """

    name: str
    shape: Shape
    element_type: dtype
    array: np.ndarray | None = None
    port: Port | None = None
    known: np.ndarray | None = None
    derived: dict[tuple, "Value"] = field(default_factory=dict)


def constant_value(name: str, array: np.ndarray, element_type: dtype | None = None) -> Value:
    """Return a Value that holds a constant."""
    return Value(name, array.shape, element_type or dtype_of(array), array)


class Builder:
    """Adds nodes to a graph, folding those whose inputs are all constant.

    Parameters
    ----------
    graph : GraphView
    reserved : iterable of str
        Names of inputs and nodes still to come; parameters and helper nodes stay clear of them.
    """

    def __init__(self, graph: GraphView, reserved: Iterable[str]) -> None:
        self.graph = graph
        self._reserved = set(reserved)

    def free_name(self, base: str) -> str:
        """Return ``base`` or, where a node has or will have this name, ``base_1``, ``base_2``..."""
        name = free_name(base, self._reserved)
        self._reserved.add(name)
        return name

    def add(self, operator: Operator, inputs: list[Value | None], name: str) -> list[Value]:
        """Add a node and return its outputs; constants instead, where all inputs are constant.

        A node that says how a constant is quantized stays.

        Parameters
        ----------
        name : str
            Name of the node; the caller has made sure that it is unique.

        Raises
        ------
        ShapeError, GraphError
            If the inputs do not fit the operator.
        """
        shapes = operator.infer_shapes(*(None if v is None else v.shape for v in inputs))
        types = operator.infer_dtype(*(None if v is None else v.element_type for v in inputs))
        given = [value for value in inputs if value is not None]
        if operator.foldable and given and all(value.array is not None for value in given):
            arrays = [None if v is None else v.array for v in inputs]
            result = operator.forward(*arrays)
            results = result if isinstance(result, tuple) else (result,)
            return [constant_value(name, np.asarray(array)) for array in results]
        for shape in shapes:
            check_size(shape)
        ports = [None if value is None else self.port(value) for value in inputs]
        node = self.graph.add(operator, ports, name)
        values = [
            Value(name, shape, element, port=Port(node, index))
            for index, (shape, element) in enumerate(zip(shapes, types, strict=True))
        ]
        known = [None if v is None else v.known if v.array is None else v.array for v in inputs]
        if not operator.foldable and all(
            array is not None for array, value in zip(known, inputs, strict=True) if value
        ):
            result = operator.forward(*known)
            results = result if isinstance(result, tuple) else (result,)
            for value, array in zip(values, results, strict=True):
                value.known = np.asarray(array)
        return values

    def port(self, value: Value) -> Port:
        """Return where ``value`` comes from, adding a Producer for a constant used first."""
        if value.port is None:
            assert value.array is not None
            value.port = Port(self._producer(value, value.array))
        return value.port

    def parameter(self, source: Value, array: np.ndarray, *key: object) -> Value:
        """Return a constant made from ``source``, the same one each time for the same ``key``."""
        if key not in source.derived:
            source.derived[key] = constant_value(source.name, array)
        return source.derived[key]

    def _producer(self, value: Value, array: np.ndarray) -> Node:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = int(array.size - np.isfinite(array).sum())
            raise DataError(
                f"constant {value.name!r} has {count} values of {array.size} that are NaN or "
                "infinite, expected finite numbers; train or export the network again"
            )
        name = self.free_name(value.name)
        return self.graph.add(Producer(array, value.element_type), (), name)


def check_size(shape: Shape) -> None:
    """Raise a ShapeError if a tensor of this shape is empty or beyond every memory."""
    if any(size < 1 for size in shape):
        raise ShapeError(f"a tensor has shape {shape}, expected sizes of at least 1")
    if math.prod(shape) > MOST_VALUES:
        raise ShapeError(f"a tensor has shape {shape}, expected at most {MOST_VALUES} values")


def only(values: list[Value]) -> Value:
    """Return the single element of ``values``."""
    if len(values) != 1:
        raise GraphError(f"a node has {len(values)} outputs, expected 1")
    return values[0]
