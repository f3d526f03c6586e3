"""Run a graph on arrays: float before quantization, integers after it."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import AidgeQuantError, DataError, DtypeError, GraphError, ShapeError
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
        How many samples are computed at a time; it bounds the memory. A graph that computes across
        the batch is run in one piece.

    Returns
    -------
    array (batch, *shape), or a dictionary by output name when there are several

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an input is missing, unknown, empty, or of the wrong shape or type.
    """
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}, expected at least 1")
    feeds = graph_feeds(graph, x)
    count = next(iter(feeds.values())).shape[0]
    if count <= batch_size or not _is_batchwise(graph):
        results = evaluate(graph, feeds)
        return results if len(results) > 1 else next(iter(results.values()))
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
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"input {node.name} has type {array.dtype}, expected numbers")
    target = operator.element_type.numpy
    if array.dtype == target:
        return array
    with np.errstate(invalid="ignore"):
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
        if node.name not in feeds:
            raise ShapeError(f"input {node.name} is missing, got {sorted(feeds)}")
        return (feeds[node.name],)
    if isinstance(node.operator, Producer):
        return (node.operator.value,)
    arrays = [None if port is None else _value(values, port) for port in node.inputs]
    try:
        result = node.operator.forward(*arrays)
    except AidgeQuantError as error:
        raise type(error)(f"{node.name} ({node.type}): {error}") from error
    except (ValueError, IndexError, TypeError) as error:
        shapes = [None if a is None else a.shape for a in arrays]
        raise GraphError(f"{node.name} ({node.type}) cannot run on {shapes}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def _value(values: Mapping[Node, tuple[np.ndarray, ...]], port: Port) -> np.ndarray:
    return values[port.node][port.index]


def infer_shapes(
    graph: GraphView, *, batch: int | None = None
) -> dict[Node, tuple[tuple[int, ...], ...]]:
    """Return the output shapes of every node, batch first, from the shapes of the inputs.

    Parameters
    ----------
    batch : int, optional
        Size of axis 0 of the inputs, by default the one they declare.

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
        if batch is not None and isinstance(node.operator, Input):
            shapes[node] = ((batch, *node.operator.shape[1:]),)
    return shapes


def infer_types(graph: GraphView) -> dict[Node, tuple[dtype, ...]]:
    """Return the element types of the outputs of every node.

    Raises
    ------
    GraphError
        If an input is missing; the message names the node.
    """
    types: dict[Node, tuple[dtype, ...]] = {}
    for node in graph.topological():
        incoming = [None if p is None else types[p.node][p.index] for p in node.inputs]
        try:
            types[node] = node.operator.infer_dtype(*incoming)
        except AidgeQuantError as error:
            raise type(error)(f"{node.name} ({node.type}): {error}") from error
    return types


def _is_batchwise(graph: GraphView) -> bool:
    """Whether every sample is computed by itself, so that a batch may be divided."""
    try:
        shapes = infer_shapes(graph, batch=2)
        more = infer_shapes(graph, batch=3)
    except ShapeError:  # shapes that hold for one size of the batch only
        return False
    for node, outputs in shapes.items():
        if not node.inputs or all(a == b for a, b in zip(outputs, more[node], strict=True)):
            continue
        operator, source = node.operator, node.input(0)
        axes = getattr(operator, "axes", (getattr(operator, "axis", 1),))
        rank = len(shapes[source.node][source.index])
        if any(axis % max(rank, 1) == 0 and abs(axis) <= rank for axis in axes if axis != rank):
            return False
        if getattr(operator, "permutation", (0,))[0] != 0:
            return False
    ends = [
        (shapes[o.port.node][o.port.index], more[o.port.node][o.port.index]) for o in graph.outputs
    ]
    return all(a[:1] == (2,) and b[:1] == (3,) and a[1:] == b[1:] for a, b in ends)
