"""Activation ranges of a network on a calibration set."""

from collections.abc import Callable

import numpy as np

from aidge_quant.executor import evaluate
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import Clip
from aidge_quant.ptq.calibration import Calibration, calibration_batches
from aidge_quant.ptq.flow import is_activation_quantizer, is_parameter_quantizer, is_plain_producer


def compute_ranges(
    network: GraphView, calibration_set: Calibration, scaling_nodes_only: bool
) -> dict[Node, float]:
    """Return the largest magnitude that each node's output reaches on the calibration set.

    Parameters
    ----------
    network : GraphView
    calibration_set : list of Tensor or array, or one array
        See ``aidge_quant.ptq.calibration``.
    scaling_nodes_only : bool
        Only the scaling nodes of activations; otherwise every node but the producers.

    Returns
    -------
    dict of Node to float
        In topological order. One number a node, also when channels have factors of their own.

    Raises
    ------
    DataError, ShapeError, DtypeError
        If the calibration set is empty, holds NaN, or does not fit the network.

    Notes
    -----
    A scaling node stands before the ReLU, so negative values count. A scaling node that only Clips
    read is capped at the largest of their bounds: what lies beyond is cut off anyway.
    """
    ranges: dict[Node, float] = {}

    def record(node: Node, array: np.ndarray) -> None:
        ranges[node] = max(ranges.get(node, 0.0), float(np.abs(array).max(initial=0.0)))

    observe_nodes(network, calibration_set, record, scaling_nodes_only=scaling_nodes_only)
    return {node: min(found, clip_bound(network, node)) for node, found in ranges.items()}


def observe_nodes(
    network: GraphView,
    calibration_set: Calibration,
    record: Callable[[Node, np.ndarray], None],
    *,
    scaling_nodes_only: bool = True,
) -> None:
    """Run the calibration set and call ``record`` with the nodes and their first outputs."""
    batches = calibration_batches(network, calibration_set)
    order = network.topological()
    if scaling_nodes_only:
        wanted = {node for node in order if is_activation_quantizer(node)}
    else:
        wanted = {n for n in order if not is_plain_producer(n) and not is_parameter_quantizer(n)}

    def observe(node: Node, outputs: tuple[np.ndarray, ...]) -> None:
        if node in wanted:
            record(node, outputs[0])

    for batch in batches:
        evaluate(network, batch, observe=observe, order=order)


def clip_bound(network: GraphView, node: Node) -> float:
    """Return the largest magnitude that the Clips behind a scaling node let pass, or infinity."""
    readers = network.consumers(node)
    clips = [n.operator for n in readers if isinstance(n.operator, Clip)]
    if not is_activation_quantizer(node) or network.is_output(node) or len(clips) < len(readers):
        return np.inf
    return max((float(np.abs([c.lower, np.max(c.upper)]).max()) for c in clips), default=np.inf)
