"""Approximate the scales of quantizers by powers of two."""

import dataclasses

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ptq.compensation import coefficient, needs_compensation, set_coefficient
from aidge_quant.ptq.flow import activation_quantizers, driver, is_affine, parameter_quantizers
from aidge_quant.ptq.parameters import multiplied


def perform_single_shift_approximation(graphview: GraphView) -> None:
    """Raise, in place, the scale of every quantizer to a power of two and compensate before it.

    Parameters
    ----------
    graphview : GraphView
        After ``insert_compensation_nodes``.

    Raises
    ------
    GraphError
        If a quantizer without affine node has no compensation.

    Notes
    -----
    ``S' = 2^ceil(log2 S)``, one for each channel where S has channels. Weights and bias of the
    affine node are multiplied by S / S', which lies in (0.5, 1], so no weight saturates. A
    compensation coefficient C becomes floor(C S / S' + 0.5). Quantizers behind functions of real
    values become tables and keep their scale, and so do those of network inputs.
    """
    quantizers = activation_quantizers(graphview)
    for node in quantizers:
        if needs_compensation(node) and coefficient(node) is None:
            raise GraphError(
                f"{node.name}: it has no weights to compensate with; "
                "call insert_compensation_nodes first"
            )
    for node in quantizers:
        factor = coefficient(node)
        affine = is_affine(driver(node)) and not node.annotations.get(Annotation.IS_RESIDUAL)
        if not affine and factor is None:
            continue
        scale = np.asarray(node.operator.scale, np.float64)
        power = np.exp2(np.ceil(np.log2(scale)))
        ratio = scale / power
        node.operator = dataclasses.replace(
            node.operator, scale=power if power.ndim else float(power)
        )
        if factor is not None:
            value = float(factor.operator.value) * float(ratio)
            set_coefficient(factor, np.floor(value + 0.5) if node.operator.rounding else value)
            continue
        for producer in parameter_quantizers(driver(node)):
            if producer is not None:
                producer.operator = multiplied(producer.operator, ratio)
