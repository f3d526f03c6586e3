"""Layers with weights in the QDQ form."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Port
from aidge_quant.integer import layers
from aidge_quant.integer.bounds import largest_sums
from aidge_quant.integer.requantization import HALF_UP
from aidge_quant.interchange.geometry import onnx_weight, row_axes, row_weight, weight_sums
from aidge_quant.interchange.moves import ends
from aidge_quant.interchange.qdq.ends import end_of, finish, units, without_ties
from aidge_quant.interchange.qdq.sheet import POWER_OF_TWO, QdqSheet, as_float32
from aidge_quant.interchange.sheet import View, plain
from aidge_quant.ops import FC, Add, Conv, ConvTranspose, DequantizeLinear, Operator, Sub

#: Largest weight that is doubled: 2 * 63 is an int8.
DOUBLED = 63
#: Bound of an accumulator that is doubled, the rounding constant and zero point aside.
ROOM = 2**30


def draw_windows(sheet: QdqSheet, layer: Any) -> None:
    """Draw a convolution, depthwise or not."""
    source, _ = ends(sheet, layer)
    groups = layer.groups if isinstance(layer, layers.Convolution) else source.channels
    operator = Conv(layer.stride, layer.dilation, layer.padding, groups)
    bias = layer.bias.astype(np.int64) + layer.pad_value * weight_sums(layer)
    _draw(sheet, layer, operator, lambda unit: sheet.real(source, unit), bias)


def draw_transposed(sheet: QdqSheet, layer: layers.TransposedConvolution) -> None:
    """Draw a transposed convolution; a negative pad at the end is ONNX's output_padding."""
    source, _ = ends(sheet, layer)
    top, left, bottom, right = layer.padding
    padding = (top, left, max(bottom, 0), max(right, 0))
    extra = (max(-bottom, 0), max(-right, 0))
    operator = ConvTranspose(layer.stride, layer.dilation, padding, extra, layer.groups)
    bias = layer.bias.astype(np.int64)
    _draw(sheet, layer, operator, lambda unit: sheet.real(source, unit), bias)


def draw_fully_connected(sheet: QdqSheet, layer: layers.FullyConnected) -> None:
    """Draw Gemm over one row, MatMul over several, in the stored order."""
    source, target = ends(sheet, layer)
    outputs, inputs = layer.weight.shape
    row, axes = source.size == inputs, row_axes(layer, source)
    view = View((*axes, inputs), tuple(range(len(axes) + 1)))
    bias = layer.bias.astype(np.int64) + source.zero_point * weight_sums(layer)
    if row:
        layer = replace(layer, weight=row_weight(layer, source))

    def data(unit: np.ndarray) -> Port:
        return sheet.real(source, unit, None if row else view, row=row)

    def shaped(port: Port) -> Port:
        return sheet.reshaped(port, (*axes, outputs), target.shape, layer.name)

    _draw(sheet, layer, FC(), data, bias, shaped)


