"""Recipe: a Split as one Slice for each part."""

import numpy as np

from aidge_quant.graph import GraphView, Port
from aidge_quant.ops import Slice, Split


def split_to_slices(network: GraphView) -> None:
    """Replace, in place, every Split by Slices, so that each node has one output."""
    for node in network.topological():
        operator = node.operator
        if not isinstance(operator, Split):
            continue
        ends = np.cumsum(operator.sizes)
        for index, (end, size) in enumerate(zip(ends, operator.sizes, strict=True)):
            part = Slice((int(end - size),), (int(end),), (operator.axis,), (1,))
            name = network.unique_name(f"{node.name}_{index}")
            added = network.add(part, (node.input(0),), name)
            added.annotations.update(node.annotations)
            network.replace_uses(Port(node, index), added)
        network.remove(node)
