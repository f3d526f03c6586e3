"""Constants of a QDQ graph: their values, and the integers and scales that stand for them."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, UnsupportedError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.interchange.importing.values import Grid
from aidge_quant.ops import (
    DequantizeLinear,
    Flatten,
    Identity,
    Input,
    Reshape,
    Squeeze,
    Transpose,
    Unsqueeze,
)

#: How far the scale of a bias may be from that of the accumulator, relatively.
BIAS_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """real = scale * steps, the scale one number or a row along an axis.

    Attributes
    ----------
    steps : int64 array
        Integers less their zero points.
    scale : float32 array () or (n,)
    axis : int
    element_type : dtype
        Of the integers with their zero points.
    name : str
        Of the node that holds the integers.
    """

    steps: np.ndarray
    scale: np.ndarray
    axis: int
    element_type: dtype
    name: str

    @property
    def reals(self) -> np.ndarray:
        """The real values in float64."""
        scale = self.scale.astype(np.float64)
        if scale.ndim:
            shape = [1] * self.steps.ndim
            shape[self.axis] = -1
            scale = scale.reshape(shape)
        return np.asarray(self.steps * scale)


class Constants:
    """The values of all nodes that depend on no input of the graph."""

    def __init__(self, graph: GraphView) -> None:
        self._values: dict[Node, np.ndarray | None] = {}
        self._types: dict[Node, dtype] = {}
        for node in graph.topological():
            self._values[node] = self._evaluated(node)

    def _evaluated(self, node: Node) -> np.ndarray | None:
        operator = node.operator
        arrays = [None if p is None else self._values[p.node] for p in node.inputs]
        computed = any(a is None and p for a, p in zip(arrays, node.inputs, strict=True))
        if isinstance(operator, Input) or computed or operator.output_count != 1:
            return None
        types = [None if p is None else self._types[p.node] for p in node.inputs]
        (self._types[node],) = operator.infer_dtype(*types)
        with np.errstate(all="ignore"):
            return np.asarray(operator.forward(*arrays))

    def holds(self, node: Node) -> bool:
        """Whether the node is constant."""
        return self._values[node] is not None

    def of(self, port: Port | None) -> np.ndarray | None:
        """Return the value behind a port, or None where it is computed or missing."""
        return None if port is None else self._values[port.node]

    def grid(self, node: Node) -> Grid:
        """Return scale, zero point and type of a QuantizeLinear or DequantizeLinear.

        Raises
        ------
        UnsupportedError, DataError
            If the scale is computed, no positive number, or differs between channels.
        """
        scale, zero_point = self.scale_of(node), self.zero_points_of(node)
        if scale.size != 1:
            raise UnsupportedError(
                f"{node.name} ({node.type}): it has {scale.size} scales, expected one for a whole "
                "activation; quantize activations per tensor"
            )
        return Grid(float(scale.item()), int(zero_point.item()), self.element_type(node))

    def scale_of(self, node: Node) -> np.ndarray:
        """Return the checked float32 scale of a QuantizeLinear or DequantizeLinear, () or (n,)."""
        scale = self.of(node.input(1))
        if scale is None:
            raise UnsupportedError(
                f"{node.name} ({node.type}): its scale {node.input(1).node.name} is computed, "
                "expected a constant; quantize the model statically, with calibration data"
            )
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise DataError(
                f"{node.name} ({node.type}): its scale {node.input(1).node.name} is "
                f"{scale.reshape(-1)[:4]}, expected finite numbers above 0"
            )
        return scale.astype(np.float32).reshape(() if scale.size == 1 else (-1,))

    def zero_points_of(self, node: Node) -> np.ndarray:
        """Return the zero points in int64, () or (n,)."""
        if not node.has_input(2):
            return np.zeros((), np.int64)
        zero_point = self.of(node.input(2))
        if zero_point is None:
            raise UnsupportedError(
                f"{node.name} ({node.type}): its zero point {node.input(2).node.name} is "
                "computed, expected a constant; quantize the model statically"
            )
        return zero_point.astype(np.int64).reshape(() if zero_point.size == 1 else (-1,))

    def element_type(self, node: Node) -> dtype:
        """Return the integer type of a QuantizeLinear or DequantizeLinear."""
        if isinstance(node.operator, DequantizeLinear):
            data = node.input(0).node
            found = self._types.get(data)
            if found is not None:
                return found
            if node.has_input(2):
                return self._types[node.input(2).node]
            return dtype.uint8
        if node.operator.element_type is not None:
            return node.operator.element_type
        return self._types[node.input(2).node] if node.has_input(2) else dtype.uint8

    def quantized(self, port: Port) -> QuantizedConstant | None:
        """Return the integers behind a port; None where it is computed or not quantized."""
        node = port.node
        if self._values[node] is None:
            return None
        if isinstance(node.operator, DequantizeLinear):
            return self._dequantized(node)
        if isinstance(
            node.operator, Identity | Transpose | Reshape | Flatten | Squeeze | Unsqueeze
        ):
            inner = self.quantized(node.input(0))
            return None if inner is None else _moved(inner, node)
        return None

    def _dequantized(self, node: Node) -> QuantizedConstant:
        scale, zeros = self.scale_of(node), self.zero_points_of(node)
        data = self.of(node.input(0))
        assert data is not None
        axis = node.operator.axis % max(data.ndim, 1)
        if zeros.ndim:
            shape = [1] * data.ndim
            shape[axis] = -1
            zeros = zeros.reshape(shape)
        steps = data.astype(np.int64) - zeros
        name = node.input(0).node.name
        return QuantizedConstant(steps, scale, axis, self._types[node.input(0).node], name)


def off_scale(scale: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return in which channels the scale of a bias is not the unit of its accumulator, bool."""
    scales, units = np.broadcast_arrays(scale.astype(np.float64), unit.astype(np.float64))
    return np.asarray(np.abs(scales - units) > BIAS_TOLERANCE * units)


def _moved(constant: QuantizedConstant, node: Node) -> QuantizedConstant | None:
    """Return the constant behind a node that moves its values; None if scales cannot follow."""
    steps, axis = np.asarray(node.operator.forward(constant.steps)), constant.axis
    if constant.scale.ndim:
        if isinstance(node.operator, Transpose):
            axis = node.operator.permutation.index(axis)
        elif not isinstance(node.operator, Identity):
            return None
    found = (constant.scale, axis, constant.element_type, constant.name)
    return QuantizedConstant(steps, *found)
