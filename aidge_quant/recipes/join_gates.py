"""Recipe: a value times a gate of itself as one function."""

import numpy as np

from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import Add, Clip, Div, HardSigmoid, HardSwish, Mul, Operator, Sigmoid, Swish
from aidge_quant.recipes.parameters import float_constant


def join_gates(network: GraphView) -> None:
    """Replace, in place, the ways to spell HardSigmoid, HardSwish and Swish by these functions.

    ``Clip(x + 3, 0, 6) / 6`` is HardSigmoid, ``x * HardSigmoid(x)`` with alpha 1/6 and beta 1/2 is
    HardSwish, so is ``x * Clip(x + 3, 0, 6) / 6``, and ``x * Sigmoid(x)`` is Swish.
    """
    for match in (_hard_sigmoid, _sixth_of_product, _gated):
        for node in network.topological():
            found = match(node)
            if found is not None:
                operator, data = found
                node.operator = operator
                network.set_inputs(node, (data,))
    network.remove_dead_nodes()


Match = tuple[Operator, Port] | None


def _hard_sigmoid(node: Node) -> Match:
    """Match Clip(x + 3, 0, 6) / 6."""
    data = _sixth(node)
    shifted = _shifted_clip(data) if data is not None else None
    return (HardSigmoid(1 / 6, 0.5), shifted) if shifted is not None else None


def _sixth_of_product(node: Node) -> Match:
    """Match (x * Clip(x + 3, 0, 6)) / 6."""
    product = _sixth(node)
    if product is None or not isinstance(product.node.operator, Mul):
        return None
    for slot in (0, 1):
        data = product.node.input(slot)
        if _shifted_clip(product.node.input(1 - slot)) == data:
            return HardSwish(), data
    return None


def _gated(node: Node) -> Match:
    """Match x * HardSigmoid(x) and x * Sigmoid(x)."""
    if not isinstance(node.operator, Mul):
        return None
    for slot in (0, 1):
        gate, data = node.input(slot).node, node.input(1 - slot)
        operator = gate.operator
        if not isinstance(operator, Sigmoid | HardSigmoid) or gate.input(0) != data:
            continue
        if isinstance(operator, Sigmoid):
            return Swish(), data
        if abs(operator.alpha - 1 / 6) < 1e-6 and operator.beta == 0.5:
            return HardSwish(), data
    return None


def _sixth(node: Node) -> Port | None:
    """Return x where the node is x / 6 or x * (1 / 6)."""
    if isinstance(node.operator, Div) and _is_constant(node.input(1), 6):
        return node.input(0)
    if isinstance(node.operator, Mul):
        for slot in (0, 1):
            if _is_constant(node.input(slot), 1 / 6):
                return node.input(1 - slot)
    return None


def _shifted_clip(port: Port) -> Port | None:
    """Return x where the port is Clip(x + 3, 0, 6)."""
    operator = port.node.operator
    if not isinstance(operator, Clip) or (operator.lower, operator.upper) != (0, 6):
        return None
    inner = port.node.input(0).node
    if isinstance(inner.operator, Add):
        for slot in (0, 1):
            if _is_constant(inner.input(slot), 3):
                return inner.input(1 - slot)
    return None


def _is_constant(port: Port, expected: float) -> bool:
    value = float_constant(port)
    return value is not None and value.size == 1 and bool(np.isclose(value.item(), expected))
