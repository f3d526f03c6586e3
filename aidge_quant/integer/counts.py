"""How much a layer computes and stores: multiply-accumulates and bytes of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork


def _per_output(layer: layers.Affine, _: IntegerTensor, output: IntegerTensor) -> int:
    return output.size * (layer.weight.size // layer.weight.shape[0])


def _depthwise(layer: layers.Affine, _: IntegerTensor, output: IntegerTensor) -> int:
    return output.size * layer.weight.shape[0] * layer.weight.shape[1]


def _per_input(layer: layers.TransposedConvolution, source: IntegerTensor, _: IntegerTensor) -> int:
    # Each input value meets every tap of the outputs of its group.
    return source.size * (layer.weight.size // layer.weight.shape[3]) // layer.groups


_MACS: dict[type[Layer], Callable[[Any, IntegerTensor, IntegerTensor], int]] = {
    layers.Convolution: _per_output,
    layers.DepthwiseConvolution: _depthwise,
    layers.TransposedConvolution: _per_input,
    layers.FullyConnected: _per_output,
}


def layer_macs(network: IntegerNetwork, layer: Layer) -> int:
    """Return the multiply-accumulates of a layer for one input of the network.

    Only layers with weights count; positions in the padding count as well, and positions that a
    transposed convolution cuts off.
    """
    count = _MACS.get(type(layer))
    if count is None:
        return 0
    return count(layer, network.tensor(layer.inputs[0]), network.tensor(layer.output))


def _step_bytes(step: Requantization | None) -> int:
    if step is None:
        return 0
    found = 0
    if step.per_channel:
        found += step.shift.size + (0 if step.multiplier is None else 4 * step.multiplier.size)
    if isinstance(step.upper, np.ndarray):
        found += step.upper.size * step.cap_type.itemsize
    return found


def _factor_bytes(factors: np.ndarray | None) -> int:
    return 0 if factors is None or factors.size == 1 else 4 * factors.size


def parameter_bytes(layer: Layer) -> int:
    """Return the bytes of a layer's constant arrays.

    Weights in their own type (int4: half a byte, rounded up to whole bytes), biases of 4 bytes,
    shifts of 1, multipliers and factors of a residual of 4 and upper bounds in the smallest type
    where each channel has its own, lookup tables, and index lists of 4 bytes an entry. A number
    that is one for the whole layer is part of the code.
    """
    if isinstance(layer, layers.Affine):
        weight = -(-layer.weight.size * layer.weight_dtype.bits // 8)
        steps = _step_bytes(layer.requantization) + _factor_bytes(layer.residual)
        return weight + 4 * layer.bias.size + steps
    if isinstance(layer, layers.Lookup):
        return layer.table.size
    if isinstance(layer, layers.Resize):
        return 4 * (layer.rows.size + layer.columns.size)
    return 0
