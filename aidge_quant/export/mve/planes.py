"""Depthwise convolutions of 3 x 3 taps: 16 channels at a time, three of their rows in a ring."""

import numpy as np

from aidge_quant.export.affine import window_fields
from aidge_quant.export.mve.rule import (
    VECTOR,
    affine_fits,
    as_words,
    last_step,
    padded,
    scratch_bytes,
)
from aidge_quant.export.program import Program, shape_text
from aidge_quant.integer.layers import DepthwiseConvolution
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs

TAPS = 3

#: How the channels of a group are spread over four vectors: products come apart by even and odd
#: places, and so do sums where they are widened.
ORDER = np.concatenate([np.arange(first, VECTOR, 4) for first in (0, 2, 1, 3)])

# Products of int8 and weights of -127 to 127 whose weights add up to no more fit 16 bits.
_LARGEST = 255


def fits(layer: DepthwiseConvolution, network: IntegerNetwork) -> bool:
    """Whether the kernel computes this layer."""
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    return (
        layer.weight.shape[:2] == (TAPS, TAPS)
        and layer.dilation == (1, 1)
        and y.dtype is x.dtype
        and layer.residual is None
        and affine_fits(layer, network)
    )


def _pitch(layer: DepthwiseConvolution, network: IntegerNetwork) -> int:
    """Return the bytes from a column of the ring to the next.

    A few channels leave room in a vector for the next columns, where their windows are neighbours.
    """
    channels = network.tensor(layer.inputs[0]).channels
    return channels if channels in (1, 2, 4, 8) and layer.stride[1] == 1 else VECTOR


def _row_bytes(layer: DepthwiseConvolution, network: IntegerNetwork) -> int:
    """Return the bytes of a row of the ring, read in whole vectors."""
    pitch, columns = _pitch(layer, network), _columns(layer, network)
    outputs = network.tensor(layer.output).shape[1]
    vectors = -(-outputs * pitch // VECTOR)
    return max(columns * pitch, vectors * VECTOR + (TAPS - 1) * pitch)


def _columns(layer: DepthwiseConvolution, network: IntegerNetwork) -> int:
    """Return how many columns a row of the ring has, those outside among them."""
    return (network.tensor(layer.output).shape[1] - 1) * layer.stride[1] + TAPS


def needs(layer: DepthwiseConvolution, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    # Of the bytes of its channels, a row of outputs may take those of the rows in the ring.
    rows = np.arange(y.shape[0])
    next_row = rows * layer.stride[0] - layer.padding[0] + TAPS
    left = (next_row < 0) | (next_row < x.shape[0])
    taken = (rows + 1) * y.shape[1] > np.maximum(next_row, 0) * x.shape[1]
    in_place = y.size <= x.size and not (left & taken).any()
    return Needs(TAPS * _row_bytes(layer, network), same=layer.inputs[:1] if in_place else ())


def tap_groups(weight: np.ndarray) -> list[list[int]]:
    """Return which taps are added in 16 bits before the sum is widened: three, or else two.

    Parameters
    ----------
    weight : int8 array (3, 3, channels)
    """
    sums = np.abs(weight.astype(np.int32)).sum(axis=1)
    size = 3 if int(sums.max()) <= _LARGEST else 2
    return [list(range(tap, min(tap + size, 9))) for tap in range(0, 9, size)]


def add_depthwise(layer: DepthwiseConvolution, program: Program) -> None:
    """Add parameters and call."""
    network = program.network
    x = network.tensor(layer.inputs[0])
    step = layer.requantization
    columns, pitch = _columns(layer, network), _pitch(layer, network)
    out_bytes = network.tensor(layer.output).shape[1] * x.channels
    line = pitch < VECTOR
    fields = window_fields(layer, program, (TAPS, TAPS), layer.stride) | {
        "top": layer.padding[0],
        "left": layer.padding[1],
        "pad_value": layer.pad_value,
        "columns": columns,
        "inside": max(0, min(x.shape[1], columns - layer.padding[1])),
        "pitch": pitch,
        "row": _row_bytes(layer, network),
        **last_step(step),
    }
    record = program.record(layer, "shape", "mve_depthwise_conv", fields)
    words, places = _table(layer, pitch)
    text = f"int8 weights {shape_text(layer.weight.shape)}, biases and what else channels have"
    table = program.constant(layer, "table", "int32_t", words, f"{text}, 16 by 16")
    groups = tap_groups(layer.weight)
    flags: dict[str, object] = {
        "groups": groups,
        "line": line,
        "offsets": [tap % TAPS * pitch for tap in range(9)],
        "part": (out_bytes if line else x.channels) % VECTOR != 0,
        "lower": step.lower > -128,
        "upper": not step.capped and step.bounds[1] < 127,
        "words": words.shape[1],
        "shifts": step.per_channel,
        "caps": step.capped,
        **places,
    }
    suffix = "s8" + ("" if len(groups) == 3 else "_pairs")
    suffix += f"_line{pitch}" if line else ""
    suffix += ("_channel" if step.per_channel else "") + ("_cap" if step.capped else "")
    program.call(
        "mve/depthwise_conv",
        suffix,
        flags,
        (
            *(record, program.pointer(x.name), table, scratch_bytes(program, layer)),
            program.pointer(layer.output),
        ),
    )


def _table(layer: DepthwiseConvolution, pitch: int) -> tuple[np.ndarray, dict[str, int]]:
    """Return the words of each 16 channels, and at which of them its parts start.

    Upper bounds and negative shifts, a byte each and only where they differ, the weights tap by
    tap, the biases. The shifts and the biases have the order `ORDER`. Channels that share a vector
    with other columns are there as often.
    """
    step = layer.requantization
    channels = -(-layer.bias.size // VECTOR) * VECTOR
    groups = channels // VECTOR

    def filled(values: np.ndarray) -> np.ndarray:
        return padded(np.concatenate([values] * (VECTOR // pitch)), channels)

    def parted(values: np.ndarray) -> np.ndarray:
        return filled(values).reshape(groups, VECTOR)

    parts: list[np.ndarray] = []
    places = {"cap_at": 0, "shift_at": 0}
    if isinstance(step.upper, np.ndarray):
        parts.append(as_words(parted(step.upper)))
    places["shift_at"] = 4 * len(parts)
    if step.per_channel:
        parts.append(as_words(parted(-step.shift)[:, ORDER]))
    places["weight_at"] = 4 * len(parts)
    taps = filled(layer.weight.reshape(TAPS * TAPS, -1).T)
    taps = taps.reshape(groups, VECTOR, -1).transpose(0, 2, 1)
    parts.append(as_words(taps.reshape(groups, -1)))
    places["bias_at"] = places["weight_at"] + TAPS * TAPS * VECTOR // 4
    parts.append(parted(layer.bias)[:, ORDER])
    return np.concatenate(parts, axis=1, dtype=np.int32), places
