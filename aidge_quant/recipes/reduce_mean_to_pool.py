"""Recipe: a mean over all spatial axes as a global pool."""

from aidge_quant.graph import GraphView
from aidge_quant.ops import Flatten, GlobalAveragePool, ReduceMean
from aidge_quant.recipes.parameters import tensor_shapes


def reduce_mean_to_pool(network: GraphView) -> None:
    """Replace, in place, ReduceMean over all spatial axes by GlobalAveragePool and Flatten."""
    shapes = tensor_shapes(network)
    for node in network.topological():
        operator = node.operator
        if not isinstance(operator, ReduceMean):
            continue
        port = node.input(0)
        rank = len(shapes[port.node][port.index])
        if rank in (3, 4, 5) and sorted(operator.axes) == list(range(2, rank)):
            node.operator = GlobalAveragePool()
            if not operator.keep_axes:
                name = network.unique_name(f"{node.name}_Flatten")
                added = network.insert_after(node, Flatten(1), name)
                added.annotations.update(node.annotations)
