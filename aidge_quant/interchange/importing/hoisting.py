"""QuantizeLinear before what only moves values: where the integer network quantizes."""

import dataclasses

from aidge_quant.graph import GraphView, Node
from aidge_quant.interchange.importing.constants import Constants
from aidge_quant.ops import (
    Clip,
    Concat,
    DequantizeLinear,
    Pad,
    QuantizeLinear,
    ReLU,
    Trait,
)


class Origin:
    """Annotation of a QuantizeLinear that was copied to the inputs of a Concat."""

    #: (str, int): the QuantizeLinear that it comes from and the input that it stands before.
    KEY = "interchange.origin"


def moves_values(node: Node) -> bool:
    """Whether every output value is an input value or 0, and nothing is compared with a bound."""
    operator = node.operator
    if isinstance(operator, ReLU) or Trait.MERGING in operator.traits:
        return False
    if isinstance(operator, Pad) and operator.value != 0:
        return False
    return Trait.MOVES in operator.traits


def is_bound(node: Node) -> bool:
    """Whether the node is a ReLU or a Clip."""
    return isinstance(node.operator, ReLU | Clip)


def hoist_quantizers(graph: GraphView) -> None:
    """Move, in place, every QuantizeLinear before a Concat and before moves of a computed value.

    Rounding and clipping one value does not depend on where it stands, so that nothing changes.
    Behind a DequantizeLinear the moves stay first: integers can be moved.
    """
    pending = [node for node in graph.topological() if isinstance(node.operator, QuantizeLinear)]
    while pending:
        node = pending.pop()
        before = node.input(0).node
        if not _is_plain(node) or graph.sole_consumer(before) is not node:
            continue
        if isinstance(before.operator, Concat):
            pending += _before_concat(graph, node, before)
        elif moves_values(before) and not _reads_integers(before):
            if isinstance(before.operator, Pad):
                before.operator = dataclasses.replace(before.operator, value=_zero_point(node))
            graph.replace_uses(node, before)
            graph.set_input(node, 0, before.input(0))
            graph.set_input(before, 0, node)
            pending.append(node)


def _zero_point(node: Node) -> float:
    """Return the integer that a QuantizeLinear makes of 0."""
    if not node.has_input(2):
        return 0.0
    return float(node.input(2).node.operator.value.item())


def _is_plain(node: Node) -> bool:
    """Whether the node has one scale: a row of scales belongs to an axis that moves change."""
    ends = [port.node.operator for port in node.inputs[1:] if port is not None]
    return all(getattr(getattr(end, "value", None), "size", 0) == 1 for end in ends)


def _reads_integers(node: Node) -> bool:
    """Whether moves from a DequantizeLinear on lead to the node."""
    while moves_values(node) or is_bound(node):
        node = node.input(0).node
    return isinstance(node.operator, DequantizeLinear)


def _before_concat(graph: GraphView, node: Node, concat: Node) -> list[Node]:
    added = []
    constants = node.inputs[1:]
    for slot, port in enumerate(concat.inputs):
        name = graph.unique_name(f"{node.name}_{slot}")
        copy = graph.add(node.operator, (port, *constants), name)
        copy.annotations[Origin.KEY] = (node.name, slot)
        graph.set_input(concat, slot, copy)
        added.append(copy)
    graph.bypass(node)
    return added


def constant_bounds_on_integers(graph: GraphView, constants: Constants) -> None:
    """Replace, in place, Max and Min of integers with one constant by Clip."""
    for node in graph.topological():
        if node.type not in ("Max", "Min") or constants.holds(node):
            continue
        for slot in (0, 1):
            value = constants.of(node.input(slot))
            if value is not None and value.size == 1 and value.dtype.kind in "iu":
                bound = float(value.item())
                node.operator = Clip(bound) if node.type == "Max" else Clip(upper=bound)
                graph.set_inputs(node, (node.input(1 - slot),))
                break
