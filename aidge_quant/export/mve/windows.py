"""Convolutions and fully connected layers: products of 16 values of a window and a channel."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.export.affine import window_fields
from aidge_quant.export.mve.rule import (
    VECTOR,
    add_weights,
    affine_fits,
    channel_words,
    last_step,
    scratch_bytes,
    types,
)
from aidge_quant.export.program import Program
from aidge_quant.integer.layers import Affine, Convolution, FullyConnected
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs

#: Steps of 16 values that a turn of the loop over two windows has, a power of two.
UNROLL = 4

# Bytes of such a step: 14 instructions of 4.
_STEP_BYTES = 56


def convolution_fits(layer: Convolution, network: IntegerNetwork) -> bool:
    """Whether the kernel computes this layer: one group, rows of taps without gaps."""
    dense = layer.dilation[1] == 1 or layer.weight.shape[2] == 1
    return dense and layer.groups == 1 and affine_fits(layer, network)


@dataclass(frozen=True)
class _Windows:
    """A layer as windows of values: rows of a matrix product.

    Attributes
    ----------
    starts : int array (windows,)
        The first value of the input that each reads; lower bound where it begins outside.
    inside : bool array (windows,)
        Whether no value of it is outside.
    lines, run : int
        Rows of the kernel, and values of such a row, neighbours in the input.
    last : int
        The last place in the input from which whole vectors can be read; -1 for a kernel of
        several rows, whose windows are gathered.
    """

    starts: np.ndarray
    inside: np.ndarray
    lines: int
    run: int
    last: int

    @property
    def count(self) -> int:
        """Outputs a channel."""
        return self.starts.size

    @property
    def steps(self) -> int:
        """Vectors of a window."""
        return -(-self.lines * self.run // VECTOR)

    @property
    def direct(self) -> np.ndarray:
        """Which windows are read where they are."""
        return self.inside & (self.starts <= self.last)

    @property
    def scratch(self) -> int:
        """Bytes of two windows, if some are gathered."""
        return 0 if self.direct.all() else min(2, self.count) * VECTOR * self.steps


def _windows(layer: Affine, network: IntegerNetwork) -> _Windows:
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    if isinstance(layer, Convolution):
        lines, width, channels = layer.weight.shape[1:]
        rows = np.arange(y.shape[0]) * layer.stride[0] - layer.padding[0]
        columns = np.arange(y.shape[1]) * layer.stride[1] - layer.padding[1]
        corners = np.maximum(rows, 0)[:, None] * x.shape[1] + np.maximum(columns, 0)
        fits = (rows >= 0) & (rows <= x.shape[0] - 1 - (lines - 1) * layer.dilation[0])
        inside = fits[:, None] & (columns >= 0) & (columns <= x.shape[1] - width)
        starts, run = corners.ravel() * channels, width * channels
        inside = inside.ravel()
    else:
        lines, run = 1, layer.weight.shape[1]
        starts = np.arange(x.size // run) * run
        inside = np.ones(starts.size, bool)
    last = x.size - -(-run // VECTOR) * VECTOR if lines == 1 else -1
    return _Windows(starts, inside, lines, run, max(last, -1))


def needs(layer: Affine, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    windows = _windows(layer, network)
    kind = network.tensor(layer.output).dtype
    # A residual is read value by value before the output of the same place is written.
    same = tuple(name for name in layer.inputs[1:] if network.tensor(name).dtype is kind)
    return Needs(windows.scratch, {layer.inputs[0]: _distance(layer, network, windows)}, same)


def _distance(layer: Affine, network: IntegerNetwork, windows: _Windows) -> int:
    """Return how far behind the output the input must start to be read before it is overwritten.

    Two windows, at the end perhaps one, are gathered as a whole, or read while their outputs are
    written. From the first byte that is still to be read then the output must stay away.
    """
    y = network.tensor(layer.output)
    size = y.channels * y.dtype.numpy.itemsize
    needed = np.minimum.accumulate(windows.starts[::-1])[::-1]
    distance = 0
    for first in range(0, windows.count, 2):
        end = min(first + 2, windows.count)
        pair = windows.direct[first:end]
        still = [windows.starts[first:end][pair].min()] if pair.any() else []
        still += [needed[end]] if end < windows.count else []
        distance = max([distance, *(end * size - int(byte) for byte in still)])
    return distance


def interleave(weight: np.ndarray) -> np.ndarray:
    """Return the weights in the order of the products: fours of channels, vectors, channels, taps.

    Parameters
    ----------
    weight : int8 array (out, taps)

    Returns
    -------
    int8 array (ceil(out / 4), ceil(taps / 16), 4, 16), filled up with zeros
    """
    out, taps = weight.shape
    steps = -(-taps // VECTOR)
    rows = np.zeros((-(-out // 4) * 4, steps * VECTOR), np.int8)
    rows[:out, :taps] = weight
    return rows.reshape(-1, 4, steps, VECTOR).transpose(0, 2, 1, 3)


def _reach(layer: Affine, network: IntegerNetwork) -> dict[str, int]:
    """Return the last window that lies within the input, and how far apart rows of taps are."""
    if not isinstance(layer, Convolution):
        rows = network.tensor(layer.inputs[0]).size // layer.weight.shape[1]
        return {"pitch": 0, "last_y": 0, "last_x": rows - 1}
    height, width, channels = network.tensor(layer.inputs[0]).shape
    lines, taps = layer.weight.shape[1:3]
    return {
        "pitch": layer.dilation[0] * width * channels,
        "last_y": height - 1 - (lines - 1) * layer.dilation[0],
        "last_x": width - taps,
    }


def _add_windows(
    layer: Affine, program: Program, fields: dict[str, int | str], outputs: int
) -> None:
    """Add a layer of windows; ``fields`` are the record's, but for what the windows say."""
    network = program.network
    windows = _windows(layer, network)
    y = network.tensor(layer.output)
    # A kernel of one value that takes every position walks along one line of them.
    one = windows.lines == 1 and windows.run == fields["channels"] and windows.inside.all()
    plain = one and np.array_equal(windows.starts, np.arange(windows.count) * windows.run)
    reach = _reach(layer, network)
    if plain:
        line = {"in_height": 1, "out_height": 1, "stride_x": 1}
        fields = fields | line | {"in_width": windows.count, "out_width": windows.count}
        reach = {"pitch": 0, "last_y": 0, "last_x": windows.count - 1}
    fields = fields | {
        "run": windows.run,
        "steps": windows.steps,
        "skip": _STEP_BYTES * (-windows.steps % UNROLL),
        **reach,
        "last": windows.last,
        "plain": int(plain),
        **last_step(layer.requantization),
    }
    record = program.record(layer, "shape", "mve_conv", fields)
    words, flags, ending = channel_words(layer, y.dtype)
    order = "in vectors of 16 taps of each of four channels"
    values = interleave(layer.weight.reshape(outputs, -1))
    weight = add_weights(layer, program, values, order)
    text = "bias and what else channels have of their own, four by four"
    constant = program.constant(layer, "channels", "int32_t", words, text)
    named, suffix = types(layer, program)
    factors = layer.residual
    residual: tuple[str | int, ...] = ()
    if factors is not None:
        residual = (program.pointer(layer.inputs[1]), int(factors[0]) if factors.size == 1 else 0)
    flags |= {
        "gathered": not bool(windows.direct.all()),
        "pairs": windows.count >= 2,
        "single": windows.count % 2 != 0,
        "odd": outputs % 4 != 0,
    }
    program.call(
        "mve/conv",
        suffix + ending + ("_odd" if outputs % 4 else ""),
        named | flags,
        (
            *(record, program.pointer(layer.inputs[0]), weight, constant),
            *(scratch_bytes(program, layer), *residual, program.pointer(layer.output)),
        ),
    )


def add_convolution(layer: Convolution, program: Program) -> None:
    """Add parameters and call."""
    out, height, width, _ = layer.weight.shape
    fields = window_fields(layer, program, (height, width), layer.stride) | {
        "out": out,
        "dilation_y": layer.dilation[0],
        "top": layer.padding[0],
        "left": layer.padding[1],
        "pad_value": layer.pad_value,
    }
    _add_windows(layer, program, fields, out)


def add_fully_connected(layer: FullyConnected, program: Program) -> None:
    """Add a convolution with a kernel of 1 x 1 over a line of positions, one a row."""
    out, inputs = layer.weight.shape
    rows = program.network.tensor(layer.inputs[0]).size // inputs
    fields: dict[str, int | str] = {
        "in_height": 1,
        "in_width": rows,
        "channels": inputs,
        "out_height": 1,
        "out_width": rows,
        "kernel_height": 1,
        "kernel_width": 1,
        "stride_y": 1,
        "stride_x": 1,
        "out": out,
        "dilation_y": 1,
        "top": 0,
        "left": 0,
        "pad_value": 0,
    }
    _add_windows(layer, program, fields, out)
