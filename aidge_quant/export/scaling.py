"""The last step of a layer in C: which function requantizes, and what it is given."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.export import ctext
from aidge_quant.export.program import Program
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import HALF_EVEN, Requantization


@dataclass(frozen=True)
class Scaling:
    """How a kernel gets from the accumulator to the stored value.

    Attributes
    ----------
    fields : dict
        For the kernel template: ``raw`` (nothing to do), ``requantize`` (name of the C function),
        ``per_channel``, ``multiplier`` and ``offset`` (whether the function takes one), ``cap``
        (C type of the upper bounds by channel, or "").
    suffix : str
        Ending of the kernel's name: "" for the plain single shift.
    arguments : tuple of str
        The upper bounds by channel if there are any, and the address of the record; or nothing.
    """

    fields: dict[str, object]
    suffix: str
    arguments: tuple[str, ...]


def add_scaling(program: Program, layer: Layer, requantization: Requantization) -> Scaling:
    """Add the constants and the record of a requantization to ``program``."""
    form = scaling_form(requantization, program.network.tensor(layer.output).dtype)
    per_channel = requantization.per_channel and form != "raw"
    scale = form in ("scale", "scale_even")
    fields: dict[str, object] = {
        "raw": form == "raw",
        "requantize": "requantize" + (f"_{form}" if form else ""),
        "per_channel": per_channel,
        "multiplier": scale,
        "offset": form != "",
        "cap": ctext.c_type(requantization.cap_type.itemsize) if requantization.capped else "",
    }
    suffix = ("_channel" if per_channel else "") + (f"_{form}" if form and form != "raw" else "")
    if form == "raw":
        return Scaling(fields, suffix, ())
    caps: tuple[str, ...] = ()
    if isinstance(requantization.upper, np.ndarray):
        suffix += f"_cap{8 * requantization.cap_type.itemsize}"
        values = requantization.upper.astype(requantization.cap_type)
        text = "upper bounds by channel"
        caps = (program.constant(layer, "cap", str(fields["cap"]), values, text),)
    record: dict[str, int | str] = {}
    multiplier, shift = requantization.multiplier, requantization.shift
    if scale and multiplier is not None:
        record["multiplier"] = (
            program.constant(
                layer, "multiplier", "int32_t", multiplier.astype(np.int32), "multipliers"
            )
            if per_channel
            else int(multiplier.flat[0])
        )
    record["shift"] = (
        program.constant(layer, "shift", "int8_t", shift.astype(np.int8), "shifts by channel")
        if per_channel
        else int(shift.flat[0])
    )
    record["offset"] = requantization.offset
    record["lower"], record["upper"] = requantization.bounds
    kind = "channel_scaling" if per_channel else "scaling"
    return Scaling(fields, suffix, (*caps, program.record(layer, "scaling", kind, record)))


def scaling_form(requantization: Requantization, output: dtype) -> str:
    """Return the form of the C function: "", any, even, scale, scale_even, or raw for none."""
    even = requantization.rounding == HALF_EVEN
    if requantization.multiplier is not None:
        return "scale_even" if even else "scale"
    shifts = requantization.shift
    full = requantization.bounds == (output.min, output.max) and not requantization.capped
    if output is dtype.int32 and full and not shifts.any() and requantization.offset == 0:
        return "raw"
    if even:
        return "even"
    # The offset is part of the bias as long as every shift goes to the right.
    return "any" if (shifts < 0).any() or requantization.offset != 0 else ""
