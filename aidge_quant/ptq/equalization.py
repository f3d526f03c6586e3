"""Cross-layer equalization: even out the channels of weights that follow each other."""

import dataclasses

import numpy as np

from aidge_quant.executor import infer_shapes
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import FC, Flatten, Pad, Reshape, Trait
from aidge_quant.ptq.channels import (
    input_rows,
    output_rows,
    row_maxima,
    scale_input_channels,
    scale_output_channels,
)
from aidge_quant.ptq.flow import has_trait, is_affine, logger

MAX_SWEEPS = 1000

Shapes = dict[Node, tuple[tuple[int, ...], ...]]


def cross_layer_equalization(network: GraphView, target_delta: float = 0.01) -> None:
    """Rescale, in place, the channels between affine nodes so that their weights have even ranges.

    The function of the network stays the same. Pairs are affine nodes joined by a chain of nodes
    with one data input and one consumer through which a positive factor passes (ReLU, pools,
    Flatten); pairs inside a residual branch and depthwise convolutions are included, an Add or a
    fork ends a chain.

    Parameters
    ----------
    network : GraphView
    target_delta : float, above 0
        The sweeps end after the first in which max|r1 - r2| stayed below it.

    Raises
    ------
    ValueError
        If ``target_delta`` is not positive.

    Notes
    -----
    For each pair and channel i: ``r1 = max|W1[i]|``, ``r2 = max|W2[:, i]|``, ``s = sqrt(r1 / r2)``;
    ``W1[i] /= s``, ``b1[i] /= s``, ``W2[:, i] *= s`` (Nagel et al. 2019, arXiv 1906.04721, section
    4.1). Sweeps go over the pairs in topological order, each on the weights the pair before left. A
    channel that is zero on either side stays as it is and does not count for the stop. The
    published page restricts the pass to networks of a single branch; like the system measured, this
    one handles branches too.

    Annotation.CHANNEL_FACTORS on W1 and on the nodes between the two holds the product of all s.
    """
    if not target_delta > 0:
        raise ValueError(f"target_delta: expected a positive number, got {target_delta}")
    pairs = equalization_pairs(network)
    shapes = infer_shapes(network)
    chains = [(pair, _between(network, shapes, *pair)) for pair in pairs]
    for sweep in range(1, MAX_SWEEPS + 1):
        delta = max((_equalize(*pair, chain) for pair, chain in chains), default=0.0)
        if delta < target_delta:
            logger.debug("equalization: %d pairs, %d sweeps", len(pairs), sweep)
            return
    logger.warning("equalization: stopped after %d sweeps at a delta of %g", MAX_SWEEPS, delta)


def equalization_pairs(network: GraphView) -> list[tuple[Node, Node]]:
    """Return the pairs of affine nodes that share their channels, in topological order."""
    shapes = infer_shapes(network)
    pairs = []
    for node in network.topological():
        if is_affine(node) and _owns_parameters(network, node):
            second = _follow(network, shapes, node)
            if second is not None and _owns_parameters(network, second):
                pairs.append((node, second))
    return pairs


def _owns_parameters(network: GraphView, node: Node) -> bool:
    parameters = [node.input(slot).node for slot in (1, 2) if node.has_input(slot)]
    return all(network.sole_consumer(p) is node and p.type == "Producer" for p in parameters)


def _follow(network: GraphView, shapes: Shapes, first: Node) -> Node | None:
    """Return the affine node at the end of the chain that starts at ``first``."""
    channels = _channels(first, shapes)
    node: Node | None = first
    while channels is not None and node is not None:
        node = network.sole_consumer(node)
        if node is None:
            return None
        if is_affine(node):
            rank = len(shapes[node.input(0).node][node.input(0).index])
            features = node.input(1).node.operator.infer_shapes()[0][1]
            fits = rank == 2 and features % channels == 0
            return node if not isinstance(node.operator, FC) or fits else None
        if not _keeps_channels(node, shapes):
            return None
    return None


def _channels(node: Node, shapes: Shapes) -> int | None:
    shape = shapes[node][0]
    return shape[1] if not isinstance(node.operator, FC) or len(shape) == 2 else None


def _keeps_channels(node: Node, shapes: Shapes) -> bool:
    """Whether a positive factor on channel i comes out on channel i or its block of features."""
    operator = node.operator
    if isinstance(operator, Flatten | Reshape):
        before, after = shapes[node.input(0).node][node.input(0).index], shapes[node][0]
        return len(after) == 2 and after[0] == before[0]
    if isinstance(operator, Pad):
        return operator.value == 0 and not any((*operator.before[:2], *operator.after[:2]))
    return has_trait(node, Trait.HOMOGENEOUS) and has_trait(node, Trait.KEEPS_CHANNELS)


def _between(
    network: GraphView, shapes: Shapes, first: Node, second: Node
) -> list[tuple[Node, int]]:
    """Return ``first`` and the nodes before ``second``, with the sizes of their axis 1."""
    chain = []
    node: Node | None = first
    while node is not None and node is not second:
        chain.append((node, shapes[node][0][1]))
        node = network.sole_consumer(node)
    return chain


def _note_factors(chain: list[tuple[Node, int]], s: np.ndarray) -> None:
    """Multiply the factors noted on every node of the chain by ``s``, one a channel."""
    for node, size in chain:
        before = node.annotations.get(Annotation.CHANNEL_FACTORS, np.ones(size))
        repeated = np.repeat(s.astype(np.float64), size // s.size)  # Flatten: channels to blocks
        node.annotations[Annotation.CHANNEL_FACTORS] = before * repeated


def _equalize(first: Node, second: Node, chain: list[tuple[Node, int]]) -> float:
    """Equalize one pair and return max|r1 - r2| as found before."""
    w1, w2 = (node.input(1).node for node in (first, second))
    v1, v2 = w1.operator.value, w2.operator.value
    r1 = row_maxima(output_rows(first, v1))
    channels = r1.size
    r2 = row_maxima(input_rows(second, v2)).reshape(channels, -1).max(axis=1)
    alive = (r1 > 0) & (r2 > 0)
    one = v1.dtype.type(1)
    s = np.sqrt(np.where(alive, r1, one) / np.where(alive, r2, one))
    _set(w1, scale_output_channels(first, v1, one / s))
    if first.has_input(2):
        bias = first.input(2).node
        _set(bias, bias.operator.value / s)
    repeated = np.repeat(s, input_rows(second, v2).shape[0] // channels)
    _set(w2, scale_input_channels(second, v2, repeated))
    _note_factors(chain, s)
    return float(np.abs(r1 - r2)[alive].max(initial=0.0))


def _set(node: Node, value: np.ndarray) -> None:
    array = np.ascontiguousarray(value, node.operator.value.dtype)
    node.operator = dataclasses.replace(node.operator, value=array)
