"""What the tests of the single steps share."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import GraphView
from aidge_quant.ptq import (
    auto_assign_node_precision,
    compute_ranges,
    insert_scaling_nodes,
    normalize_activations,
    normalize_parameters,
    prepare_network,
)


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether float32 results agree to 1e-5 of the largest."""
    return bool(np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max())


def annotated(graph: GraphView) -> GraphView:
    """Return the graph, with 8-bit precisions."""
    auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    return graph


def normalized(graph: GraphView, x: np.ndarray, channel_wise: bool = False) -> GraphView:
    """Return the graph after normalize_activations."""
    prepare_network(annotated(graph))
    insert_scaling_nodes(graph, channel_wise)
    normalize_parameters(graph, channel_wise)
    normalize_activations(graph, compute_ranges(graph, x, True))
    return graph
