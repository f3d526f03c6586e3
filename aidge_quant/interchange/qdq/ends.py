"""The end of a layer in real terms: factor, constant, and what keeps ties away.

An engine rounds ``v = acc * factor`` to the nearest integer, ties to even, and adds the zero point;
the contract rounds ties up. Two things make them agree in every integer:

- The scale of QuantizeLinear is a little smaller than the unit of the tensor, by 2**-23 to 2**-16.
  A positive tie then lies above the half and goes up, and nothing else moves: the next value of v
  is 2**-k away.
- Where outputs may be below their zero point, v is lifted above 0: the layer's constant has
  ``lift`` units more, and the zero point of QuantizeLinear is as many lower, the least of its type.

Accumulators must be exact in float32 for this, below 2**24, which power-of-two scales see to.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Port
from aidge_quant.integer.bounds import largest_sums
from aidge_quant.integer.layers import Affine, Layer
from aidge_quant.integer.requantization import HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.geometry import per_channel
from aidge_quant.interchange.moves import clamped
from aidge_quant.interchange.qdq.sheet import POWER_OF_TWO, QdqSheet
from aidge_quant.interchange.sheet import View
from aidge_quant.ops import Add, Clip, Mul

INT32 = 2**31 - 1
#: Bits by which the nudge of the largest output stays below the distance of two values of v.
MARGIN_BITS = 2
#: The largest shift whose values are far enough apart for a nudge.
LARGEST_SHIFT = 14
#: Least and largest nudge: one step of float32 below 1, and what no scale shows.
LEAST_NUDGE, LARGEST_NUDGE = 23, 16


@dataclass(frozen=True, eq=False)
class End:
    """The end of a layer in real terms.

    Attributes
    ----------
    factor : float64 array () or (channels,)
        From the accumulator to the output's integers, exact.
    constant : int64 array () or (channels,)
        What is left of the bias without rounding and zero points, in units of the accumulator.
    zero_point : int
        What QuantizeLinear adds, as stored.
    nudge : float
        By what part the scale of QuantizeLinear is below the unit of the tensor.
    """

    factor: np.ndarray
    constant: np.ndarray
    zero_point: int
    nudge: float = 0.0


def end_of(layer: Any, target: IntegerTensor, bias: np.ndarray | int) -> End:
    """Return the end of a layer whose bias is ``bias`` without input zero points.

    Raises
    ------
    UnsupportedError
        If the constant leaves int32, or the zero point its type.
    """
    form: Requantization = layer.requantization
    shift = form.shift.astype(np.int64)
    zero_point = form.offset
    constant = np.asarray(bias, np.int64)
    if form.multiplier is None:
        factor = np.exp2(-shift.astype(np.float64))
        if form.rounding == HALF_UP:
            constant = constant - np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)
        if form.offset == 0 and (shift >= 0).all():
            constant = constant - (target.zero_point << shift)
            zero_point = target.zero_point
    else:
        factor = np.ldexp(form.multiplier.astype(np.float64), -shift)
    if factor.size == 1:
        factor = factor.reshape(())
    if constant.size == 1:
        constant = constant.reshape(())
    if not target.dtype.min <= zero_point <= target.dtype.max:
        raise UnsupportedError(
            f"{layer}: it adds {zero_point} to its output, expected a {target.dtype.value} number"
        )
    return _checked(layer, End(factor, constant, zero_point))


def without_ties(layer: Any, target: IntegerTensor, end: End, *factors: int) -> End:
    """Return the end with a nudge, and a lift where needed, so that ties go up.

    ``factors`` are what the inputs are multiplied with, if they are: accumulators are multiples of
    what the factors and the constant have in common, and as much farther apart.

    Layers with a multiplier hardly have ties, those that round to even want them as they are, and
    16-bit outputs leave float32 no room; their ends come back as they are.
    """
    form: Requantization = layer.requantization
    shift = form.shift.astype(np.int64)
    single = form.multiplier is None and form.rounding == HALF_UP
    if not single or target.dtype is not dtype.int8 or (shift < 0).any() or not shift.any():
        return end
    # Channels with larger shifts hardly have ties, nor values that a small nudge could move.
    step = math.gcd(*factors, *end.constant.reshape(-1).tolist()) if factors else 1
    amount = nudge(step * 2.0 ** -int(min(shift.max(), max(shift.min(), LARGEST_SHIFT))))
    lift = 0 if form.lower >= end.zero_point else end.zero_point - target.dtype.min
    return _checked(
        layer,
        replace(
            end,
            constant=end.constant + (lift << shift).reshape(end.factor.shape),
            zero_point=end.zero_point - lift,
            nudge=amount,
        ),
    )


def nudge(distance: float) -> float:
    """Return the part by which v is raised, where its values are ``distance`` apart; 0 if none.

    255.5 times the nudge stays below the distance, and half of it is a step of float32 at least.
    """
    bits = int(np.ceil(-np.log2(distance))) + 8
    if bits > LARGEST_SHIFT + 8:
        return 0.0
    return 2.0 ** -min(max(bits + MARGIN_BITS, LARGEST_NUDGE), LEAST_NUDGE)


@dataclass(frozen=True, eq=False)
class Units:
    """Real values of single integers around the end of a layer.

    Attributes
    ----------
    accumulator : float64 array () or (channels,)
    correction : float32 array (channels,) or None
        What the real output is multiplied with before it is quantized.
    output : float64 array () or (channels,)
        The scale of QuantizeLinear, but for the nudge.
    """

    accumulator: np.ndarray
    correction: np.ndarray | None
    output: np.ndarray


def units(sheet: QdqSheet, target: IntegerTensor, end: End) -> Units:
    """Return the units of a layer.

    With power-of-two scales that of the accumulator is one too, so that sums are exact; what is
    left of a multiplier is part of the scale of QuantizeLinear, or a product where it differs
    between channels. For operators that multiply integers it is part of the scales of the weight.
    """
    unit = sheet.unit(target)
    accumulator = np.asarray(unit * end.factor)
    exact = sheet.options.scales == POWER_OF_TWO and target.dtype is not dtype.int32
    if not exact or unit.ndim:
        return Units(accumulator, None, unit)
    power = np.exp2(np.rint(np.log2(accumulator)))
    if power.ndim == 0:
        return Units(power, None, np.asarray(power / end.factor))
    if sheet.options.integer_products or np.array_equal(power, accumulator):
        return Units(accumulator, None, unit)
    return Units(power, (accumulator / power).astype(np.float32), unit)


def finish(
    sheet: QdqSheet,
    layer: Any,
    port: Port,
    end: End,
    view: View | None = None,
    **numbers: Any,
) -> None:
    """Quantize the real output of a layer, keep it within its bounds, and note exact numbers.

    Parameters
    ----------
    port : Port
        The real output, ``unit * factor`` for each unit of the accumulator.
    end : End
    view : View, optional
        Of the output, the canonical one by default.
    numbers : multipliers of the inputs and of the residual, for the metadata
    """
    form, target = layer.requantization, sheet.network.tensor(layer.output)
    rows = view is not None or len(target.shape) != 3
    bounds = (np.asarray(form.lower), per_channel(np.asarray(form.upper), rows))
    exact = {"factor": end.factor.tolist(), "rounding": form.rounding, **numbers}
    exact["shift"] = form.multiplier is None
    unit = sheet.unit(target)
    found = units(sheet, target, end)
    if found.correction is not None:
        values = sheet.constant(per_channel(found.correction, rows), f"{layer.name}_multiplier")
        port = Port(sheet.add(Mul(), port, values, name=f"{layer.name}_multiplied"))
    if target.dtype is dtype.int32:
        added = np.asarray(end.zero_point - target.zero_point)
        port = plus(sheet, port, added, unit, layer.name)
    if target.dtype is not dtype.int8:
        port = clipped(sheet, layer, port, bounds)
    if target.dtype is dtype.int32:
        sheet.steps[layer.name] = exact
        sheet.bind(target.name, port, view)
        return
    name = sheet.store(target, port, found.output * (1 - end.nudge), view, end.zero_point)
    sheet.steps[name] = exact | sheet.described(target, found.output)
    if target.dtype is dtype.int8:
        kept = clamped(sheet, sheet.port(target.name, view), target, bounds, layer.name)
        sheet.bind(target.name, kept, view)


def plus(sheet: QdqSheet, port: Port, constant: np.ndarray, unit: np.ndarray, name: str) -> Port:
    """Return real values with a constant, in units of the accumulator, added."""
    if not np.any(constant):
        return port
    value = np.asarray(constant * unit, np.float32)
    node = sheet.constant(per_channel(value, rows=False), f"{name}_constant")
    return Port(sheet.add(Add(), port, node, name=f"{name}_constant_added"))


def clipped(
    sheet: QdqSheet, layer: Layer, port: Port, bounds: tuple[np.ndarray, np.ndarray]
) -> Port:
    """Return real values within the bounds of a 16 or 32-bit output."""
    target = sheet.network.tensor(layer.output)
    lower, upper = (np.asarray(bound, np.int64) - target.zero_point for bound in bounds)
    least, most = target.dtype.min, target.dtype.max
    if isinstance(layer, Affine) and _shifts_right(layer.requantization):
        inputs = [sheet.network.tensor(name) for name in layer.inputs]
        reach = int(largest_sums(layer, inputs).max()) + abs(layer.requantization.offset) + 1
        least, most = max(least, -reach), min(most, reach)
    if (lower <= least).all() and (upper >= most).all():
        return port
    unit = sheet.unit(target)
    if unit.ndim or upper.ndim:
        raise UnsupportedError(
            f"{layer}: it has bounds and scales by channel at a {target.dtype.value} output; "
            "use an int8 output"
        )
    low = -np.inf if lower <= target.dtype.min else float(unit * lower)
    high = np.inf if upper >= target.dtype.max else float(unit * upper)
    return Port(sheet.add(Clip(low, high), port, name=f"{layer.name}_clip"))


def _shifts_right(form: Requantization) -> bool:
    return form.multiplier is None and bool((form.shift >= 0).all())


def _checked(layer: Any, end: End) -> End:
    if np.abs(end.constant).max() > INT32:
        raise UnsupportedError(
            f"{layer}: its bias without rounding constants leaves int32; use a larger output range"
        )
    return end
