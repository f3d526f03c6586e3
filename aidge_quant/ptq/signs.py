"""Which activations are never negative, so that unsigned integers serve them better."""

from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import Add, Clip, Concat, HardSigmoid, Mul, Pad, Quantizer, ReLU, Sigmoid
from aidge_quant.ptq.flow import activation_quantizers, data_slots, is_passing, merged_groups


def unsigned_quantizers(network: GraphView) -> set[Node]:
    """Return the quantizers that need no negative value; all inputs of a merging node or none."""
    candidates = {
        node
        for node in activation_quantizers(network)
        if feeds_only_rectifiers(network, node) or is_never_negative(node.input(0))
    }
    for group in merged_groups(network):
        if not candidates.issuperset(group):
            candidates.difference_update(group)
    return candidates


def rectifies(node: Node) -> bool:
    """Whether the node lets no negative value pass."""
    operator = node.operator
    return isinstance(operator, ReLU) or (isinstance(operator, Clip) and operator.lower >= 0)


def feeds_only_rectifiers(network: GraphView, node: Node) -> bool:
    """Whether every reader of ``node``, through moves and pools, is a ReLU or a Clip from 0."""
    if network.is_output(node) or not network.uses(node):
        return False
    for consumer in network.consumers(node):
        if rectifies(consumer):
            continue
        if not is_passing(consumer) or not feeds_only_rectifiers(network, consumer):
            return False
    return True


def is_never_negative(port: Port) -> bool:
    """Whether the tensor at ``port`` is never negative, whatever the input of the network."""
    node = port.node
    operator = node.operator
    if rectifies(node) or isinstance(operator, Sigmoid | HardSigmoid):
        return True
    if isinstance(operator, Pad) and operator.value < 0:
        return False
    if is_passing(node) or isinstance(operator, Quantizer | Add | Mul | Concat):
        return all(is_never_negative(node.input(slot)) for slot in data_slots(node))
    return False
