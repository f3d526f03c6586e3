"""Convolutions and fully connected layers: products of widened windows and interleaved weights."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.export.affine import window_fields
from aidge_quant.export.dsp.rule import add_call, ends_in_a_shift, saturation
from aidge_quant.export.dsp.weights import form_of, interleave, largest_sum, pack_nibbles
from aidge_quant.export.program import Program
from aidge_quant.integer.layers import Affine, Convolution, FullyConnected
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs

# Sums that may be 16 times as large.
_INT4 = 1 << 27


def fits(layer: Affine, network: IntegerNetwork) -> bool:
    """Whether the kernel computes a layer: its types, its last step, and the size of its sums."""
    kinds = {network.tensor(name).dtype for name in layer.inputs}
    return (
        kinds in ({dtype.int8}, {dtype.int16})
        and layer.weight_dtype in (dtype.int8, dtype.int4)
        and (layer.weight_dtype is dtype.int8 or largest_sum(layer, network) < _INT4)
        and ends_in_a_shift(layer, layer.requantization, network)
    )


def convolution_fits(layer: Convolution, network: IntegerNetwork) -> bool:
    """Whether the kernel computes a layer: besides, one group and rows of taps without gaps."""
    dense = layer.dilation[1] == 1 or layer.weight.shape[2] == 1
    return dense and layer.groups == 1 and fits(layer, network)


@dataclass(frozen=True)
class _Windows:
    """A layer as windows of values: rows of a matrix product.

    Attributes
    ----------
    count : int
        Outputs a channel.
    lines : int
        Rows of the kernel.
    run : int
        Values of such a row, neighbours in the input.
    row : int
        The same and what is skipped behind it.
    plain : bool
        Whether the windows follow each other in the input, each a multiple of 4 values.
    itemsize : int
        Bytes of a value.
    """

    count: int
    lines: int
    run: int
    row: int
    plain: bool
    itemsize: int

    @property
    def steps(self) -> int:
        """Pairs of values, an even number."""
        return -(-self.lines * self.row // 4) * 2

    @property
    def scratch(self) -> int:
        """Bytes of four widened columns, if there are so many, and of one window."""
        columns = 16 if self.count >= 4 else 0
        return (columns + (0 if self.plain else 2 * self.itemsize)) * self.steps


def _windows(layer: Affine, network: IntegerNetwork) -> _Windows:
    if isinstance(layer, Convolution):
        out, lines, width, channels = layer.weight.shape
        out_height, out_width = network.tensor(layer.output).shape[:2]
        count = out_height * out_width
        run = width * channels
        still = layer.stride == (1, 1) and not any(layer.padding)
        plain = (lines, width) == (1, 1) and still and channels % 4 == 0
    else:
        out, run = layer.weight.shape
        count, lines = network.tensor(layer.inputs[0]).size // run, 1
        plain = run % 4 == 0
    itemsize = network.tensor(layer.inputs[0]).dtype.numpy.itemsize
    return _Windows(count, lines, run, _row(lines, run, out), plain, itemsize)


def _row(lines: int, run: int, out: int) -> int:
    """Return ``run``, or the next multiple of 4 where the faster copy pays for the zero weights.

    A row that is a multiple of 4 is widened as it is, about 5 instructions a value less; a value
    more costs every channel 3/4 of an instruction.
    """
    whole = -(-run // 4) * 4
    more = -(-lines * whole // 4) - -(-lines * run // 4)
    return whole if 3 * more * out < 5 * lines * run else run


def needs(layer: Affine, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    windows = _windows(layer, network)
    # Three plain windows or less are read where they are.
    apart = windows.plain and windows.count < 4
    behind = {} if apart else {layer.inputs[0]: _distance(layer, network, windows)}
    return Needs(windows.scratch, behind, _residuals(layer, network))


def _distance(layer: Affine, network: IntegerNetwork, windows: _Windows) -> int:
    """Return how far behind the output the input must start to be read before it is overwritten.

    Four windows, at the end one, are read as a whole, then their outputs are written. From the
    first byte that the windows after these read, the output must stay away.
    """
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    if isinstance(layer, Convolution):
        out_height, out_width = y.shape[:2]
        rows = np.arange(out_height) * layer.stride[0] - layer.padding[0]
        columns = np.arange(out_width) * layer.stride[1] - layer.padding[1]
        corner = np.maximum(rows, 0)[:, None] * x.shape[1] + np.maximum(columns, 0)
        first = corner.ravel() * x.channels * windows.itemsize
    else:
        first = np.arange(windows.count) * windows.run * windows.itemsize
    size = y.channels * y.dtype.numpy.itemsize
    groups = np.arange(4, windows.count - windows.count % 4 + 1, 4)
    ends = np.append(groups, np.arange(windows.count - windows.count % 4 + 1, windows.count + 1))
    needed = np.minimum.accumulate(first[::-1])[::-1]
    ahead = [int(end * size - needed[end]) for end in ends.tolist() if end < windows.count]
    return max([0, *ahead])


def _reach(layer: Affine, network: IntegerNetwork, windows: _Windows) -> dict[str, int]:
    """Return which windows lie in the input with all that is read between their rows.

    None do where a row is not a multiple of 4 values: it is not widened where it is.
    """
    size = network.tensor(layer.inputs[0]).size
    if isinstance(layer, Convolution):
        height, width, channels = network.tensor(layer.inputs[0]).shape
        next_row = layer.dilation[0] * width * channels
        last = (
            height - 1 - (windows.lines - 1) * layer.dilation[0],
            width - layer.weight.shape[2],
        )
    else:
        next_row, last = windows.run, (0, windows.count - 1)
    gap = next_row - windows.row if windows.lines > 1 else 0
    end = size - (windows.lines - 1) * next_row - windows.row
    if windows.row % 4 != 0:
        last, end = (-1, -1), -1
    return {"gap": gap, "last_y": last[0], "last_x": last[1], "last": end}


def _residuals(layer: Affine, network: IntegerNetwork) -> tuple[str, ...]:
    """Return the residual if there is one that the output may replace, value by value."""
    kind = network.tensor(layer.output).dtype
    return tuple(name for name in layer.inputs[1:] if network.tensor(name).dtype is kind)


def _add_windows(
    layer: Affine, program: Program, fields: dict[str, int | str], outputs: int
) -> None:
    """Add a layer of windows; ``fields`` are the record's, but for what the windows say."""
    network = program.network
    windows = _windows(layer, network)
    y = network.tensor(layer.output)
    fields = fields | {
        "run": windows.run,
        "row": windows.row,
        "steps": windows.steps,
        **_reach(layer, network, windows),
        "plain": int(windows.plain),
    }
    record = program.record(layer, "shape", "dsp_conv", fields)
    form = form_of(layer, network)
    wide = form != "narrow"
    rows = np.zeros((outputs, windows.lines, windows.row), np.int8)
    rows[:, :, : windows.run] = layer.weight.reshape(outputs, windows.lines, windows.run)
    words = interleave(rows.reshape(outputs, -1), wide)
    if form == "int4":
        words = pack_nibbles(words)
    saturate = saturation(layer.requantization, y.dtype)
    ending = {"narrow": "", "wide": "_wide", "int4": "_int4"}[form]
    # The loop over the channels is one with the products where nothing else is to be done.
    lean = saturate in ("ssat", "usat") and not wide and layer.residual is None and outputs % 2 == 0
    half = "16" if windows.itemsize == 2 else ""
    flags = {
        "lean": lean,
        "form": form,
        "wide": wide,
        "int4": form == "int4",
        "half": half,
        "dot4": f"dot4{ending}",
        "dot1": f"dot1{ending}" + ("_x16" if half else ""),
        "four": windows.count >= 4,
        "one": windows.count % 4 != 0,
        "odd": outputs % 2 != 0,
        "windows": not windows.plain,
        "plain": windows.plain,
    }
    add_call(
        "dsp/conv",
        layer,
        program,
        record,
        ("int32_t", words, "in words of taps of two channels"),
        ending + ("_odd" if outputs % 2 else ""),
        flags,
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
