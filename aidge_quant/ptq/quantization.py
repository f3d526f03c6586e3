"""Quantize a normalized network: from [-1, 1] to integers."""

import dataclasses

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import Clip, Pad, Quantizer
from aidge_quant.ops.quantization import HALF_UP
from aidge_quant.ptq.activations import divided_constants
from aidge_quant.ptq.fitting import fit_levels
from aidge_quant.ptq.flow import (
    activation_quantizers,
    dequantizer_of,
    driver,
    is_affine,
    is_function,
    logger,
    parameter_quantizers,
    precision,
    scale_sources,
    source,
    unscaled_constants,
)
from aidge_quant.ptq.headroom import keep_headroom
from aidge_quant.ptq.levels import Levels, activation_levels, bias_levels, weight_levels
from aidge_quant.ptq.parameters import multiplied


def quantize_normalized_network(
    network: GraphView,
    no_quant: bool = False,
    optimize_signs: bool = False,
    verbose: bool = False,
    *,
    single_shift: bool = False,
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
        node share one choice. 16-bit activations have no zero point and stay signed.
    verbose : bool
        Log the scale and the integers of every quantizer.
    single_shift : bool
        Whether ``perform_single_shift_approximation`` follows: 16-bit activations then get units
        with which it shrinks the weights least.

    Raises
    ------
    GraphError
        If a node has no precision or an activation was not normalized.
    UnsupportedError
        If a precision is not handled, or the inputs of a merging node have different ones
        (``quantize_network`` gives them the widest).

    Notes
    -----
    With Q of the weight, the input and the output (2^(b-1) - 1; for some activations another, see
    ``aidge_quant.ptq.levels``): weight scale ``Q_w / m``; bias scale ``Q_w Q_in / (m r_in)``;
    ``X_Scaling = Q_out / (Q_w Q_in) * m r_in / r_out``; Add and residual scales ``Q_out / Q_in``
    times what they were. An int32 output keeps its accumulator: the largest of its scales is 1.
    Rounding is floor(x + 0.5). Activations and weights are clipped to their type, biases to int32.
    Annotation.SCALE becomes the real value of one integer unit.
    """
    quantizers = activation_quantizers(network)
    sources = [*network.inputs, *quantizers]
    for node in sources:
        if Annotation.SCALE not in node.annotations:
            raise GraphError(
                f"{node.name}: its activation is not normalized; call normalize_activations first"
            )
    levels = activation_levels(network, sources, optimize_signs)
    weights = {q: weight_levels(q) for q in quantizers if is_affine(driver(q))}
    if single_shift:
        levels = fit_levels(network, levels, weights)
    rounding = None if no_quant else HALF_UP
    for node in quantizers:
        origin, factor = driver(node), float(levels[node].top)
        incoming = float(np.prod([levels[found].top for found in scale_sources(node)]))
        if is_affine(origin):
            weight, bias = parameter_quantizers(origin)
            top = weights[node].top
            _complete(weight, top, None if no_quant else weights[node], rounding)
            if bias is not None:
                limits = None if no_quant else bias_levels(bias)
                _complete(bias, top * incoming, limits, rounding)
            factor /= top
        elif is_function(origin):
            dequantizer = dequantizer_of(origin)
            top = levels[source(dequantizer.input(0))].top
            scale = dequantizer.operator.scale / top
            dequantizer.operator = dataclasses.replace(dequantizer.operator, scale=scale)
        _complete(node, factor / incoming, None if no_quant else levels[node], rounding)
        if is_affine(origin):
            found = levels[scale_sources(node)[0]]
            wide = precision(node).bits > 16
            keep_headroom(node, found.largest, 0 if wide else levels[node].top)
            if wide:
                top = levels[node].top * _keep_accumulator(node)
                levels[node] = dataclasses.replace(levels[node], top=top)
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

    def nearest(value: float | np.ndarray) -> np.ndarray:
        return np.clip(np.floor(np.asarray(value) + 0.5), levels.lower, levels.upper)

    if isinstance(operator, Pad):
        return dataclasses.replace(operator, value=int(nearest(operator.value)))
    lower, upper = int(nearest(operator.lower)), nearest(operator.upper)
    return dataclasses.replace(operator, lower=lower, upper=upper if upper.ndim else int(upper))


def _complete(node: Node, factor: float, levels: Levels | None, rounding: str | None) -> None:
    operator: Quantizer = multiplied(node.operator, factor)
    clip = None if levels is None else (levels.lower, levels.upper)
    node.operator = dataclasses.replace(operator, clip=clip, rounding=rounding)


def _keep_accumulator(node: Node) -> float:
    """Let, in place, the quantizer pass its accumulator on; return what stands for 1.0 then.

    The channel with the coarsest accumulator passes unchanged, the others are rounded to its unit,
    so that the outputs compare.
    """
    peak = float(np.max(node.operator.scale))
    node.operator = multiplied(node.operator, 1 / peak)
    return 1 / peak
