"""Proof that no accumulator leaves int32, layer by layer.

For every output channel, |bias| + sum |w| * max |x| < 2**31, x over the whole range of the input's
type; a residual r adds |factor| * max |r|. The bound is on absolute values, so that it holds for
every partial sum in any order. In the single-shift form the shifted accumulator plus the offset is
int32 as well; the multiplier form works in int64, where |acc * m| + 2**61 < 2**63 for every m and n
of the contract.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aidge_quant.errors import OverflowProofError
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import HALF_EVEN, Requantization
from aidge_quant.integer.tensors import IntegerTensor

BoundRule = Callable[[Any, Sequence[IntegerTensor]], None]

LIMIT = 1 << 31


def _reach(tensor: IntegerTensor, zero_point: int = 0) -> int:
    """Return the largest |x - zero_point| over the tensor's type."""
    return max(abs(tensor.dtype.min - zero_point), abs(tensor.dtype.max - zero_point))


def _prove(layer: Layer, step: str, bounds: Sequence[int], remedy: str) -> None:
    for channel, bound in enumerate(bounds):
        if bound >= LIMIT:
            where = f"channel {channel}" if len(bounds) > 1 else "the output"
            raise OverflowProofError(
                f"{layer}: {step} of {where} can reach {bound}, expected less than {LIMIT}; "
                f"{remedy}"
            )


def _prove_shift(layer: Layer, bounds: Sequence[int], step: Requantization) -> None:
    """Prove that the shifted accumulator and the offset fit in int32."""
    if step.multiplier is not None:
        return
    shifts = np.broadcast_to(step.shift, len(bounds)).tolist()
    # A right shift rounds to at most one more; the bound's own magnitude is rounded up.
    up = 1 if step.rounding == HALF_EVEN else 0
    shifted = [
        ((-(-bound >> shift) + up) if shift > 0 else bound << -shift) + abs(step.offset)
        for bound, shift in zip(bounds, shifts, strict=True)
    ]
    _prove(layer, "the shifted accumulator", shifted, "use a larger shift or a smaller offset")


def largest_sums(layer: layers.Affine, inputs: Sequence[IntegerTensor]) -> np.ndarray:
    """Return what no partial sum of a layer with weights exceeds in magnitude, int64 (out,).

    A transposed convolution subtracts the zero point first.
    """
    axis = 2 if isinstance(layer, layers.DepthwiseConvolution) else 0
    others = tuple(i for i in range(layer.weight.ndim) if i != axis)
    totals = np.abs(layer.weight.astype(np.int64)).sum(axis=others)
    reach = _reach(inputs[0], getattr(layer, "input_zero_point", 0))
    total = np.abs(layer.bias.astype(np.int64)) + totals * reach
    if layer.residual is not None:
        total = total + np.abs(layer.residual.astype(np.int64)) * _reach(inputs[1])
    return np.asarray(total)


def affine(layer: layers.Affine, inputs: Sequence[IntegerTensor]) -> None:
    """Prove a layer with weights."""
    bounds = largest_sums(layer, inputs).tolist()
    remedy = "use fewer bits for its input or its weights, or split the layer"
    _prove(layer, "the accumulator", bounds, remedy)
    _prove_shift(layer, bounds, layer.requantization)


def add(layer: layers.Add, inputs: Sequence[IntegerTensor]) -> None:
    """Prove the sum of two products."""
    reaches = (
        abs(int(multiplier)) * _reach(tensor)
        for multiplier, tensor in zip(layer.multipliers, inputs, strict=True)
    )
    bounds = [abs(int(layer.bias)) + sum(reaches)]
    _prove(layer, "the accumulator", bounds, "use smaller multipliers with a smaller shift")
    _prove_shift(layer, bounds, layer.requantization)


def multiply(layer: layers.Multiply, inputs: Sequence[IntegerTensor]) -> None:
    """Prove the product of the multiplier and two differences."""
    first, second = (
        _reach(tensor, zero) for tensor, zero in zip(inputs, layer.zero_points, strict=True)
    )
    bounds = [abs(int(layer.bias)) + int(layer.multiplier) * first * second]
    _prove(layer, "the accumulator", bounds, "use fewer bits for its inputs")
    _prove_shift(layer, bounds, layer.requantization)


def rescale(layer: layers.Rescale, inputs: Sequence[IntegerTensor]) -> None:
    """Prove a product."""
    bounds = [abs(int(layer.bias)) + int(layer.multiplier) * _reach(inputs[0])]
    _prove(layer, "the accumulator", bounds, "use a smaller multiplier with a smaller shift")
    _prove_shift(layer, bounds, layer.requantization)


def average(layer: layers.AveragePool, inputs: Sequence[IntegerTensor]) -> None:
    """Prove the sum over a window, or the numerator of the division."""
    count = int(layer.window[0]) * int(layer.window[1])
    remedy = "use a smaller window, or two pools one after the other"
    if layer.requantization is None:
        bounds = [2 * count * _reach(inputs[0], layer.zero_point) + count]
        _prove(layer, "the numerator", bounds, remedy)
        return
    bounds = [abs(int(layer.bias)) + count * _reach(inputs[0])]
    _prove(layer, "the accumulator", bounds, remedy)
    _prove_shift(layer, bounds, layer.requantization)


def nothing(*_: object) -> None:
    """Prove a layer without an accumulator."""
