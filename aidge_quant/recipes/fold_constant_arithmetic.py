"""Recipe: arithmetic with constants as part of weights and biases."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import Add, Div, Mul, Sub
from aidge_quant.recipes.channel_affine import ChannelAffine, fold_all, per_channel
from aidge_quant.recipes.parameters import Shapes, float_constant


def fold_constant_arithmetic(network: GraphView) -> None:
    """Fold, in place, arithmetic with a constant, one value or one a channel, into weights.

    Add, Sub, Mul, and Div by the constant. Into the affine node before it, else into the Conv or FC
    behind it where exact, else it becomes a 1x1 depthwise Conv. Constants that differ within a
    channel stay.
    """
    fold_all(network, _recognize)


def _recognize(shapes: Shapes, node: Node) -> ChannelAffine | None:
    operator = node.operator
    if not isinstance(operator, Add | Sub | Mul | Div):
        return None
    for slot in (0, 1):
        value, data = float_constant(node.input(slot)), node.input(1 - slot)
        if value is None or float_constant(data) is not None:
            continue
        found = per_channel(shapes, data, value)
        if found is None or shapes[node][0] != shapes[data.node][data.index]:
            return None
        axis, values = found
        one, zero = np.ones_like(values), np.zeros_like(values)
        if isinstance(operator, Div):
            if slot == 0 or not values.all():
                return None
            return ChannelAffine(data, axis, one / values, zero)
        if isinstance(operator, Mul):
            return ChannelAffine(data, axis, values, zero)
        if isinstance(operator, Add):
            return ChannelAffine(data, axis, one, values)
        sign = 1.0 if slot == 1 else -1.0  # x - c, or c - x
        return ChannelAffine(data, axis, sign * one, -sign * values)
    return None
