"""Quantize a normalized network: from [-1, 1] to integers."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import Clip, Pad, Quantizer
from aidge_quant.ops.quantization import HALF_UP
from aidge_quant.ptq.activations import divided_constants
from aidge_quant.ptq.flow import (
    activation_quantizers,
    dequantizer_of,
    driver,
    is_affine,
    is_function,
    logger,
    merged_groups,
    parameter_quantizers,
    precision,
    scale_sources,
    source,
    unscaled_constants,
)
from aidge_quant.ptq.headroom import keep_headroom
from aidge_quant.ptq.parameters import multiplied
from aidge_quant.ptq.signs import unsigned_quantizers

#: Largest magnitude of a clipped int32 that float32 holds exactly.
LARGEST_INT32 = 2**31 - 128


@dataclasses.dataclass(frozen=True)
class Levels:
    """The integers of an activation: ``top`` stands for 1.0 of the normalized value."""

    lower: int
    upper: int
    top: int


def quantize_normalized_network(
    network: GraphView,
    no_quant: bool = False,
    optimize_signs: bool = False,
    verbose: bool = False,
) -> None:
    """Turn, in place, the scaling nodes of a normalized network into quantizers.

    Parameters
    ----------
    network : GraphView
        After ``normalize_activations``.
    no_quant : bool
        Scale only: neither round nor clip.
    optimize_signs : bool
        Use 0 to 2^b - 1 where no negative value is needed: in front of a ReLU or a Clip from 0,
        behind a Sigmoid, and on residual inputs that are never negative. All inputs of a merging
        node share one choice.
    verbose : bool
        Log the scale and the integers of every quantizer.

    Raises
    ------
    GraphError
        If a node has no precision or an activation was not normalized.
    UnsupportedError
        If a precision is not handled, or the inputs of a merging node have different ones.

    Notes
    -----
    With Q = 2^(b-1) - 1 of the weight, the input and the output (2^b - 1 where unsigned): weight
    scale ``Q_w / m``; bias scale ``Q_w Q_in / (m r_in)``; ``X_Scaling = Q_out / (Q_w Q_in) * m r_in
    / r_out``; Add and residual scales ``Q_out / Q_in`` times what they were. Rounding is floor(x +
    0.5). Activations and weights are clipped to their type, biases to int32. Annotation.SCALE
    becomes the real value of one integer unit.
    """
    quantizers = activation_quantizers(network)
    sources = [*network.inputs, *quantizers]
    for node in sources:
        if Annotation.SCALE not in node.annotations:
            raise GraphError(
                f"{node.name}: its activation is not normalized; call normalize_activations first"
            )
    levels = _levels(network, sources, optimize_signs)
    weights = {q: _symmetric(_weight(q)) for q in quantizers if is_affine(driver(q))}
    rounding = None if no_quant else HALF_UP
    for node in quantizers:
        origin, factor = driver(node), float(levels[node].top)
        incoming = float(np.prod([levels[found].top for found in scale_sources(node)]))
        if is_affine(origin):
            weight, bias = parameter_quantizers(origin)
            top = weights[node].top
            _complete(weight, top, None if no_quant else weights[node], rounding)
            if bias is not None:
                limits = Levels(-LARGEST_INT32, LARGEST_INT32, 0)
                _complete(bias, top * incoming, None if no_quant else limits, rounding)
            factor /= top
        elif is_function(origin):
            dequantizer = dequantizer_of(origin)
            top = levels[source(dequantizer.input(0))].top
            scale = dequantizer.operator.scale / top
            dequantizer.operator = dataclasses.replace(dequantizer.operator, scale=scale)
        _complete(node, factor / incoming, None if no_quant else levels[node], rounding)
        if is_affine(origin):
            found = levels[scale_sources(node)[0]]
            keep_headroom(node, max(-found.lower, found.upper), levels[node].top)
    for node in unscaled_constants(network):
        found = levels[source(node.input(0))]
        scaled = divided_constants(node, 1 / found.top)
        node.operator = scaled if no_quant else rounded_constants(scaled, found)
    for node in sources:
        node.annotations[Annotation.SCALE] /= levels[node].top
        if verbose:
            clip = (levels[node].lower, levels[node].upper)
            logger.info(
                "%s: unit %g, integers %s", node.name, node.annotations[Annotation.SCALE], clip
            )


def rounded_constants(operator: Clip | Pad, levels: Levels) -> Clip | Pad:
    """Return the operator with its constants rounded and within the integers of its data."""

    def nearest(value: float) -> int:
        if np.isinf(value):
            return levels.upper if value > 0 else levels.lower
        return min(max(int(np.floor(value + 0.5)), levels.lower), levels.upper)

    if isinstance(operator, Pad):
        return dataclasses.replace(operator, value=nearest(operator.value))
    lower, upper = nearest(operator.lower), nearest(operator.upper)
    return dataclasses.replace(operator, lower=lower, upper=upper)


def _complete(node: Node, factor: float, levels: Levels | None, rounding: str | None) -> None:
    operator: Quantizer = multiplied(node.operator, factor)
    clip = None if levels is None else (levels.lower, levels.upper)
    node.operator = dataclasses.replace(operator, clip=clip, rounding=rounding)


def _weight(quantizer: Node) -> dtype:
    return precision(parameter_quantizers(driver(quantizer))[0])


def _symmetric(element_type: dtype) -> Levels:
    return Levels(element_type.min, element_type.max, element_type.max)


def _levels(network: GraphView, sources: list[Node], optimize_signs: bool) -> dict[Node, Levels]:
    """Return the integers of every graph input and activation quantizer."""
    types = {node: precision(node) for node in sources}
    for group in merged_groups(network):
        if len({types[node] for node in group}) > 1:
            found = ", ".join(f"{node.name} {types[node].value}" for node in group)
            raise UnsupportedError(
                f"inputs of one merging node have different precisions ({found}); "
                "give them the same"
            )
    unsigned = unsigned_quantizers(network) if optimize_signs else set()
    return {
        node: Levels(0, 2 * found.max + 1, 2 * found.max + 1)
        if node in unsigned
        else _symmetric(found)
        for node, found in types.items()
    }
