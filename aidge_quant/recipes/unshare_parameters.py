"""Recipe: give every layer parameters of its own."""

from aidge_quant.graph import GraphView
from aidge_quant.ops import Producer, Trait


def unshare_parameters(network: GraphView) -> None:
    """Copy, in place, the weights and biases that several nodes read, so that each has its own."""
    for node in network.topological():
        if Trait.AFFINE not in node.operator.traits:
            continue
        for slot in (1, 2):
            if not node.has_input(slot):
                continue
            source = node.input(slot).node
            if isinstance(source.operator, Producer) and network.uses(source)[0].node is not node:
                name = network.unique_name(f"{node.name}_{node.operator.role(slot)}")
                added = network.add(source.operator, (), name)
                added.annotations.update(source.annotations)
                network.set_input(node, slot, added)
