"""State of one lowering: which tensor stands for which port, and the layers written so far."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.graph.names import free_name
from aidge_quant.integer.layers import Layer, Reshape, Transpose
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops import Input, Operator

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class View:
    """A port's values: a tensor, read under ``shape`` (ONNX axes, no batch) in ONNX order.

    Reshapes cost nothing until somebody needs the values in another stored order.

    Attributes
    ----------
    lower, upper : int
        Bounds of ``stored - zero_point``.
    """

    tensor: IntegerTensor
    shape: Shape
    lower: int
    upper: int


def channels_last(shape: Shape) -> tuple[Shape, tuple[int, ...]]:
    """Return the stored shape and the layout of a tensor with ONNX sizes ``shape`` (no batch).

    (channels, height, width) is stored (height, width, channels), a signal (channels, length) as
    (1, length, channels); anything else keeps its order.
    """
    if len(shape) == 3:
        return (shape[1], shape[2], shape[0]), (1, 2, 0)
    if len(shape) == 2:
        return (1, shape[1], shape[0]), (1, 0)
    return shape, tuple(range(len(shape)))


def onnx_order(shape: Shape) -> tuple[Shape, tuple[int, ...]]:
    """Return ``shape`` itself and the layout that keeps it."""
    return shape, tuple(range(len(shape)))


def stored_order(shape: Shape, layout: tuple[int, ...]) -> np.ndarray:
    """Return, for every stored position, the index of its value in ONNX order."""
    return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape).transpose(layout).ravel()


class Builder:
    """Collects tensors and layers while the rules walk over the graph.

    Parameters
    ----------
    graph : GraphView
    shapes : mapping of Node to the shapes of its outputs, batch first
    rounding : str or None
        Takes the place of the rounding of every quantizer behind an accumulator.
    """

    def __init__(
        self, graph: GraphView, shapes: dict[Node, tuple[Shape, ...]], rounding: str | None = None
    ) -> None:
        self.graph = graph
        self.rounding = rounding
        self.tensors: list[IntegerTensor] = []
        self.layers: list[Layer] = []
        self.fused: set[Node] = set()
        self.inputs: dict[Node, IntegerTensor] = {}
        self._shapes = shapes
        self._views: dict[Port, View] = {}
        self._constants: dict[Node, np.ndarray | None] = {}
        self._names: set[str] = set()

    # -- reading the graph -----------------------------------------------------------------------

    def shape(self, node: Node) -> Shape:
        """Return the ONNX shape of the node's output without the batch."""
        return self._shapes[node][0][1:]

    def constant(self, port: Port) -> np.ndarray:
        """Return the value of a port that depends on producers only; a GraphError otherwise."""
        value = self._constant(port.node)
        if value is None:
            raise GraphError(f"{port.node.name} ({port.node.type}) is not a constant")
        return value

    def is_constant(self, node: Node) -> bool:
        """Whether the node depends on no input of the graph."""
        return self._constant(node) is not None

    def _constant(self, node: Node) -> np.ndarray | None:
        if node not in self._constants:
            operator: Operator = node.operator
            sources = [None if p is None else self._constant(p.node) for p in node.inputs]
            missing = any(
                value is None and port is not None
                for value, port in zip(sources, node.inputs, strict=True)
            )
            if isinstance(operator, Input) or missing or operator.output_count != 1:
                self._constants[node] = None
            else:
                result = operator.forward(*sources)
                assert isinstance(result, np.ndarray)
                self._constants[node] = result
        return self._constants[node]

    # -- values ----------------------------------------------------------------------------------

    def view(self, port: Port) -> View:
        """Return the values of a port that an earlier rule has bound."""
        try:
            return self._views[port]
        except KeyError:
            raise GraphError(
                f"{port.node.name} ({port.node.type}) gives no integers: it is in float, or is "
                "read before its quantizer"
            ) from None

    def bind(self, node: Node, view: View) -> None:
        """Say that ``view`` holds the output of ``node``."""
        self._views[Port(node)] = view

    def tensor(
        self,
        port: Port,
        order: Callable[[Shape], tuple[Shape, tuple[int, ...]]] = channels_last,
    ) -> IntegerTensor:
        """Return the port's values as a tensor stored in the given order, moving them if needed."""
        view = self.view(port)
        stored, layout = order(view.shape)
        found = view.tensor
        if found.onnx_shape == view.shape and found.layout == layout and found.shape == stored:
            return found
        moved = self._moved(view, stored, layout, port.node.name)
        if order is channels_last:
            self._views[port] = View(moved, view.shape, view.lower, view.upper)
        return moved

    def _moved(
        self, view: View, stored: Shape, layout: tuple[int, ...], name: str
    ) -> IntegerTensor:
        now, source = view.tensor, (name,)
        have = stored_order(now.onnx_shape, now.layout)
        want = stored_order(view.shape, layout)
        if not np.array_equal(have, want):
            plain = tuple(range(len(now.onnx_shape)))
            if now.layout != plain:
                now = self.transposed(now, now.onnx_shape, plain, source)
            straight = tuple(range(len(view.shape)))
            if layout != straight:
                now = self.reshaped(now, view.shape, view.shape, straight, source)
                return self.transposed(now, stored, layout, source)
        return self.reshaped(now, stored, view.shape, layout, source)

    def reshaped(
        self,
        tensor: IntegerTensor,
        stored: Shape,
        onnx_shape: Shape,
        layout: tuple[int, ...],
        source: tuple[str, ...],
    ) -> IntegerTensor:
        """Emit a Reshape of ``tensor``, stored order kept, and return its output."""
        out = self.new_tensor(f"{source[0]}_reshaped", stored, onnx_shape, layout, like=tensor)
        self.emit(Reshape(self.layer_name(out.name), (tensor.name,), out.name, source))
        return out

    def transposed(
        self, tensor: IntegerTensor, stored: Shape, layout: tuple[int, ...], source: tuple[str, ...]
    ) -> IntegerTensor:
        """Emit a Transpose between two layouts of one ONNX tensor and return its output."""
        permutation = tuple(tensor.layout.index(axis) for axis in layout)
        shape = tuple(tensor.onnx_shape[axis] for axis in layout)
        flat = tuple(tensor.onnx_shape[axis] for axis in tensor.layout)
        if tensor.shape != flat:  # a signal's height of 1
            tensor = self.reshaped(tensor, flat, tensor.onnx_shape, tensor.layout, source)
        out = self.new_tensor(
            f"{source[0]}_transposed", shape, tensor.onnx_shape, layout, like=tensor
        )
        self.emit(
            Transpose(self.layer_name(out.name), (tensor.name,), out.name, source, permutation)
        )
        if stored != shape:
            return self.reshaped(out, stored, tensor.onnx_shape, layout, source)
        return out

    # -- writing ---------------------------------------------------------------------------------

    def new_tensor(
        self,
        name: str,
        stored: Shape,
        onnx_shape: Shape,
        layout: tuple[int, ...],
        *,
        like: IntegerTensor | None = None,
        element_type: dtype = dtype.int8,
        scale: float | np.ndarray = 1.0,
        zero_point: int = 0,
    ) -> IntegerTensor:
        """Add a tensor under a free name; ``like`` gives type, scale and zero point."""
        if like is not None:
            element_type, scale, zero_point = like.dtype, like.scale, like.zero_point
        free = self._free(name)
        tensor = IntegerTensor(free, stored, element_type, scale, zero_point, onnx_shape, layout)
        self.tensors.append(tensor)
        return tensor

    def output(self, node: Node, **quantization: Any) -> IntegerTensor:
        """Add the tensor that holds the output of ``node``, channels last."""
        shape = self.shape(node)
        return self.new_tensor(node.name, *(_spread(channels_last, shape)), **quantization)

    def emit(self, layer: Layer) -> None:
        """Append a layer."""
        self.layers.append(layer)

    def layer_name(self, base: str) -> str:
        """Return a layer name no other layer has."""
        return free_name(base, {layer.name for layer in self.layers})

    def refuse(self, node: Node, reason: str, remedy: str = "") -> UnsupportedError:
        """Return the error that ``node`` cannot be lowered."""
        ending = f"; {remedy}" if remedy else ""
        return UnsupportedError(f"cannot lower {node.name} ({node.type}): {reason}{ending}")

    def _free(self, base: str) -> str:
        name = free_name(base, self._names)
        self._names.add(name)
        return name


def _spread(order: Callable[[Shape], tuple[Shape, tuple[int, ...]]], shape: Shape) -> Iterable[Any]:
    stored, layout = order(shape)
    return stored, shape, layout
