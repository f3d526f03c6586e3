"""Layers that compute one value from one or two, four at a time."""

from aidge_quant.dtypes import dtype
from aidge_quant.export.dsp.rule import ENDINGS, ends_in_a_shift, saturation
from aidge_quant.export.program import Program, suffix_of, type_of
from aidge_quant.export.scaling import add_scaling
from aidge_quant.integer.layers import Add, Rescale
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs


def fits(layer: Add | Rescale, network: IntegerNetwork) -> bool:
    """Whether the kernel computes this layer."""
    kinds = {network.tensor(name).dtype for name in (*layer.inputs, layer.output)}
    return kinds == {dtype.int8} and ends_in_a_shift(layer, layer.requantization, network)


def needs(layer: Add | Rescale, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    return Needs(behind=dict.fromkeys(layer.inputs, 0))


def _add_elements(
    template: str, layer: Add | Rescale, program: Program, arguments: tuple[str | int, ...]
) -> None:
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    scaling = add_scaling(program, layer, layer.requantization)
    saturate = saturation(layer.requantization, y.dtype)
    program.call(
        template,
        suffix_of(x) + scaling.suffix + ENDINGS[saturate],
        {"x": type_of(x), "y": type_of(y), "saturate": saturate} | scaling.fields,
        (y.size, *arguments, layer.bias, *scaling.arguments, program.pointer(y.name)),
    )


def add_add(layer: Add, program: Program) -> None:
    """Add the call."""
    a, b = (program.pointer(name) for name in layer.inputs)
    arguments = (a, layer.multipliers[0], b, layer.multipliers[1])
    _add_elements("dsp/add", layer, program, arguments)


def add_rescale(layer: Rescale, program: Program) -> None:
    """Add the call."""
    arguments = (program.pointer(layer.inputs[0]), layer.multiplier)
    _add_elements("dsp/rescale", layer, program, arguments)
