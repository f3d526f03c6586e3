"""Recipe: Max and Min with a constant as Clip, and Clips that follow each other as one."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import Clip, Max, Min, ReLU
from aidge_quant.recipes.parameters import float_constant


def constant_bounds(network: GraphView) -> None:
    """Replace, in place, Max and Min with one number by Clip, join Clips, and name ReLU as such."""
    for node in network.topological():
        if isinstance(node.operator, Max | Min):
            _to_clip(network, node)
        if isinstance(node.operator, Clip):
            inner = node.input(0).node
            joined = _joined(inner.operator, node.operator)
            if joined is not None and network.sole_consumer(inner) is node:
                node.operator = joined
                network.bypass(inner)
    for node in network.nodes:
        operator = node.operator
        if isinstance(operator, Clip) and operator.lower == 0 and np.all(operator.upper == np.inf):
            node.operator = ReLU()


def _to_clip(network: GraphView, node: Node) -> None:
    for slot in (0, 1):
        value = float_constant(node.input(slot))
        if value is None or value.size != 1 or value.ndim > 1:
            continue
        bound = value.item()
        lower, upper = (bound, np.inf) if isinstance(node.operator, Max) else (-np.inf, bound)
        node.operator = Clip(lower, upper)
        network.set_inputs(node, (node.input(1 - slot),))
        return


def _joined(first: object, second: Clip) -> Clip | None:
    """Return the Clip that does what ``first`` and then ``second`` do, both with one bound."""
    if not isinstance(first, Clip):
        return None
    upper, last = first.upper, second.upper
    if isinstance(upper, np.ndarray) or isinstance(last, np.ndarray):
        return None
    lower, upper = (min(max(bound, second.lower), last) for bound in (first.lower, upper))
    return Clip(lower, upper)
