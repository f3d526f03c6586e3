"""Normalize activations: every scaled output into [-1, 1]."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from aidge_quant.errors import DataError, GraphError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import Clip, Pad
from aidge_quant.ptq.flow import (
    activation_quantizers,
    dequantizer_of,
    driver,
    is_affine,
    is_function,
    merged_groups,
    parameter_quantizers,
    scale_sources,
    source,
    unscaled_constants,
)
from aidge_quant.ptq.parameters import multiplied

InputRange = float | Mapping[str, float]


def normalize_activations(
    network: GraphView, value_ranges: Mapping[Node, float], *, input_range: InputRange = 1.0
) -> None:
    """Rescale, in place, the scaling nodes so that every activation lies in [-1, 1].

    Parameters
    ----------
    network : GraphView
        With normalized parameters (``normalize_parameters``).
    value_ranges : dict of Node to float
        Range of every scaling node (``compute_ranges``).
    input_range : float, or dict by input name
        Range of the network's inputs, which are then to be fed divided by it.

    Raises
    ------
    GraphError
        If a scaling node has no range.
    DataError
        If a range is negative or not finite.

    Notes
    -----
    With m the range of the weights and r ranges: ``X_Scaling = m r_in / r_out``, bias scale ``1 /
    (m r_in)``. The inputs of an Add, Sub or Concat are put on R, the largest of their ranges;
    ``A_Scaling = R / r_A``, ``P_Res = r_P / R``. A product: ``r_a r_b / r_out``. Bounds of Clip and
    values of Pad follow. A range of 0 (a dead tensor) counts as 1. Annotation.SCALE notes the
    range: the real value of 1.0.
    """
    quantizers = activation_quantizers(network)
    units = _units(network, quantizers, value_ranges, input_range)
    for node in quantizers:
        origin = driver(node)
        incoming = [units[found] for found in scale_sources(node)]
        if is_function(origin):
            dequantizer = dequantizer_of(origin)
            unit = units[source(dequantizer.input(0))]
            dequantizer.operator = dataclasses.replace(dequantizer.operator, scale=unit)
        elif is_affine(origin):
            bias = parameter_quantizers(origin)[1]
            if bias is not None:
                bias.operator = multiplied(bias.operator, 1 / incoming[0])
        node.operator = multiplied(node.operator, float(np.prod(incoming)) / units[node])
    for node in unscaled_constants(network):
        node.operator = divided_constants(node, units[source(node.input(0))])
    for node, unit in units.items():
        node.annotations[Annotation.SCALE] = unit


def divided_constants(node: Node, unit: float) -> Clip | Pad:
    """Return the operator with the constants that are in units of its data divided by ``unit``."""
    operator = node.operator
    if isinstance(operator, Pad):
        return dataclasses.replace(operator, value=operator.value / unit)
    return dataclasses.replace(operator, lower=operator.lower / unit, upper=operator.upper / unit)


def _units(
    network: GraphView,
    quantizers: list[Node],
    value_ranges: Mapping[Node, float],
    input_range: InputRange,
) -> dict[Node, float]:
    """Return the real value of 1.0 at every source: graph inputs, then scaling nodes."""
    units: dict[Node, float] = {}
    for node in network.inputs:
        found = input_range[node.name] if isinstance(input_range, Mapping) else input_range
        units[node] = _checked(node, found)
    for node in quantizers:
        if node not in value_ranges:
            raise GraphError(f"{node.name}: expected a range for this scaling node, found none")
        units[node] = _checked(node, value_ranges[node])
    for group in merged_groups(network):
        largest = max(units[node] for node in group)
        units.update(dict.fromkeys(group, largest))
    return units


def _checked(node: Node, value: float) -> float:
    if not np.isfinite(value) or value < 0:
        raise DataError(f"{node.name}: range {value}, expected a finite number, 0 or more")
    return float(value) or 1.0
