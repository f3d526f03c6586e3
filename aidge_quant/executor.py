"""Run a graph on arrays: float before quantization, integers after it."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from aidge_quant.errors import AidgeQuantError, DataError, GraphError, ShapeError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import Input, Producer

Arrays = np.ndarray | Mapping[str, np.ndarray]


def run(graph: GraphView, x: Arrays, *, batch_size: int = 64) -> Arrays:
    """Return the outputs of ``graph`` for a batch of inputs.

    Parameters
    ----------
    graph : GraphView
    x : array (batch, *shape), or a mapping of them by input name
        Converted to the type of the graph's input where that loses nothing.
    batch_size : int
        How many samples are computed at a time; it bounds the memory.

    Returns
    -------
    array (batch, *shape), or a dictionary by output name when there are several

    Raises
    ------
    ShapeError, DataError
        If an input is missing, unknown, empty or of the wrong shape.
    """
    feeds = graph_feeds(graph, x)
    count = next(iter(feeds.values())).shape[0]
    parts: dict[str, list[np.ndarray]] = {output.name: [] for output in graph.outputs}
    for start in range(0, count, batch_size):
        values = {name: array[start : start + batch_size] for name, array in feeds.items()}
        for name, array in evaluate(graph, values).items():
            parts[name].append(array)
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return joined if len(joined) > 1 else next(iter(joined.values()))


def evaluate(
    graph: GraphView,
    feeds: Mapping[str, np.ndarray],
    *,
    observe: Callable[[Node, tuple[np.ndarray, ...]], None] | None = None,
    order: Iterable[Node] | None = None,
) -> dict[str, np.ndarray]:
    """Run one batch and return the outputs by name.

    Parameters
    ----------
    feeds : mapping of array by input name
    observe : callable, optional
        Called with every node and its outputs, in order of execution.
    order : iterable of Node, optional
        The nodes in topological order, where the caller has them already.
    """
    nodes = list(graph.topological() if order is None else order)
    last_use: dict[Node, int] = {}
    for position, node in enumerate(nodes):
        for port in node.inputs:
            if port is not None:
                last_use[port.node] = position
    wanted = {output.port.node for output in graph.outputs}
    values: dict[Node, tuple[np.ndarray, ...]] = {}
    for position, node in enumerate(nodes):
        values[node] = _forward(node, values, feeds)
        if observe is not None:
            observe(node, values[node])
        for port in node.inputs:
            if port is not None and last_use[port.node] == position and port.node not in wanted:
                values.pop(port.node, None)
    return {output.name: _value(values, output.port) for output in graph.outputs}


def graph_feeds(graph: GraphView, x: Arrays) -> dict[str, np.ndarray]:
    """Return the inputs by name, checked against the graph and converted to its types."""
    names = [node.name for node in graph.inputs]
    if not isinstance(x, Mapping):
        if len(names) != 1:
            raise ShapeError(
                f"graph {graph.name} has inputs {names}: pass a dictionary of arrays by name"
            )
        x = {names[0]: x}
    if set(x) != set(names):
        raise ShapeError(f"graph {graph.name} has inputs {names}, got {sorted(x)}")
    feeds = {}
    for node in graph.inputs:
        feeds[node.name] = _checked(node, np.asarray(x[node.name]))
    if len({array.shape[0] for array in feeds.values()}) > 1:
        raise ShapeError(f"inputs of graph {graph.name} have batches of different sizes")
    return feeds


def _checked(node: Node, array: np.ndarray) -> np.ndarray:
    operator: Input = node.operator
    if array.ndim != len(operator.shape) or array.shape[1:] != operator.shape[1:]:
        expected = ("batch", *operator.shape[1:])
        raise ShapeError(f"input {node.name} has shape {array.shape}, expected {expected}")
    if array.shape[0] == 0:
        raise DataError(f"input {node.name} is empty: expected at least one sample")
    target = operator.element_type.numpy
    if array.dtype == target:
        return array
    converted = array.astype(target)
    if target.kind in "iu" and not np.array_equal(converted, array):
        raise DataError(
            f"input {node.name} has type {array.dtype} with values that {target} cannot hold; "
            "quantize it first"
        )
    return converted


def _forward(
    node: Node, values: Mapping[Node, tuple[np.ndarray, ...]], feeds: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    if isinstance(node.operator, Input):
        return (feeds[node.name],)
    if isinstance(node.operator, Producer):
        return (node.operator.value,)
    arrays = [None if port is None else _value(values, port) for port in node.inputs]
    try:
        result = node.operator.forward(*arrays)
    except AidgeQuantError as error:
        raise type(error)(f"{node.name} ({node.type}): {error}") from error
    except (ValueError, IndexError) as error:
        shapes = [None if a is None else a.shape for a in arrays]
        raise GraphError(f"{node.name} ({node.type}) cannot run on {shapes}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def _value(values: Mapping[Node, tuple[np.ndarray, ...]], port: Port) -> np.ndarray:
    return values[port.node][port.index]


def infer_shapes(graph: GraphView) -> dict[Node, tuple[tuple[int, ...], ...]]:
    """Return the output shapes of every node, batch first, from the shapes of the inputs.

    Raises
    ------
    ShapeError
        If a node's inputs do not fit it; the message names the node.
    """
    shapes: dict[Node, tuple[tuple[int, ...], ...]] = {}
    for node in graph.topological():
        incoming = [None if p is None else shapes[p.node][p.index] for p in node.inputs]
        try:
            shapes[node] = node.operator.infer_shapes(*incoming)
        except AidgeQuantError as error:
            raise type(error)(f"{node.name} ({node.type}): {error}") from error
    return shapes
