"""Recipe: remove nodes that change nothing."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import (
    Clip,
    Flatten,
    Identity,
    Pad,
    Reshape,
    Slice,
    Squeeze,
    Transpose,
    Unsqueeze,
)
from aidge_quant.recipes.parameters import Shapes, tensor_shapes


def remove_identities(network: GraphView) -> None:
    """Remove, in place, Identity and Dropout, and moves and bounds that change nothing."""
    shapes = tensor_shapes(network)
    for node in network.topological():
        if _changes_nothing(node, shapes):
            network.bypass(node)


def _changes_nothing(node: Node, shapes: Shapes) -> bool:
    operator = node.operator
    if isinstance(operator, Identity):
        return True
    if isinstance(operator, Clip):
        return bool(operator.lower == -np.inf and operator.upper == np.inf)
    if isinstance(operator, Pad):
        return not any(operator.before) and not any(operator.after)
    if isinstance(operator, Transpose):
        return operator.permutation == tuple(range(len(operator.permutation)))
    port = node.inputs[0] if node.inputs else None
    same = port is not None and shapes[node][0] == shapes[port.node][port.index]
    if isinstance(operator, Slice):
        return same and all(step > 0 for step in operator.steps)
    return same and isinstance(operator, Flatten | Reshape | Squeeze | Unsqueeze)
