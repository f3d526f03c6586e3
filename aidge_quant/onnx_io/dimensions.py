"""Shapes as a model declares them: the batch is a symbol where the graph leaves it free."""

from aidge_quant.errors import AidgeQuantError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import GraphView, Node

#: Name of the free size of axis 0.
BATCH = "batch"

#: A size, the name of one, or None where it depends on the batch in another way.
Dims = tuple[int | str | None, ...]

#: Sizes of the batch that show how a shape depends on it: none of them is a usual size.
_TRIALS = (2, 97, 211)


def declared_shapes(graph: GraphView) -> dict[Node, tuple[Dims, ...]]:
    """Return the output shapes of every node.

    A graph whose shapes hold for the declared batch only keeps that one.

    Raises
    ------
    ShapeError
        If a node's inputs do not fit it.
    """
    declared = infer_shapes(graph)
    try:
        trials = [infer_shapes(graph, batch=size) for size in _TRIALS]
    except AidgeQuantError:
        return {node: tuple(shapes) for node, shapes in declared.items()}
    return {
        node: tuple(
            tuple(_size(sizes) for sizes in zip(*shapes, strict=True))
            for shapes in zip(*(trial[node] for trial in trials), strict=True)
        )
        for node in declared
    }


def _size(sizes: tuple[int, ...]) -> int | str | None:
    if sizes == _TRIALS:
        return BATCH
    return sizes[0] if len(set(sizes)) == 1 else None
