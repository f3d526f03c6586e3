"""Recipe: means and maxima over spatial axes as pools."""

from aidge_quant.graph import GraphView
from aidge_quant.ops import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    Operator,
    ReduceMax,
    ReduceMean,
    Reshape,
)
from aidge_quant.recipes.parameters import tensor_shapes


def reductions_to_pools(network: GraphView) -> None:
    """Replace, in place, reductions over spatial axes by pools, with a Reshape that drops axes.

    A mean over all spatial axes becomes a GlobalAveragePool, other means an AveragePool, maxima a
    MaxPool over windows of the whole axes.
    """
    shapes = tensor_shapes(network)
    for node in network.topological():
        operator = node.operator
        if not isinstance(operator, ReduceMean | ReduceMax | GlobalMaxPool):
            continue
        port = node.input(0)
        data = shapes[port.node][port.index]
        spatial = tuple(range(2, len(data)))
        axes = spatial if isinstance(operator, GlobalMaxPool) else operator.axes
        if len(data) not in (3, 4) or not axes or not set(axes) <= set(spatial):
            continue
        node.operator = _pool(operator, data, axes)
        if not isinstance(operator, GlobalMaxPool) and not operator.keep_axes:
            name = network.unique_name(f"{node.name}_Reshape")
            added = network.insert_after(node, Reshape((0, *shapes[node][0][1:])), name)
            added.annotations.update(node.annotations)


def _pool(operator: Operator, data: tuple[int, ...], axes: tuple[int, ...]) -> Operator:
    spatial = range(2, len(data))
    if isinstance(operator, ReduceMean) and set(axes) == set(spatial):
        return GlobalAveragePool()
    window = tuple(data[axis] if axis in axes else 1 for axis in spatial)
    ones = (1,) * len(window)
    pool = AveragePool if isinstance(operator, ReduceMean) else MaxPool
    return pool(window, ones, ones, (0,) * (2 * len(window)))
