"""Layers with weights: their parameters, and their calls."""

from collections.abc import Sequence

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.export import ctext
from aidge_quant.export.program import Program, shape_text, suffix_of, type_of
from aidge_quant.export.scaling import add_scaling
from aidge_quant.integer.layers import (
    Affine,
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    Layer,
    TransposedConvolution,
)
from aidge_quant.integer.tensors import IntegerTensor


def window_fields(
    layer: Layer, program: Program, kernel: Sequence[int], stride: tuple[int, int]
) -> dict[str, int | str]:
    """Return the fields that every kernel with a window has."""
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    return {
        "in_height": x.shape[0],
        "in_width": x.shape[1],
        "channels": x.shape[2],
        "out_height": y.shape[0],
        "out_width": y.shape[1],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": stride[0],
        "stride_x": stride[1],
    }


def _add_affine(
    template: str,
    layer: Affine,
    program: Program,
    first: tuple[str | int, ...],
    shape: str,
    fields: dict[str, object] | None = None,
) -> None:
    """Add the parameters of a layer with weights, and its call: ``first``, then the arrays."""
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    packed = layer.weight_dtype is dtype.int4
    type_ = "uint8_t" if packed else ctext.c_type(layer.weight_dtype.numpy.itemsize)
    values = ctext.pack_int4(layer.weight) if packed else layer.weight
    text = f"{layer.weight_dtype.value} weights, {shape} = {shape_text(layer.weight.shape)}"
    weight = program.constant(
        layer, "weight", type_, values, f"{text}, {weight_scale(layer, x, y)}"
    )
    bias = program.constant(
        layer, "bias", "int32_t", layer.bias, f"bias, {layer.bias.size} channels"
    )
    added, extra = residual_arguments(program, layer)
    scaling = add_scaling(program, layer, layer.requantization)
    suffix = suffix_of(x)
    suffix += "" if layer.weight_dtype is dtype.int8 else f"_w{layer.weight_dtype.bits}"
    suffix += "" if y.dtype is x.dtype else f"_{suffix_of(y)}"
    types = {"x": type_of(x), "y": type_of(y), "w": type_, "packed": packed}
    arguments = (program.pointer(x.name), weight, bias, *added, *scaling.arguments)
    suffix += "_residual" if extra["residual"] else ""
    program.call(
        template,
        suffix + ("_by_channel" if extra["residual_channel"] else "") + scaling.suffix,
        types | extra | (fields or {}) | scaling.fields,
        (*first, *arguments, program.pointer(y.name)),
    )


def residual_arguments(
    program: Program, layer: Affine
) -> tuple[tuple[str | int, ...], dict[str, object]]:
    """Return the arguments for what is added to the accumulator, and the kernel's flags."""
    factors = layer.residual
    flags: dict[str, object] = {"residual": factors is not None, "residual_channel": False}
    if factors is None:
        return (), flags
    added = program.pointer(layer.inputs[1])
    if factors.size == 1:
        return (added, int(factors[0])), flags
    flags["residual_channel"] = True
    text = "factors of the residual by channel"
    return (added, program.constant(layer, "factor", "int32_t", factors, text)), flags


def weight_scale(layer: Affine, x: IntegerTensor, y: IntegerTensor) -> str:
    """Return the real value of one unit of the weights, for a comment."""
    requantization = layer.requantization
    factor = np.exp2(-requantization.shift.astype(np.float64))
    if requantization.multiplier is not None:
        factor = factor * requantization.multiplier
    scales = np.ravel(np.asarray(y.scale) * factor / np.asarray(x.scale))
    if scales.size == 1:
        return f"scale {scales[0]:.6g}"
    return f"scales {scales.min():.6g} to {scales.max():.6g} by channel"


def add_convolution(layer: Convolution, program: Program) -> None:
    """Add the parameters and the call of a Convolution."""
    out, kernel_height, kernel_width, group_in = layer.weight.shape
    shape = window_fields(layer, program, (kernel_height, kernel_width), layer.stride) | {
        "dilation_y": layer.dilation[0],
        "dilation_x": layer.dilation[1],
        "top": layer.padding[0],
        "left": layer.padding[1],
        "groups": layer.groups,
        "group_in": group_in,
        "group_out": out // layer.groups,
        "pad_value": layer.pad_value,
        "dense": int(layer.groups == 1 and (layer.dilation[1] == 1 or kernel_width == 1)),
    }
    outside = layer.pad_value != 0 and any(layer.padding)
    record = program.record(layer, "shape", "conv", shape)
    text = "out x height x width x in"
    _add_affine("conv", layer, program, (record,), text, {"outside": outside})


def add_depthwise_convolution(layer: DepthwiseConvolution, program: Program) -> None:
    """Add the parameters and the call of a DepthwiseConvolution."""
    shape = window_fields(layer, program, layer.weight.shape[:2], layer.stride) | {
        "dilation_y": layer.dilation[0],
        "dilation_x": layer.dilation[1],
        "top": layer.padding[0],
        "left": layer.padding[1],
        "pad_value": layer.pad_value,
    }
    outside = layer.pad_value != 0 and any(layer.padding)
    record = program.record(layer, "shape", "depthwise_conv", shape)
    text = "height x width x channels"
    _add_affine("depthwise_conv", layer, program, (record,), text, {"outside": outside})


def add_transposed_convolution(layer: TransposedConvolution, program: Program) -> None:
    """Add the parameters and the call of a TransposedConvolution."""
    out, kernel_height, kernel_width, group_in = layer.weight.shape
    shape = window_fields(layer, program, (kernel_height, kernel_width), layer.stride) | {
        "dilation_y": layer.dilation[0],
        "dilation_x": layer.dilation[1],
        "top": layer.padding[0],
        "left": layer.padding[1],
        "groups": layer.groups,
        "group_in": group_in,
        "group_out": out // layer.groups,
        "zero_point": layer.input_zero_point,
    }
    record = program.record(layer, "shape", "conv_transpose", shape)
    _add_affine("conv_transpose", layer, program, (record,), "out x height x width x in")


def add_fully_connected(layer: FullyConnected, program: Program) -> None:
    """Add the parameters and the call of a FullyConnected."""
    out, inputs = layer.weight.shape
    rows = program.network.tensor(layer.inputs[0]).size // inputs
    _add_affine("fc", layer, program, (rows, inputs, out), "out x in")
