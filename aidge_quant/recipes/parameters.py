"""Parameters of nodes: read the constant behind a port, write a new value."""

import numpy as np

from aidge_quant.errors import AidgeQuantError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import Producer, producer

Shapes = dict[Node, tuple[tuple[int, ...], ...]]


def constant(port: Port | None) -> np.ndarray | None:
    """Return the value behind ``port`` if it is a producer, else None."""
    if port is None or not isinstance(port.node.operator, Producer):
        return None
    return port.node.operator.value


def float_constant(port: Port | None) -> np.ndarray | None:
    """Return the value behind ``port`` as float64 if it is a producer of floats, else None."""
    value = constant(port)
    return value.astype(np.float64) if value is not None and value.dtype.kind == "f" else None


def set_parameter(network: GraphView, node: Node, slot: int, value: np.ndarray, name: str) -> None:
    """Let input ``slot`` of ``node`` be ``value`` in float32, in place.

    A producer that only this node reads keeps its name and annotations; otherwise a new one called
    ``name`` is added, with the annotations of the one it stands for.
    """
    operator = producer(np.ascontiguousarray(value, np.float32))
    old = node.input(slot).node if node.has_input(slot) else None
    if old is not None and len(network.uses(old)) == 1 and not network.is_output(old):
        old.operator = operator
        return
    added = network.add(operator, (), network.unique_name(name))
    if old is not None:
        added.annotations.update(old.annotations)
    network.set_input(node, slot, added)


def tensor_shapes(network: GraphView) -> Shapes:
    """Return the output shapes of every node, batch first.

    Raises
    ------
    ShapeError, GraphError
        If a node's inputs do not fit it; the message names the node.
    """
    shapes: Shapes = {}
    for node in network.topological():
        incoming = [None if p is None else shapes[p.node][p.index] for p in node.inputs]
        try:
            shapes[node] = node.operator.infer_shapes(*incoming)
        except AidgeQuantError as error:
            raise type(error)(f"{node.name} ({node.type}): {error}") from error
    return shapes
