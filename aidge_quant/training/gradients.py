"""Gradients of a loss with respect to the parameters of a graph, by reverse accumulation."""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from aidge_quant.errors import AidgeQuantError, DataError, GraphError
from aidge_quant.executor import Arrays, graph_feeds
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import LSQ, BatchNorm, Conv, Input, Producer
from aidge_quant.ops.learned_quantization import initial_step
from aidge_quant.training.parameters import Parameter, set_value

#: From outputs by name: the loss, and its gradient with respect to each output that has one.
Loss = Callable[[Mapping[str, np.ndarray]], tuple[float, Mapping[str, np.ndarray]]]

#: How much of a BatchNorm's stored statistics one batch replaces.
MOMENTUM = 0.1

Values = dict[Node, tuple[np.ndarray, ...]]


def initialize(graph: GraphView, x: Arrays, *, least_error: bool = False) -> None:
    """Set, in place, every LSQ step that is 0 from what the quantizer sees of a batch.

    Parameters
    ----------
    graph : GraphView
    x : array (batch, *shape), or a mapping of them by input name
        As the float network is fed. ``fit`` does it with its first batch.
    least_error : bool
        Set steps to ``LSQ.least_error_step`` and not to ``initial_step``.

    Raises
    ------
    DataError
        If a value is NaN or infinite.
    GraphError
        If a quantizer sees nothing but zeros.
    """
    feeds = calibration_feeds(graph, x)
    if any(_lacks_step(node) for node in graph.nodes):
        forward(graph, feeds, train=False, first=True, least_error=least_error)


def calibration_feeds(graph: GraphView, x: Arrays) -> dict[str, np.ndarray]:
    """Return samples by input name, as the graph takes them.

    Raises
    ------
    DataError
        If a value is NaN or infinite: no step or bound follows from it.
    """
    feeds = graph_feeds(graph, x)
    for name, array in feeds.items():
        wrong = ~np.isfinite(array)
        if wrong.any():
            raise DataError(
                f"input {name}: {int(wrong.sum())} values of the calibration are NaN or infinite, "
                "expected finite ones; leave these samples out"
            )
    return dict(feeds)


