"""Recipe: leave a final Softmax to whoever reads the output."""

import logging

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import ArgMax, Softmax

logger = logging.getLogger("aidge_quant")


def remove_trailing_softmax(network: GraphView) -> None:
    """Remove, in place and with a notice, every Softmax that only outputs or an ArgMax read.

    The largest value stays where it is; the outputs become the logits.
    """
    for node in network.topological():
        if isinstance(node.operator, Softmax) and is_trailing(network, node):
            logger.info("%s: the final Softmax is removed, the output holds logits", node.name)
            network.bypass(node)


def is_trailing(network: GraphView, node: Node) -> bool:
    """Whether nothing but outputs of the graph and ArgMax along the same axis read the node."""
    readers = network.consumers(node)
    axis = node.operator.axis
    return all(isinstance(n.operator, ArgMax) and n.operator.axis == axis for n in readers)
