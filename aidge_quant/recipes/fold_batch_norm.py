"""Recipe: BatchNorm as part of the weights."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import BatchNorm
from aidge_quant.recipes.channel_affine import ChannelAffine, fold_all
from aidge_quant.recipes.parameters import Shapes, float_constant


def fold_batch_norm(network: GraphView) -> None:
    """Fold, in place, every BatchNorm into the affine node before it.

    Where there is none, into the Conv or FC behind it if that is exact (no zero padding that a
    shift would have to pass); else it becomes a 1x1 depthwise Conv.

    Notes
    -----
    ``f = scale / sqrt(variance + epsilon)``; ``W' = f W``; ``b' = f (b - mean) + bias``. In
    float64, rounded once.
    """
    fold_all(network, _recognize)


def batch_norm_affine(node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Return factor and term of a BatchNorm, float64 (channels,); None if they are computed."""
    values = [float_constant(node.input(slot)) for slot in range(1, 5)]
    scale, bias, mean, variance = values
    if scale is None or bias is None or mean is None or variance is None:
        return None
    factor = scale / np.sqrt(variance + node.operator.epsilon)
    return factor, bias - mean * factor


def _recognize(shapes: Shapes, node: Node) -> ChannelAffine | None:
    found = batch_norm_affine(node) if isinstance(node.operator, BatchNorm) else None
    return None if found is None else ChannelAffine(node.input(0), 1, *found)