def loss_and_gradients(
    graph: GraphView,
    feeds: Mapping[str, np.ndarray],
    loss: Loss,
    trained: Iterable[Parameter],
    *,
    batch_statistics: bool = True,
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the loss of a batch, its gradient for each parameter by name, and the outputs.

    The graph stays as it is but for the steps that are not set yet and, with ``batch_statistics``,
    the stored statistics of BatchNorm.

    Parameters
    ----------
    feeds : mapping of array by input name
    loss : callable
    trained : iterable of Parameter
    batch_statistics : bool
        Normalize with the statistics of the batch, and move the stored ones a tenth of the way.

    Raises
    ------
    UnsupportedError
        If an operator between a parameter and the loss has no backward; the message names it.
    """
    nodes, values, batches = forward(graph, feeds, train=batch_statistics, first=True)
    outputs = {o.name: values[o.port.node][o.port.index] for o in graph.outputs}
    total, of_outputs = loss(outputs)
    gradients: dict[Port, np.ndarray] = {}
    for output in graph.outputs:
        if output.name in of_outputs:
            _add(gradients, output.port, of_outputs[output.name])
    wanted = {parameter.node: parameter.name for parameter in trained}
    reached: set[Node] = set()  # what a parameter can change
    for node in nodes:
        if node in wanted or any(p is not None and p.node in reached for p in node.inputs):
            reached.add(node)
    for node in reversed(nodes):
        if node in wanted or node not in reached:
            continue
        gradient = gradients.pop(Port(node), None)
        if gradient is None:
            values.pop(node)
            continue
        inputs = tuple(None if p is None else values[p.node][p.index] for p in node.inputs)
        try:
            if node in batches:
                parts = node.operator.batch_backward(gradient, inputs[:3], *batches[node])
            elif isinstance(node.operator, Conv) and node.input(0).node not in reached:
                parts = node.operator.backward(gradient, inputs, values[node], data=False)
            else:
                parts = node.operator.backward(gradient, inputs, values[node])
        except AidgeQuantError as error:
            raise type(error)(f"{node.name}: {error}") from error
        for port, part in zip(node.inputs, parts, strict=True):
            if port is not None and part is not None and port.node in reached:
                if port.index:
                    raise GraphError(f"{node.name} reads output {port.index} of {port.node.name}")
                _add(gradients, port, part)
        values.pop(node)
    found = {}
    for node, name in wanted.items():
        known = gradients.get(Port(node))
        found[name] = np.zeros_like(node.operator.value) if known is None else known
    return total, found, outputs


def forward(
    graph: GraphView,
    feeds: Mapping[str, np.ndarray],
    *,
    train: bool,
    first: bool,
    least_error: bool = False,
) -> tuple[list[Node], Values, dict[Node, tuple[np.ndarray, np.ndarray]]]:
    """Run a batch and keep all values.

    Parameters
    ----------
    train : bool
        BatchNorm takes the statistics of the batch, and its stored ones move towards them.
    first : bool
        Set the LSQ steps that are 0.
    least_error : bool
        To those with the least error, as ``initialize`` has it.

    Returns
    -------
    nodes : list of Node, in topological order
    values : dict of the outputs of every node
    batches : dict of mean and variance of the batch, for every BatchNorm that took them
    """
    nodes, values = graph.topological(), Values()
    batches: dict[Node, tuple[np.ndarray, np.ndarray]] = {}
    for node in nodes:
        operator = node.operator
        if isinstance(operator, Input):
            values[node] = (feeds[node.name],)
            continue
        arrays = [None if p is None else values[p.node][p.index] for p in node.inputs]
        if first and _lacks_step(node):
            source, data = node.input(1).node, arrays[0]
            assert data is not None
            _set_step(operator, source, data, least_error)
            values[source] = (source.operator.value,)
            arrays[1] = source.operator.value
        try:
            if train and isinstance(operator, BatchNorm) and not _is_frozen(node):
                result, mean, variance = operator.batch_forward(*arrays[:3])
                batches[node] = (mean, variance)
                _follow(node, mean, variance, result.size // mean.size)
            else:
                result = operator.forward(*arrays)
        except AidgeQuantError as error:
            raise type(error)(f"{node.name} ({node.type}): {error}") from error
        values[node] = result if isinstance(result, tuple) else (result,)
    return nodes, values, batches


def _is_frozen(node: Node) -> bool:
    """Whether the statistics of a BatchNorm are constants that no training may change."""
    return bool(getattr(node.input(3).node.operator, "constant", False))


def _lacks_step(node: Node) -> bool:
    """Whether the node is an LSQ whose step is a producer that is 0."""
    if not isinstance(node.operator, LSQ):
        return False
    source = node.input(1).node.operator
    return isinstance(source, Producer) and not source.value.any()


def _set_step(operator: LSQ, source: Node, data: np.ndarray, least_error: bool) -> None:
    value = initial_step(data, operator.range[1])
    if not math.isfinite(value):
        raise DataError(
            f"{source.name}: its quantizer sees values that are NaN or infinite, or too large for "
            f"{data.dtype}; look at the data and at the values of the network"
        )
    if value == 0:
        raise GraphError(
            f"{source.name}: its quantizer sees nothing but zeros, so no step follows from them; "
            "feed real data, or set the step"
        )
    if least_error:
        value = operator.least_error_step(data)
    array = np.full_like(source.operator.value, value)
    set_value(source, array)


def _follow(node: Node, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
    """Move the stored statistics; the stored variance is the unbiased one."""
    unbiased = variance * (count / max(count - 1, 1))
    for slot, value in ((3, mean), (4, unbiased)):
        source = node.input(slot).node
        stored = source.operator.value
        moved = (1 - MOMENTUM) * stored + MOMENTUM * value
        set_value(source, moved.astype(stored.dtype))


def _add(gradients: dict[Port, np.ndarray], port: Port, part: np.ndarray) -> None:
    known = gradients.get(port)
    gradients[port] = part if known is None else known + part
