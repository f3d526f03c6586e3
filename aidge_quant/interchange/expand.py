"""expand_qop: operators on quantized tensors as float operators between DequantizeLinear and Q."""

from collections.abc import Iterable

import numpy as np

from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import infer_types
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.interchange.importing.constants import Constants
from aidge_quant.interchange.importing.records import rename_records
from aidge_quant.ops import (
    DequantizeLinear,
    Gemm,
    Operator,
    QuantizedOperator,
    QuantizeLinear,
    producer,
    registered,
)

#: Operators that `expand_qop` knows.
EXPANDED: tuple[str, ...] = tuple(
    name for name, cls in registered().items() if issubclass(cls, QuantizedOperator)
)


def expand_qop(graph: GraphView, selected: Iterable[str] = ()) -> None:
    """Replace, in place, operators on quantized tensors by their QDQ form.

    A DequantizeLinear for every operand, the float operator under the name of the node, and a
    QuantizeLinear called ``NAME_QuantizeLinear`` behind it.

    Parameters
    ----------
    graph : GraphView
    selected : iterable of str
        Operators to expand (``"QLinearConv"``); all of them if empty.

    Raises
    ------
    UnsupportedError
        If a name is no such operator, or the scale of a bias cannot be computed.
    """
    names = set(selected) or set(EXPANDED)
    unknown = sorted(names - set(EXPANDED))
    if unknown:
        raise UnsupportedError(
            f"operators {unknown} cannot be expanded, expected some of {', '.join(EXPANDED)}"
        )
    copy = graph.clone()
    expansion = _Expansion(copy)
    for node in copy.topological():
        if isinstance(node.operator, QuantizedOperator) and node.type in names:
            expansion.expand(node)
    copy.remove_dead_nodes()
    rename_records(copy, expansion.renamed)
    graph.become(copy)


class _Expansion:
    """One expansion: the element types, and the DequantizeLinear nodes made so far."""

    def __init__(self, graph: GraphView) -> None:
        self.graph = graph
        self.constants = Constants(graph)
        self.types = infer_types(graph)
        self.dequantizers: dict[tuple[object, ...], Node] = {}
        self.renamed: dict[str, str] = {}

    def expand(self, node: Node) -> None:
        operator: QuantizedOperator = node.operator
        inputs = node.inputs
        operands = operator.operands_of(len(inputs))
        reals: list[Port | Node] = []
        for number, operand in enumerate(operands):
            zero_point = _optional(inputs, operand.zero_point)
            data, scale = node.input(operand.data), node.input(operand.scale)
            axis = 1 if operand.axis is None else operand.axis
            name = f"{node.name}_DequantizeLinear_{number}"
            reals.append(self._dequantized(data, scale, zero_point, axis, name))
        bias = None if operator.bias is None else _optional(inputs, operator.bias)
        if bias is not None:
            added = self.graph.add(
                producer(self._bias_scale(node, operator)),
                (),
                self.graph.unique_name(f"{node.name}_bias_scale"),
            )
            name = f"{node.name}_DequantizeLinear_bias"
            reals.append(self._dequantized(bias, Port(added), None, -1, name))
        result_scale, result_zero = (_optional(inputs, slot) for slot in operator.result)
        (consumers_type,) = self.types[node]
        node.operator = operator.float_operator()
        self.graph.set_inputs(node, reals)
        if result_scale is None:
            return
        element = None if result_zero is not None and consumers_type.bits >= 8 else consumers_type
        extra = (result_scale,) if result_zero is None else (result_scale, result_zero)
        name = self.graph.unique_name(f"{node.name}_QuantizeLinear")
        self.graph.insert_after(node, QuantizeLinear(element_type=element), name, extra)
        self.renamed[node.name] = name

    def _dequantized(
        self, data: Port, scale: Port, zero_point: Port | None, axis: int, name: str
    ) -> Node:
        """Return the DequantizeLinear of a tensor, one for all that read it alike."""
        values = self.constants_of(scale)
        operator = DequantizeLinear(axis if values is not None and values.size > 1 else 1)
        key = (data, scale, zero_point, operator.axis)
        if key not in self.dequantizers:
            inputs = (data, scale) if zero_point is None else (data, scale, zero_point)
            added = self.graph.add(operator, inputs, self.graph.unique_name(name))
            self.dequantizers[key] = added
        return self.dequantizers[key]

    def constants_of(self, port: Port) -> np.ndarray | None:
        """Return a constant of the graph, those added meanwhile too."""
        value = getattr(port.node.operator, "value", None)
        return value if isinstance(value, np.ndarray) else self.constants.of(port)

    def _bias_scale(self, node: Node, operator: QuantizedOperator) -> np.ndarray:
        """Return the float32 scale of a bias: that of the accumulator."""
        scales = []
        for operand in operator.operands_of(len(node.inputs)):
            scale = self.constants_of(node.input(operand.scale))
            if scale is None:
                raise UnsupportedError(
                    f"{node.name} ({node.type}): scale {node.input(operand.scale).node.name} is "
                    "computed, expected a constant; quantize the model statically"
                )
            scales.append(scale.astype(np.float32).reshape(() if scale.size == 1 else (-1,)))
        product = scales[0] * scales[1]
        float_operator: Operator = operator.float_operator()
        if isinstance(float_operator, Gemm):
            product = product * np.float32(float_operator.alpha)
        return np.asarray(product, np.float32)


def _optional(inputs: tuple[Port | None, ...], slot: int) -> Port | None:
    return inputs[slot] if slot < len(inputs) else None
