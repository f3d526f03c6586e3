"""Types and ranges of what a layer holds: weights, biases, requantization, numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, GraphError, ShapeError
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import HALF_EVEN, HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor

ParameterRule = Callable[[Any, Sequence[IntegerTensor], IntegerTensor], None]

WEIGHT_TYPES = (dtype.int4, dtype.int8, dtype.int16)
#: Shifts of the single-shift form and of the multiplier form.
SHIFTS = ((-30, 30), (1, 62))
MULTIPLIERS = (1 << 30, (1 << 31) - 1)


def _number(layer: Layer, field: str, value: object, lower: int, upper: int) -> None:
    if not isinstance(value, int | np.integer) or not lower <= value <= upper:
        raise DataError(f"{layer}: {field} is {value}, expected an integer {lower} to {upper}")


def _of_type(layer: Layer, field: str, value: object, kind: dtype) -> None:
    _number(layer, field, value, kind.min, kind.max)


def _array(layer: Layer, field: str, array: np.ndarray, kind: dtype, shape: tuple | None) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != kind.numpy:
        came = getattr(array, "dtype", type(array).__name__)
        raise DtypeError(f"{layer}: {field} is {came}, expected {kind.numpy}")
    if shape is not None and array.shape != shape:
        raise ShapeError(f"{layer}: {field} has shape {array.shape}, expected {shape}")
    if array.size == 0:
        raise ShapeError(f"{layer}: {field} has shape {array.shape}, which holds no value")


def _within(layer: Layer, field: str, array: np.ndarray, lower: int, upper: int) -> None:
    least, most = int(array.min()), int(array.max())
    if least < lower or most > upper:
        raise DataError(f"{layer}: {field} holds {least} to {most}, expected {lower} to {upper}")


def _caps(layer: Layer, lower: int, upper: np.ndarray, output: IntegerTensor) -> None:
    _array(layer, "upper", upper, dtype.int32, (output.channels,))
    _of_type(layer, "lower", lower, output.dtype)
    _within(layer, "upper", upper, lower, output.dtype.max)


def _clip(layer: Layer, lower: int, upper: int, output: IntegerTensor) -> None:
    _of_type(layer, "upper", upper, output.dtype)
    _number(layer, "lower", lower, output.dtype.min, upper)


def _zero_point(layer: Layer, field: str, value: int, tensor: IntegerTensor) -> None:
    if value != tensor.zero_point:
        raise GraphError(
            f"{layer}: {field} is {value}, expected {tensor.zero_point}, the zero point of "
            f"{tensor.name}"
        )


def requantization(
    layer: Layer, step: Requantization, output: IntegerTensor, channels: int
) -> None:
    """Raise unless the requantization is one of the contract for ``channels`` and the output."""
    scaled = step.multiplier is not None
    shapes = {(1,), (channels,)}
    _array(layer, "shift", step.shift, dtype.int8, None)
    if step.shift.shape not in shapes:
        raise ShapeError(
            f"{layer}: shift has shape {step.shift.shape}, expected (1,) or ({channels},)"
        )
    _within(layer, "shift", step.shift, *SHIFTS[scaled])
    if step.multiplier is not None:
        _array(layer, "multiplier", step.multiplier, dtype.int32, step.shift.shape)
        _within(layer, "multiplier", step.multiplier, *MULTIPLIERS)
    if step.rounding not in (HALF_UP, HALF_EVEN):
        raise GraphError(
            f"{layer}: rounding is {step.rounding!r}, expected {HALF_UP!r} or {HALF_EVEN!r}"
        )
    _of_type(layer, "offset", step.offset, dtype.int32)
    if not isinstance(step.upper, np.ndarray):
        _clip(layer, step.lower, step.upper, output)
    elif isinstance(layer, layers.Affine):
        _caps(layer, step.lower, step.upper, output)
    else:
        raise DataError(f"{layer}: upper is an array, expected one bound for all channels")


def affine(layer: layers.Affine, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> None:
    """Check weight, bias, residual and requantization."""
    if layer.weight_dtype not in WEIGHT_TYPES:
        raise DtypeError(
            f"{layer}: weight_dtype is {layer.weight_dtype}, expected int4, int8 or int16"
        )
    _array(layer, "weight", layer.weight, layer.weight_dtype, None)
    _within(layer, "weight", layer.weight, -layer.weight_dtype.max, layer.weight_dtype.max)
    _array(layer, "bias", layer.bias, dtype.int32, (output.channels,))
    requantization(layer, layer.requantization, output, output.channels)
    _residual(layer, inputs, output)


def _residual(layer: layers.Affine, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> None:
    if len(inputs) != (1 if layer.residual is None else 2):
        without = " without residual" if layer.residual is None else " with residual"
        raise GraphError(
            f"{layer}: reads {len(inputs)} tensors{without}, expected {3 - len(inputs)}"
        )
    if layer.residual is None:
        return
    shape = (1,) if layer.residual.shape == (1,) else (output.channels,)
    _array(layer, "residual", layer.residual, dtype.int32, shape)
    if (layer.residual == 0).any():
        raise DataError(f"{layer}: residual holds 0, expected factors that are not 0")
    if inputs[1].shape != output.shape:
        raise ShapeError(
            f"{layer}: the residual {inputs[1].name} has shape {inputs[1].shape}, expected "
            f"{output.shape}, that of the output"
        )


def padded(
    layer: layers.Convolution | layers.DepthwiseConvolution,
    inputs: Sequence[IntegerTensor],
    output: IntegerTensor,
) -> None:
    """Check an affine layer that reads ``pad_value`` outside."""
    affine(layer, inputs, output)
    _zero_point(layer, "pad_value", layer.pad_value, inputs[0])


def transposed(
    layer: layers.TransposedConvolution, inputs: Sequence[IntegerTensor], output: IntegerTensor
) -> None:
    """Check an affine layer that subtracts its input's zero point."""
    affine(layer, inputs, output)
    _zero_point(layer, "input_zero_point", layer.input_zero_point, inputs[0])


