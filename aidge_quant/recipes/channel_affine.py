"""Fold ``x * factor + term`` per channel into the weights before or after it, or make it a layer.

The engine of the recipes for BatchNorm and for constants that are added or multiplied.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import FC, Conv, Trait, producer
from aidge_quant.recipes.parameters import Shapes, float_constant, set_parameter, tensor_shapes


class ChannelAffine(NamedTuple):
    """What a node does along one axis: ``factor`` and ``term`` are float64 arrays (channels,)."""

    data: Port
    axis: int
    factor: np.ndarray
    term: np.ndarray


#: Returns what a node does, or None if it is something else.
Recognizer = Callable[[Shapes, Node], ChannelAffine | None]


def per_channel(shapes: Shapes, port: Port, value: np.ndarray) -> tuple[int, np.ndarray] | None:
    """Return the axis and the values (channels,) of a constant that broadcasts to ``port``.

    None where it differs along more than one axis or along the batch, or widens the tensor.
    """
    shape = shapes[port.node][port.index]
    if len(shape) < 2 or value.ndim > len(shape):
        return None
    aligned = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    varying = [axis for axis, size in enumerate(aligned.shape) if size != 1]
    axis = varying[0] if varying else channel_axis(shapes, port)
    if len(varying) > 1 or axis == 0 or aligned.shape[axis] not in (1, shape[axis]):
        return None
    return axis, np.broadcast_to(aligned.reshape(-1), (shape[axis],)).astype(np.float64)


def channel_axis(shapes: Shapes, port: Port) -> int:
    """Return the axis of the channels at ``port``: 1, or the last one behind an FC."""
    return len(shapes[port.node][port.index]) - 1 if isinstance(port.node.operator, FC) else 1


def fold_before(network: GraphView, shapes: Shapes, node: Node, found: ChannelAffine) -> bool:
    """Fold ``node`` into the affine node it reads, and say whether that was possible."""
    affine = found.data.node
    if network.sole_consumer(affine) is not node or not _has_constant_weight(affine):
        return False
    if channel_axis(shapes, found.data) != found.axis:
        return False
    weight = float_constant(affine.input(1))
    bias = float_constant(affine.input(2)) if affine.has_input(2) else np.zeros(found.term.size)
    if weight is None or bias is None:
        return False
    scaled = _scale_outputs(affine, weight, found.factor)
    set_parameter(network, affine, 1, scaled, f"{affine.name}_weight")
    _set_bias(network, affine, bias * found.factor + found.term)
    _bypass(network, node, found.data)
    return True


def fold_after(network: GraphView, shapes: Shapes, node: Node, found: ChannelAffine) -> bool:
    """Fold ``node`` into the Conv or FC that alone reads it, where exact; say whether it was.

    A term cannot pass zero padding, which would have to become ``-term / factor``.
    """
    affine = network.sole_consumer(node)
    if affine is None or affine.operator.type not in ("Conv", "FC"):
        return False
    if not _has_constant_weight(affine) or affine.input(0).node is not node:
        return False
    padded = isinstance(affine.operator, Conv) and any(affine.operator.padding)
    if padded and np.any(found.term):
        return False
    weight = float_constant(affine.input(1))
    assert weight is not None
    groups = getattr(affine.operator, "groups", 1)
    if found.axis != (len(shapes[node][0]) - 1 if isinstance(affine.operator, FC) else 1):
        return False
    bias = float_constant(affine.input(2)) if affine.has_input(2) else np.zeros(weight.shape[0])
    if bias is None:
        return False
    # (out, in / groups, *window) -> (groups, out / groups, in / groups, window)
    grouped = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    added = np.einsum("goik,gi->go", grouped, found.term.reshape(groups, -1)).reshape(-1)
    scaled = grouped * found.factor.reshape(groups, 1, -1, 1)
    set_parameter(network, affine, 1, scaled.reshape(weight.shape), f"{affine.name}_weight")
    _set_bias(network, affine, bias + added)
    _bypass(network, node, found.data)
    return True


def become_layer(network: GraphView, shapes: Shapes, node: Node, found: ChannelAffine) -> bool:
    """Turn ``node`` into a 1x1 depthwise Conv or a diagonal FC; say whether it was possible."""
    rank, channels = len(shapes[node][0]), found.factor.size
    weight: np.ndarray
    if rank in (3, 4) and found.axis == 1:
        ones = (1,) * (rank - 2)
        operator: Conv | FC = Conv(ones, ones, (0,) * (2 * rank - 4), channels)
        weight = found.factor.reshape(channels, 1, *ones)
    elif found.axis == rank - 1:
        operator, weight = FC(), np.diag(found.factor)
    else:
        return False
    names = [network.unique_name(f"{node.name}_{role}") for role in ("weight", "bias")]
    values = (weight, found.term)
    parameters = [
        network.add(producer(np.ascontiguousarray(v, np.float32)), (), n)
        for v, n in zip(values, names, strict=True)
    ]
    node.operator = operator
    network.set_inputs(node, (found.data, *parameters))
    return True


def fold_all(network: GraphView, recognize: Recognizer) -> None:
    """Fold every node that ``recognize`` knows into weights around it, else as a layer."""
    shapes = tensor_shapes(network)
    for node in network.topological():
        found = recognize(shapes, node)
        if found is not None:
            fold_before(network, shapes, node, found)
    for node in reversed(network.topological()):
        found = recognize(shapes, node)
        if found is not None:
            fold_after(network, shapes, node, found)
    for node in network.topological():
        found = recognize(shapes, node)
        if found is not None and not fold_before(network, shapes, node, found):
            become_layer(network, shapes, node, found)
    network.remove_dead_nodes()


def _has_constant_weight(node: Node) -> bool:
    return Trait.AFFINE in node.operator.traits and float_constant(node.input(1)) is not None


def _scale_outputs(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    if node.operator.output_axis == 0:
        return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    # ConvTranspose: (in, out / groups, *window), channels counted group by group
    groups = getattr(node.operator, "groups", 1)
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    scaled = grouped * factor.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
    return scaled.reshape(weight.shape)


def _set_bias(network: GraphView, node: Node, bias: np.ndarray) -> None:
    if node.has_input(2) or np.any(bias):
        set_parameter(network, node, 2, bias, f"{node.name}_bias")


def _bypass(network: GraphView, node: Node, data: Port) -> None:
    network.replace_uses(node, data)
    network.remove(node)
