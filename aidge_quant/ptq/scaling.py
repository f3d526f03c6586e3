"""Insert the scaling nodes that the later steps complete to quantizers."""

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import FC, Concat, Dequantizer, Input, Quantizer
from aidge_quant.ptq.flow import (
    data_slots,
    is_activation_quantizer,
    is_affine,
    is_function,
    is_merging,
    is_passing,
    is_plain_producer,
    logger,
    needs_scaling,
)


def insert_scaling_nodes(network: GraphView, channel_wise: bool = False) -> None:
    """Insert, in place, a scaling node behind every node whose output gets a scale of its own.

    Parameters
    ----------
    network : GraphView
        A prepared network (``prepare_network``).
    channel_wise : bool
        Give affine nodes and their parameters one factor per output channel.

    Raises
    ------
    GraphError
        If the network has scaling nodes already, or a parameter is not a producer.

    Notes
    -----
    Names: ``X_Scaling`` behind affine node, Add, Sub, product or function X; ``w_ProducerScaling``
    on parameter w; ``P_Res`` on the input of a merging node that comes straight from a branch: a
    fork or a graph input lies between it and the last scaling node, so that its scale cannot be
    chosen for the merging node alone. A function of real values (Sigmoid, LeakyReLU, ...) gets a
    ``X_Dequantizer`` before it. All factors are 1.
    """
    nodes = network.topological()
    for node in nodes:
        if is_activation_quantizer(node):
            raise GraphError(f"{node.name}: graph {network.name} has scaling nodes already")
    for node in nodes:
        if is_affine(node):
            _require_parameters(node)
    shapes = infer_shapes(network)
    for node in nodes:
        if is_affine(node):
            _scale_parameters(network, node, channel_wise)
        if is_function(node) and not _continues(network, node.input(0).node):
            operator = Dequantizer(1.0)
            name = network.unique_name(f"{node.name}_Dequantizer")
            _inherit(network.insert_before(node, 0, operator, name), node)
        if needs_scaling(node) and not _continues(network, node):
            per_channel = channel_wise and is_affine(node) and _by_channel(node)
            axis = -1 if isinstance(node.operator, FC) and len(shapes[node][0]) != 2 else 1
            scale = np.ones(shapes[node][0][axis]) if per_channel else 1.0
            name = network.unique_name(f"{node.name}_Scaling")
            _mark(network.insert_after(node, Quantizer(scale, axis=axis), name), node)
    for node in nodes:
        if is_merging(node):
            for slot in data_slots(node):
                if _is_residual(network, node, slot):
                    parent = node.input(slot).node
                    name = network.unique_name(f"{parent.name}_Res")
                    added = network.insert_before(node, slot, Quantizer(1.0), name)
                    _mark(added, node)
                    added.annotations[Annotation.IS_RESIDUAL] = True


def _require_parameters(node: Node) -> None:
    for slot in (1, 2):
        if node.has_input(slot) and not is_plain_producer(node.input(slot).node):
            raise GraphError(
                f"{node.name} ({node.type}): input {slot} comes from {node.input(slot).node.name}, "
                "expected a constant parameter; call prepare_network first"
            )


def _by_channel(node: Node) -> bool:
    """Whether one axis of the weight counts the output channels."""
    if node.operator.output_axis == 0 or getattr(node.operator, "groups", 1) == 1:
        return True
    logger.info("%s: grouped and transposed, scaled as a whole tensor", node.name)
    return False


def _scale_parameters(network: GraphView, node: Node, channel_wise: bool) -> None:
    per_channel = channel_wise and _by_channel(node)
    for slot in (1, 2):
        if not node.has_input(slot):
            continue
        axis = node.operator.output_axis if slot == 1 else 0
        parameter = node.input(slot).node
        channels = parameter.operator.value.shape[axis]
        operator = Quantizer(np.ones(channels) if per_channel else 1.0, axis=axis)
        name = network.unique_name(f"{parameter.name}_ProducerScaling")
        added = network.insert_before(node, slot, operator, name)
        _inherit(added, parameter)
        added.annotations[Annotation.IS_PRODUCER_QUANTIZER] = True


def _continues(network: GraphView, node: Node) -> bool:
    """Whether the node is a function that only another function reads: they become one table."""
    reader = network.sole_consumer(node)
    return is_function(node) and reader is not None and is_function(reader)


def _is_residual(network: GraphView, node: Node, slot: int) -> bool:
    """Whether the input cannot be rescaled at the last scaling node before it."""
    inner = node.input(slot).node
    while True:
        if isinstance(inner.operator, Input) or network.sole_consumer(inner) is None:
            return True
        if is_activation_quantizer(inner):
            return False
        if isinstance(inner.operator, Concat):
            return False
        if not is_passing(inner):
            raise GraphError(f"{inner.name} ({inner.type}): expected a scaling node behind it")
        inner = inner.input(0).node


def _mark(node: Node, origin: Node) -> None:
    _inherit(node, origin)
    node.annotations[Annotation.IS_ACTIVATION_QUANTIZER] = True


def _inherit(node: Node, origin: Node) -> None:
    for key in (Annotation.PRECISION, Annotation.ACCUMULATION_PRECISION):
        if key in origin.annotations:
            node.annotations[key] = origin.annotations[key]
