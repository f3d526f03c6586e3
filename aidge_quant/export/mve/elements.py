"""Layers that compute one value from one or two, and sums over windows: 8 or 4 values at once."""

from aidge_quant.dtypes import dtype
from aidge_quant.export.affine import window_fields
from aidge_quant.export.mve.rule import ends_in_a_shift, last_step
from aidge_quant.export.program import Program
from aidge_quant.integer.layers import Add, AveragePool, Rescale
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs
from aidge_quant.memory.values import replaceable_inputs

# Sums stay in 16 bits where they cannot leave them; a shift of 16 or more would leave nothing.
_NARROW = 32767


def _all_int8(layer: Add | Rescale | AveragePool, network: IntegerNetwork) -> bool:
    kinds = {network.tensor(name).dtype for name in (*layer.inputs, layer.output)}
    return kinds == {dtype.int8}


def fits(layer: Add | Rescale, network: IntegerNetwork) -> bool:
    """Whether the kernel computes this layer."""
    return _all_int8(layer, network) and ends_in_a_shift(layer, layer.requantization, network)


def needs(layer: Add | Rescale, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    return Needs(behind=dict.fromkeys(layer.inputs, 0))


def _lanes(layer: Add | Rescale, multipliers: tuple[int, ...]) -> int:
    """Return how many values are computed at once: 8 in 16 bits where sums fit, else 4."""
    largest = abs(layer.bias) + 128 * sum(abs(multiplier) for multiplier in multipliers)
    narrow = largest <= _NARROW and int(layer.requantization.shift.max()) < 16
    return 8 if narrow else 4


def _add_elements(
    template: str, layer: Add | Rescale, program: Program, multipliers: tuple[int, ...]
) -> None:
    lanes = _lanes(layer, multipliers)
    fields = {"bias": layer.bias, **last_step(layer.requantization)}
    for name, multiplier in zip("ab", multipliers, strict=False):
        fields[f"multiplier_{name}"] = multiplier
    record = program.record(layer, "shape", f"mve_{template}", fields)
    pointers = [program.pointer(name) for name in (*layer.inputs, layer.output)]
    size = program.network.tensor(layer.output).size
    suffix = "s8" if lanes == 8 else "s8_wide"
    program.call(
        f"mve/{template}", suffix, {"lanes": lanes, "bits": 128 // lanes}, (record, size, *pointers)
    )


def add_add(layer: Add, program: Program) -> None:
    """Add the call."""
    _add_elements("add", layer, program, layer.multipliers)


def add_rescale(layer: Rescale, program: Program) -> None:
    """Add the call."""
    _add_elements("rescale", layer, program, (layer.multiplier,))


def pool_fits(layer: AveragePool, network: IntegerNetwork) -> bool:
    """Whether the kernel computes this layer: nothing outside, sums that fit 16 bits."""
    step, size = layer.requantization, layer.window[0] * layer.window[1]
    return (
        _all_int8(layer, network)
        and (size >= 3 if step is None else ends_in_a_shift(layer, step, network))
        and not any(layer.padding)
        and size * 128 <= _NARROW
    )


def pool_needs(layer: AveragePool, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    return Needs(behind=dict.fromkeys(replaceable_inputs(layer, network), 0))


def add_average_pool(layer: AveragePool, program: Program) -> None:
    """Add the call.

    Notes
    -----
    A mean is ``floor(s / n)`` with n at least 3 and below 2**8. 256 * n is added to the sum and 256
    taken off the quotient, so that 0 <= s < 2**17. Then floor(s * ceil(2**32 / n) / 2**32) is
    exact: the factor is too large by less than 1, the quotient by less than s / 2**32 < 1 / n.
    """
    step, size = layer.requantization, layer.window[0] * layer.window[1]
    if step is None:
        last = {
            "bias": size // 2 + (256 - layer.zero_point) * size,
            "shift": 0,
            "factor": -(-(1 << 32) // size),
            "offset": layer.zero_point - 256,
            "lower": layer.lower,
            "upper": layer.upper,
        }
    else:
        last = {"bias": layer.bias, "factor": 0, "offset": 0, **last_step(step)}
    fields = window_fields(layer, program, layer.window, layer.stride) | last
    record = program.record(layer, "shape", "mve_avg_pool", fields)
    pointers = (program.pointer(layer.inputs[0]), program.pointer(layer.output))
    mean = step is None
    suffix = "s8_mean" if mean else "s8"
    program.call("mve/avg_pool", suffix, {"mean": mean}, (record, *pointers))
