"""Normalize parameters: weights into [-1, 1]."""

import dataclasses

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import Quantizer
from aidge_quant.ptq.channels import output_rows, row_maxima
from aidge_quant.ptq.flow import (
    activation_quantizers,
    driver,
    is_affine,
    parameter,
    parameter_quantizers,
)


def normalize_parameters(network: GraphView, channel_wise: bool) -> None:
    """Scale, in place, the weights of every affine node into [-1, 1] and compensate behind it.

    Parameters
    ----------
    network : GraphView
        With scaling nodes (``insert_scaling_nodes``).
    channel_wise : bool
        One factor per output channel, where the scaling nodes have one.

    Raises
    ------
    GraphError
        If an affine node has no scaling nodes.

    Notes
    -----
    With m = max|W| (per tensor or per output channel; 1 where W is zero): weight and bias are
    scaled by 1 / m, ``X_Scaling`` by m. The stored parameters do not change, only the scaling nodes
    do.
    """
    affine = [q for q in activation_quantizers(network) if is_affine(driver(q))]
    found = [(q, driver(q), *parameter_quantizers(driver(q))) for q in affine]
    for quantizer, node, weight, bias in found:
        values = parameter(weight).operator.value
        if channel_wise and np.ndim(weight.operator.scale):
            maxima = row_maxima(output_rows(node, values))
        else:
            maxima = np.abs(values).max(initial=0.0)
        m = np.where(maxima > 0, maxima, 1).astype(np.float64)
        _multiply(quantizer, m)
        for producer in (weight, bias):
            if producer is not None:
                _multiply(producer, 1 / m)


def multiplied(operator: Quantizer, factor: np.ndarray | float) -> Quantizer:
    """Return the quantizer with its scale multiplied by ``factor``."""
    scale = np.asarray(operator.scale, np.float64) * factor
    return dataclasses.replace(operator, scale=scale if scale.ndim else float(scale))


def _multiply(node: Node, factor: np.ndarray) -> None:
    node.operator = multiplied(node.operator, factor)
