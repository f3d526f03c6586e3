"""What the kernels for pairs of 16 bits share: when they serve, and how they are called."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.export.affine import residual_arguments, weight_scale
from aidge_quant.export.program import Program, shape_text, suffix_of, type_of
from aidge_quant.export.scaling import add_scaling, scaling_form
from aidge_quant.integer.layers import Affine, Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import Requantization
from aidge_quant.memory.needs import Needs

# The second of two channels has its sum 256 times in an accumulator: it is shifted by 8 first.
_LARGEST_SHIFT = 23


@dataclass(frozen=True)
class Rule:
    """How layers of a class get a kernel.

    Attributes
    ----------
    fits : callable (layer, network) -> bool
        Whether the kernel computes this layer.
    needs : callable (layer, network) -> Needs
    add : callable (layer, program)
        Adds parameters and call to the program.
    """

    fits: Callable[[Any, IntegerNetwork], bool]
    needs: Callable[[Any, IntegerNetwork], Needs]
    add: Callable[[Any, Program], None]


def ends_in_a_shift(layer: Layer, step: Requantization, network: IntegerNetwork) -> bool:
    """Whether one right shift, at most 23, or nothing at all leads to the output."""
    form = scaling_form(step, network.tensor(layer.output).dtype)
    return form in ("", "raw") and int(step.shift.max()) <= _LARGEST_SHIFT


#: Bounds of a type that one saturation sets, its name in the C, and the ending of a kernel's name.
_SATURATIONS = {
    (dtype.int8, -128, 127): "ssat",
    (dtype.int8, 0, 127): "usat",
    (dtype.int16, -(1 << 15), (1 << 15) - 1): "ssat16",
    (dtype.int16, 0, (1 << 15) - 1): "usat15",
}

#: Endings of the names of kernels by `saturation`.
ENDINGS = {"ssat": "", "usat": "_relu", "ssat16": "", "usat15": "_relu", "": "_clip"}


def saturation(step: Requantization, output: dtype) -> str:
    """Return the operation that sets the bounds in one instruction, or "" if it takes more."""
    return "" if step.capped else _SATURATIONS.get((output, *step.bounds), "")


def add_call(
    template: str,
    layer: Affine,
    program: Program,
    record: str,
    weights: tuple[str, np.ndarray, str],
    ending: str,
    flags: dict[str, Any],
) -> None:
    """Add the parameters of a layer and its call; ``weights`` are type, values and their order."""
    network = program.network
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    type_, values, order = weights
    text = f"{layer.weight_dtype.value} weights {shape_text(layer.weight.shape)} {order}"
    text = f"{text}, {weight_scale(layer, x, y)}"
    weight = program.constant(layer, "weight", type_, values, text)
    text = f"bias, {layer.bias.size} channels"
    bias = program.constant(layer, "bias", "int32_t", layer.bias, text)
    added, extra = residual_arguments(program, layer)
    scaling = add_scaling(program, layer, layer.requantization)
    suffix = suffix_of(x) + ("" if y.dtype is x.dtype else f"_{suffix_of(y)}")
    suffix += "_residual" if extra["residual"] else ""
    suffix += "_by_channel" if extra["residual_channel"] else ""
    suffix += scaling.suffix
    saturate = saturation(layer.requantization, y.dtype)
    suffix += "" if scaling.fields["raw"] else ENDINGS[saturate]
    program.call(
        template,
        suffix + ending,
        {"x": type_of(x), "y": type_of(y), "saturate": saturate} | flags | extra | scaling.fields,
        (
            *(record, program.pointer(x.name), weight, bias, program.scratch(layer)),
            *(*added, *scaling.arguments, program.pointer(y.name)),
        ),
    )
