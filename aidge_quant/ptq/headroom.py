"""Keep accumulators within int32: scale down weights that leave no room for their bias."""

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.ptq.channels import output_rows
from aidge_quant.ptq.flow import driver, parameter, parameter_quantizers
from aidge_quant.ptq.parameters import multiplied

#: What the bias and the weighted sum may reach together.
ACCUMULATOR_LIMIT = 2.0**30
#: What the largest output times the inverse of the scale may reach: the range of a useful sum.
OUTPUT_LIMIT = 2.0**29


def headroom(
    quantizer: Node,
    largest_input: int,
    top: float,
    *,
    weight: float = 1.0,
    bias: float = 1.0,
    outgoing: float = 1.0,
) -> np.ndarray:
    """Return what the weights behind a quantizer must be divided by, float64 () or (channels,).

    Parameters
    ----------
    quantizer : Node
        The quantizer behind an affine node.
    largest_input : int
        Largest magnitude of the integers that the node reads.
    top : float
        The integer that stands for 1.0 behind the quantizer; 0 where it passes the accumulator on.
    weight, bias, outgoing : float
        What the scales of weight, bias and quantizer are still to be multiplied by to be those of
        integers.

    Notes
    -----
    ``f = max(1, (|b| + sum|w| * largest_input) / 2^30, top / (2^29 S))``, by channel where the
    scales are. f is 1 but for layers whose weights hardly matter beside their bias (channels that
    training has killed) and for very long 16-bit sums.
    """
    node = driver(quantizer)
    kernel, addend = parameter_quantizers(node)
    rows = output_rows(node, np.abs(parameter(kernel).operator.value.astype(np.float64)))
    sums = rows.reshape(rows.shape[0], -1).sum(axis=1) * np.asarray(kernel.operator.scale)
    bound = sums * (weight * largest_input)
    if addend is not None:
        values = np.abs(parameter(addend).operator.value.astype(np.float64))
        bound = bound + values * np.asarray(addend.operator.scale) * bias
    scale = np.asarray(quantizer.operator.scale, np.float64) * outgoing
    if not scale.ndim:
        bound = bound.max(initial=0.0)
    least = top / (OUTPUT_LIMIT * scale)
    return np.maximum(np.maximum(bound / ACCUMULATOR_LIMIT, least), 1.0)


def keep_headroom(quantizer: Node, largest_input: int, top: float) -> None:
    """Divide, in place, weight and bias scale by the factor that keeps the accumulator in int32.

    The parameters are those of ``headroom``; the scales are those of integers, not yet rounded. The
    scale of the quantizer is multiplied by the factor.
    """
    factor = headroom(quantizer, largest_input, top)
    if np.all(factor == 1):
        return
    quantizer.operator = multiplied(quantizer.operator, factor)
    for producer in parameter_quantizers(driver(quantizer)):
        if producer is not None:
            producer.operator = multiplied(producer.operator, 1 / factor)
