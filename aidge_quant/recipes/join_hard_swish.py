"""Recipe: x * HardSigmoid(x) as one function."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import HardSigmoid, HardSwish, Mul


def join_hard_swish(network: GraphView) -> None:
    """Replace, in place, x * HardSigmoid(x) with alpha 1/6 and beta 1/2 by HardSwish."""
    for node in network.topological():
        if not isinstance(node.operator, Mul):
            continue
        for slot in (0, 1):
            gate = node.input(slot).node
            if _is_gate(gate) and gate.input(0) == node.input(1 - slot):
                node.operator = HardSwish()
                network.set_inputs(node, (gate.input(0),))
                break
    network.remove_dead_nodes()


def _is_gate(node: Node) -> bool:
    operator = node.operator
    if not isinstance(operator, HardSigmoid):
        return False
    return bool(np.isclose(operator.alpha, 1 / 6, rtol=1e-5)) and operator.beta == 0.5