def add(layer: layers.Add, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> None:
    """Check multipliers, bias and requantization."""
    if len(layer.multipliers) != 2 or 0 in layer.multipliers:
        raise DataError(
            f"{layer}: multipliers are {layer.multipliers}, expected two that are not 0"
        )
    for multiplier in layer.multipliers:
        _number(layer, "multiplier", multiplier, -32767, 32767)
    _of_type(layer, "bias", layer.bias, dtype.int32)
    requantization(layer, layer.requantization, output, 1)


def multiply(
    layer: layers.Multiply, inputs: Sequence[IntegerTensor], output: IntegerTensor
) -> None:
    """Check multiplier, zero points, bias and requantization."""
    _number(layer, "multiplier", layer.multiplier, 1, 32767)
    for i, tensor in enumerate(inputs):
        _zero_point(layer, f"zero_points[{i}]", layer.zero_points[i], tensor)
    _of_type(layer, "bias", layer.bias, dtype.int32)
    requantization(layer, layer.requantization, output, 1)


def rescale(layer: layers.Rescale, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> None:
    """Check multiplier, bias and requantization."""
    _number(layer, "multiplier", layer.multiplier, 1, 32767)
    _of_type(layer, "bias", layer.bias, dtype.int32)
    requantization(layer, layer.requantization, output, 1)


def average(
    layer: layers.AveragePool, inputs: Sequence[IntegerTensor], output: IntegerTensor
) -> None:
    """Check what either form of the pool uses."""
    _zero_point(layer, "zero_point", layer.zero_point, inputs[0])
    if layer.requantization is not None:
        _of_type(layer, "bias", layer.bias, dtype.int32)
        requantization(layer, layer.requantization, output, 1)
        return
    if output.dtype is not inputs[0].dtype:
        raise DtypeError(
            f"{layer}: output is {output.dtype.value}, expected {inputs[0].dtype.value}, the type "
            "of the input, where there is no requantization"
        )
    _number(layer, "bias", layer.bias, 0, 0)
    _clip(layer, layer.lower, layer.upper, output)


def clamp(layer: layers.Clamp, _: object, output: IntegerTensor) -> None:
    """Check the bounds."""
    _clip(layer, layer.lower, layer.upper, output)


def lookup(layer: layers.Lookup, *_: Any) -> None:
    """Check the table's type."""
    _array(layer, "table", layer.table, dtype.int8, None)


def pad(layer: layers.Pad, _: object, output: IntegerTensor) -> None:
    """Check the value."""
    _of_type(layer, "value", layer.value, output.dtype)


def resize(layer: layers.Resize, *_: object) -> None:
    """Check the types of the index lists."""
    _array(layer, "rows", layer.rows, dtype.int32, None)
    _array(layer, "columns", layer.columns, dtype.int32, None)


def nothing(*_: object) -> None:
    """Check a layer whose numbers its shape rule has checked."""
