"""Recipe: one Flatten for the many ways to say it."""

from aidge_quant.graph import GraphView
from aidge_quant.ops import Flatten, Reshape, Squeeze, Unsqueeze
from aidge_quant.recipes.parameters import tensor_shapes

RESHAPES = (Flatten, Reshape, Squeeze, Unsqueeze)


def simplify_reshapes(network: GraphView) -> None:
    """Write, in place, reshapes to (batch, features) as Flatten, and chains of them as the last."""
    shapes = tensor_shapes(network)
    for node in network.topological():
        if not isinstance(node.operator, RESHAPES):
            continue
        before = node.input(0)
        data, result = shapes[before.node][before.index], shapes[node][0]
        while isinstance(before.node.operator, RESHAPES) and len(result) > 1:
            before = before.node.input(0)
        first = shapes[before.node][before.index]
        batch = first[0] == data[0] == result[0] and len(first) > 1
        if before != node.input(0) and batch:
            network.set_input(node, 0, before)
            node.operator = Reshape((0, *result[1:]))
            data = first
        if len(result) == 2 and data[0] == result[0] and len(data) > 1:
            node.operator = Flatten(1)
    network.remove_dead_nodes()