def _draw(
    sheet: QdqSheet,
    layer: Any,
    operator: Operator,
    data: Callable[[np.ndarray], Port],
    bias: np.ndarray,
    shaped: Callable[[Port], Port] | None = None,
) -> None:
    """Draw a layer with weights.

    Parameters
    ----------
    operator : Operator
    data : callable
        Returns the real input for the unit of its integers.
    bias : int64 array (out,)
        The layer's without what the zero point of the input added.
    shaped : callable, optional
        Gives the output of the operator the stored shape, for layers that keep the stored order.
    """
    source, target = ends(sheet, layer)
    view = plain(target.shape) if shaped else None
    if layer.residual is not None:
        other = sheet.network.tensor(layer.inputs[1])
        bias = bias + layer.residual.astype(np.int64) * other.zero_point
    end = end_of(layer, target, bias)
    odd = _may_be_odd(sheet, layer)
    if odd:
        end = replace(end, factor=end.factor / 2, constant=2 * end.constant + 1)
    else:
        end = without_ties(layer, target, end)
    weight = 2 * layer.weight if odd else layer.weight
    kind = dtype.int8 if odd else layer.weight_dtype
    unit_in = sheet.unit(source)
    unit_acc = units(sheet, target, end).accumulator
    unit_weight = np.asarray(unit_acc / unit_in)
    values = onnx_weight(replace(layer, weight=weight)).astype(kind.numpy)
    inputs = [data(unit_in), _weight(sheet, layer, operator, values, kind, unit_weight)]
    if np.any(end.constant):
        constant = np.broadcast_to(end.constant, bias.shape).astype(np.int32)
        inputs.append(_bias(sheet, layer, constant, unit_in, unit_weight))
    found = Port(sheet.add(operator, *inputs, name=layer.name))
    found = shaped(found) if shaped else found
    numbers: dict[str, Any] = {}
    if layer.residual is not None:
        factors = layer.residual.astype(np.int64) * (2 if odd else 1)
        magnitude = np.abs(factors)
        numbers["residual"] = magnitude.tolist() if factors.size > 1 else int(magnitude[0])
        if not (factors > 0).all() and not (factors < 0).all():
            raise UnsupportedError(
                f"{layer}: its residual is added in some channels and subtracted in others; "
                "lower the network again"
            )
        residual = sheet.real(other, _one_if_equal(unit_acc * np.abs(factors)), view)
        sum_up = Add() if factors.flat[0] > 0 else Sub()
        found = Port(sheet.add(sum_up, found, residual, name=f"{layer.name}_with_residual"))
    finish(sheet, layer, found, end, view, **numbers)


def _may_be_odd(sheet: QdqSheet, layer: layers.Affine) -> bool:
    """Whether a layer is written with doubled weights and an odd bias.

    With power-of-two scales 4-bit weights stay 4-bit ones: there the nudge does the same.
    """
    form = layer.requantization
    inputs = [sheet.network.tensor(name) for name in layer.inputs]
    keeps = layer.weight_dtype is dtype.int4 and sheet.options.scales == POWER_OF_TWO
    return bool(
        sheet.options.odd_accumulators
        and not keeps
        and form.multiplier is None
        and form.rounding == HALF_UP
        and (form.shift >= 1).all()
        and np.abs(layer.weight).max(initial=0) <= DOUBLED
        and int(largest_sums(layer, inputs).max()) + (256 << int(form.shift.max())) < ROOM
    )


def _one_if_equal(values: np.ndarray) -> np.ndarray:
    """Return one value where all are equal but for the rounding of float64."""
    flat = np.atleast_1d(values)
    if np.all(np.abs(flat - flat[0]) <= 1e-12 * np.abs(flat[0])):
        return flat[0].reshape(())
    return flat


def _weight(
    sheet: QdqSheet,
    layer: Any,
    operator: Operator,
    values: np.ndarray,
    kind: dtype,
    unit: np.ndarray,
) -> Port:
    transposed = isinstance(operator, ConvTranspose)
    if unit.size > 1 and transposed and layer.groups > 1:
        raise UnsupportedError(
            f"{layer}: a grouped transposed convolution has scales by channel, which "
            "DequantizeLinear cannot say; quantize it tensor by tensor"
        )
    scales = as_float32(unit)
    name = f"{layer.name}_weight"
    return Port(
        sheet.add(
            DequantizeLinear((1 if transposed else 0) if scales.ndim else 1),
            sheet.constant(values, name, kind),
            sheet.constant(scales, f"{name}_scale"),
            sheet.constant(np.zeros(scales.shape, kind.numpy), f"{name}_zero_point", kind),
            name=f"{name}_dequantized",
        )
    )


def _bias(
    sheet: QdqSheet, layer: Any, constant: np.ndarray, unit_in: np.ndarray, unit_weight: np.ndarray
) -> Port:
    """Return the bias on the scale that an engine expects: float32(s_in) * float32(s_w)."""
    scales = np.asarray(np.float32(unit_in) * as_float32(unit_weight))
    name = f"{layer.name}_bias"
    return Port(
        sheet.add(
            DequantizeLinear(0 if scales.ndim else 1),
            sheet.constant(constant, name, dtype.int32),
            sheet.constant(scales, f"{name}_scale"),
            name=f"{name}_dequantized",
        )
    )
