"""What the vector kernels share: when they serve, and the parameters of their channels."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.export.affine import weight_scale
from aidge_quant.export.program import Program, shape_text, suffix_of, type_of
from aidge_quant.export.scaling import scaling_form
from aidge_quant.integer.layers import Affine, Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import Requantization

#: Bytes of a vector.
VECTOR = 16


def ends_in_a_shift(layer: Layer, step: Requantization, network: IntegerNetwork) -> bool:
    """Whether one right shift, or nothing at all, leads to the output."""
    return scaling_form(step, network.tensor(layer.output).dtype) in ("", "raw")


def affine_fits(layer: Affine, network: IntegerNetwork) -> bool:
    """Whether inputs, weights and the last step of a layer are those of the kernels."""
    return (
        network.tensor(layer.inputs[0]).dtype is dtype.int8
        and layer.weight_dtype is dtype.int8
        and ends_in_a_shift(layer, layer.requantization, network)
    )


def scratch_bytes(program: Program, layer: Layer) -> str:
    """Return the C expression of the working memory of a layer, as int8."""
    return program.scratch(layer, 1)


def last_step(step: Requantization) -> dict[str, int]:
    """Return the fields of a record for what all channels have in common."""
    lower, upper = step.bounds
    return {"shift": int(step.shift.flat[0]), "lower": lower, "upper": upper}


def padded(values: np.ndarray, channels: int) -> np.ndarray:
    """Return ``values``, one a channel along the first axis, filled up with zeros."""
    filled = np.zeros((channels, *values.shape[1:]), values.dtype)
    filled[: len(values)] = values
    return filled


def as_words(values: np.ndarray) -> np.ndarray:
    """Return int8 values, four to an int32, the first in the lowest byte; the last axis shrinks."""
    little = np.ascontiguousarray(values.astype(np.int8)).view("<i4")
    return little.astype(np.int32)


def channel_words(layer: Affine, output: dtype) -> tuple[np.ndarray, dict[str, object], str]:
    """Return what the kernels read for every four channels, and how they find it.

    Returns
    -------
    words : int32 array (ceil(channels / 4), words)
        The biases; the shifts, if they differ, negative and in one word; the upper bounds, if they
        differ, in one word for an int8 output and else in four; the factors of the residual, if
        they differ.
    flags : dict
        ``shifts``, ``caps`` (words of bounds: 0, 1, 4), ``residual`` and ``residual_channel``;
        ``words``, and at which of them shifts, bounds and factors are.
    suffix : str
        Ending of the kernel's name for these flags.
    """
    step, factors = layer.requantization, layer.residual
    channels = -(-layer.bias.size // 4) * 4
    by_channel = factors is not None and factors.size > 1
    flags: dict[str, object] = {
        "shifts": step.per_channel,
        "caps": 0 if not step.capped else (1 if output is dtype.int8 else 4),
        "residual": factors is not None,
        "residual_channel": by_channel,
    }
    fours = [padded(layer.bias, channels).reshape(-1, 4)]
    if step.per_channel:
        fours.append(as_words(padded(-step.shift, channels).reshape(-1, 4)))
    if isinstance(step.upper, np.ndarray):
        upper = padded(step.upper.astype(np.int32), channels).reshape(-1, 4)
        fours.append(as_words(upper) if output is dtype.int8 else upper)
    if factors is not None and by_channel:
        fours.append(padded(factors, channels).reshape(-1, 4))
    widths = [four.shape[1] for four in fours]
    flags["words"] = sum(widths)
    flags["shift_at"] = 4
    flags["cap_at"] = 4 + int(step.per_channel)
    flags["factor_at"] = sum(widths) - 4
    suffix = "_residual" if factors is not None else ""
    suffix += "_by_channel" if by_channel else ""
    suffix += "_channel" if step.per_channel else ""
    suffix += "_cap" if step.capped else ""
    return np.concatenate(fours, axis=1, dtype=np.int32), flags, suffix


def add_weights(layer: Affine, program: Program, values: np.ndarray, order: str) -> str:
    """Add the array of the weights and return its C name."""
    x, y = (program.network.tensor(name) for name in (layer.inputs[0], layer.output))
    text = f"int8 weights {shape_text(layer.weight.shape)} {order}, {weight_scale(layer, x, y)}"
    return program.constant(layer, "weight", "int8_t", values, text)


def types(layer: Affine, program: Program) -> tuple[dict[str, object], str]:
    """Return the C types of input and output, and the start of a kernel's name for them."""
    x, y = (program.network.tensor(name) for name in (layer.inputs[0], layer.output))
    suffix = suffix_of(x) + ("" if y.dtype is x.dtype else f"_{suffix_of(y)}")
    return {"x": type_of(x), "y": type_of(y)}, suffix
