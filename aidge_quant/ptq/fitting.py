"""Fit the units of 16-bit activations to the weights of their layers.

A single shift lets weights shrink by up to one half, to make up for the power of two. A 16-bit
activation can spare as much of its resolution instead. 8-bit activations cannot, and their integers
are those of the published pipeline.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ptq.flow import activation_quantizers, merged_groups, precision, scale_sources
from aidge_quant.ptq.headroom import headroom
from aidge_quant.ptq.levels import Levels

#: Keeps a scale that is meant to be a power of two from being rounded up to the next.
MARGIN = 1 - 2.0**-40


def fit_levels(
    network: GraphView, levels: Mapping[Node, Levels], weights: Mapping[Node, Levels]
) -> dict[Node, Levels]:
    """Return the levels with the best integer for 1.0 at every 16-bit activation.

    Parameters
    ----------
    network : GraphView
        After ``normalize_activations``, single shifts to follow.
    levels : dict of Node to Levels
        Of all graph inputs and activation quantizers.
    weights : dict of Node to Levels
        Of the weight of the affine node before a quantizer.

    Notes
    -----
    The sources of one merging node share a factor t, 1/2 to 1, of what stands for 1.0. With S the
    scale of a quantizer behind weights, weights are rounded to units that vary as ``2^ceil(log2 t
    S) / t``, by channel; t is the one with the least mean square of them. Without channels ``t S``
    is a power of two, and weights stay as they are.
    """
    found = dict(levels)
    scales: dict[Node, np.ndarray] = {}
    groups = {node: group for group in merged_groups(network) for node in group}
    seen: set[Node] = set()
    for node in activation_quantizers(network):
        seen.add(node)
        if not 8 < precision(node).bits <= 16:
            continue
        if node in weights:
            scales[node] = _scale(node, found, weights[node].top)
        group = groups.get(node, [node])
        layers = {member: scales[member] for member in group if member in scales}
        if layers and seen.issuperset(group):  # all that they read comes before the last of them
            factor = _best_factor(layers, found)
            for member in group:
                top = found[member].top * factor
                found[member] = dataclasses.replace(found[member], top=top)
    return found


def _scale(node: Node, levels: Mapping[Node, Levels], weight: float) -> np.ndarray:
    """Return the scale that the quantizer of an affine node gets, float64 (channels,) or (1,)."""
    (source,) = scale_sources(node)
    top, incoming = levels[node].top, levels[source].top
    outgoing = top / (weight * incoming)
    factors = {"weight": weight, "bias": weight * incoming, "outgoing": outgoing}
    room = headroom(node, levels[source].largest, top, **factors)
    return np.atleast_1d(np.asarray(node.operator.scale, np.float64) * outgoing * room)


def _best_factor(layers: Mapping[Node, np.ndarray], levels: Mapping[Node, Levels]) -> float:
    """Return the factor that leaves the weights of layers with these scales the finest units."""
    candidates = [1.0]
    for scale in layers.values():
        candidates.extend(np.exp2(np.floor(np.log2(scale))) / scale * MARGIN)
    tried = np.unique([t for t in candidates if 0.5 <= t <= 1.0])
    noise = np.zeros(len(tried))
    for node, scale in layers.items():
        units = np.exp2(np.ceil(np.log2(tried[:, None] * scale))) / tried[:, None]
        incoming = levels[scale_sources(node)[0]].top
        noise += np.square(units * incoming).mean(axis=1)
    return float(tried[np.argmin(noise)])
