"""Sums, products, means and rescales in the QDQ form."""

from dataclasses import replace

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Port
from aidge_quant.integer import layers
from aidge_quant.integer.requantization import HALF_UP
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.moves import clamped, ends
from aidge_quant.interchange.qdq.ends import (
    End,
    clipped,
    end_of,
    finish,
    nudge,
    plus,
    units,
    without_ties,
)
from aidge_quant.interchange.qdq.sheet import QdqSheet
from aidge_quant.ops import Add, AveragePool, GlobalAveragePool, Mul, Operator, Sub


def draw_add(sheet: QdqSheet, layer: layers.Add) -> None:
    """Draw a sum, or a difference, of inputs dequantized to the units of the accumulator.

    A constant becomes part of the zero points of the inputs where it can.
    """
    tensors = [sheet.network.tensor(name) for name in layer.inputs]
    target = sheet.network.tensor(layer.output)
    factors = [int(factor) for factor in layer.multipliers]
    zeros = sum(f * tensor.zero_point for f, tensor in zip(factors, tensors, strict=True))
    end = without_ties(layer, target, end_of(layer, target, layer.bias + zeros), *factors)
    if max(factors) < 0:
        raise UnsupportedError(f"{layer}: both its inputs are subtracted, expected one at most")
    unit = units(sheet, target, end).accumulator
    below = _split(int(end.constant), factors, tensors)
    parts = [
        sheet.real(tensor, np.asarray(unit * abs(factor)), below=steps)
        for factor, tensor, steps in zip(factors, tensors, below or (0, 0), strict=True)
    ]
    if factors[0] < 0:
        parts.reverse()
    operator: Operator = Sub() if min(factors) < 0 else Add()
    found = Port(sheet.add(operator, *parts, name=layer.name))
    if below is None:
        found = plus(sheet, found, end.constant, unit, layer.name)
    finish(sheet, layer, found, end, inputs=[abs(factor) for factor in factors])


def _split(
    constant: int, factors: list[int], tensors: list[IntegerTensor]
) -> tuple[int, int] | None:
    """Return how far below each zero point must be moved to add ``constant``; None if it cannot."""
    if any(tensor.dtype is not dtype.int8 for tensor in tensors):
        return (0, 0) if constant == 0 else None
    ranges = [
        range(tensor.zero_point - tensor.dtype.max, tensor.zero_point - tensor.dtype.min + 1)
        for tensor in tensors
    ]
    for first in sorted(ranges[0], key=abs):
        rest = constant - first * factors[0]
        if rest % factors[1] == 0 and rest // factors[1] in ranges[1]:
            return first, rest // factors[1]
    return None


def draw_multiply(sheet: QdqSheet, layer: layers.Multiply) -> None:
    """Draw a product; the second input carries what is left of the scale."""
    first, second = (sheet.network.tensor(name) for name in layer.inputs)
    target = sheet.network.tensor(layer.output)
    end = without_ties(layer, target, end_of(layer, target, layer.bias), int(layer.multiplier))
    unit = units(sheet, target, end).accumulator
    left = sheet.unit(first)
    port = sheet.real(second, np.asarray(unit * layer.multiplier / left))
    if second.shape != first.shape and len(first.shape) == 3 and len(second.shape) == 1:
        port = sheet.reshaped(port, second.shape, (second.channels, 1, 1), second.name)
    found = Port(sheet.add(Mul(), sheet.real(first, left), port, name=layer.name))
    found = plus(sheet, found, end.constant, unit, layer.name)
    finish(sheet, layer, found, end, inputs=[layer.multiplier])


def draw_rescale(sheet: QdqSheet, layer: layers.Rescale) -> None:
    """Draw DequantizeLinear and QuantizeLinear with two scales."""
    source, target = ends(sheet, layer)
    bias = layer.bias + layer.multiplier * source.zero_point
    end = without_ties(layer, target, end_of(layer, target, bias), int(layer.multiplier))
    unit = units(sheet, target, end).accumulator
    found = sheet.real(source, np.asarray(unit * layer.multiplier))
    found = plus(sheet, found, end.constant, unit, layer.name)
    finish(sheet, layer, found, end, inputs=[layer.multiplier])


def draw_average(sheet: QdqSheet, layer: layers.AveragePool) -> None:
    """Draw a mean of real values; 1 / N is part of the scales where the layer sums."""
    if layer.requantization is None:
        _draw_mean(sheet, layer)
        return
    source, target = ends(sheet, layer)
    count = layer.window[0] * layer.window[1]
    bias = layer.bias + count * layer.zero_point
    end = without_ties(layer, target, end_of(layer, target, bias))
    unit = units(sheet, target, end).accumulator
    below, end = _into_zero_point(layer, source, end, count)
    data = sheet.real(source, np.asarray(unit * count), below=below)
    found = Port(sheet.add(_operator(layer, source, True), data, name=layer.name))
    found = plus(sheet, found, end.constant, unit, layer.name)
    finish(sheet, layer, found, end, inputs=[1])


def _into_zero_point(
    layer: layers.AveragePool, source: IntegerTensor, end: End, count: int
) -> tuple[int, End]:
    """Return how far below the input's zero point is taken, and what is left of the end."""
    below, rest = divmod(int(end.constant), count)
    fits = source.dtype is dtype.int8 and -127 <= below <= source.zero_point + 128
    if rest or any(layer.padding) or not fits:
        return 0, end
    return below, replace(end, constant=np.asarray(0, np.int64))


def _draw_mean(sheet: QdqSheet, layer: layers.AveragePool) -> None:
    """Draw a mean that keeps the input's scale, rounded half up.

    The mean of the stored values above the least one is not negative, and positions outside do not
    count, or are 0 where the zero point is that least value.
    """
    source, target = ends(sheet, layer)
    unit = sheet.unit(source)
    lifts = source.dtype is dtype.int8 and not (any(layer.padding) and layer.count_include_pad)
    lift = source.zero_point - source.dtype.min if lifts else 0
    data = sheet.real(source, unit, below=lift)
    operator = _operator(layer, source, layer.count_include_pad)
    found = Port(sheet.add(operator, data, name=layer.name))
    count = layer.window[0] * layer.window[1]
    amount = nudge(1 / (2 * count)) if source.dtype is dtype.int8 else 0.0
    zero_point = layer.zero_point - lift
    if target.dtype is not dtype.int8:
        found = clipped(sheet, layer, found, (np.asarray(layer.lower), np.asarray(layer.upper)))
    name = sheet.store(target, found, unit * (1 - amount), zero_point=zero_point)
    exact = {"factor": 1 / count, "rounding": HALF_UP, "shift": False}
    sheet.steps[name] = exact | sheet.described(target, unit)
    bounds = (np.asarray(layer.lower), np.asarray(layer.upper))
    if target.dtype is dtype.int8:
        kept = clamped(sheet, sheet.port(target.name), target, bounds, layer.name)
        sheet.bind(target.name, kept)


def _operator(
    layer: layers.AveragePool, source: IntegerTensor, count_include_pad: bool
) -> Operator:
    if layer.window == source.shape[:2] and not any(layer.padding):
        return GlobalAveragePool()
    return AveragePool(layer.window, layer.stride, (1, 1), layer.padding, False, count_include_pad)
