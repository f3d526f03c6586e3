"""Depthwise convolutions: one channel at a time, padded in a plane of its own."""

from dataclasses import dataclass

from aidge_quant.dtypes import dtype
from aidge_quant.export.ctext import pack_int4
from aidge_quant.export.dsp.rule import add_call, ends_in_a_shift
from aidge_quant.export.program import Program
from aidge_quant.integer.layers import DepthwiseConvolution
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs


def fits(layer: DepthwiseConvolution, network: IntegerNetwork) -> bool:
    """Whether the kernel computes this layer."""
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    return (
        layer.dilation == (1, 1)
        and {x.dtype, y.dtype} <= {dtype.int8, dtype.int16}
        and layer.weight_dtype in (dtype.int8, dtype.int4)
        and layer.residual is None
        and ends_in_a_shift(layer, layer.requantization, network)
    )


@dataclass(frozen=True)
class _Planes:
    """A depthwise layer as lines along its longer axis.

    Attributes
    ----------
    turned : bool
        Whether lines are columns.
    stride : int
        Of both axes, 1 or 2, if the taps are 3 x 3 and have loops of their own; else 0.
    height, width : int
        Lines of the padded plane, and values of one, an even number.
    taps : int
        Values that the widened taps take, lines of an even number, where they are not 3 x 3.
    """

    turned: bool
    stride: int
    height: int
    width: int
    taps: int

    @property
    def scratch(self) -> int:
        """Bytes of the plane, and of the taps behind it."""
        return 2 * (self.height * self.width + self.taps)


def _planes(layer: DepthwiseConvolution, network: IntegerNetwork) -> _Planes:
    out_height, out_width, _ = network.tensor(layer.output).shape
    in_height, in_width, _ = network.tensor(layer.inputs[0]).shape
    kernel = layer.weight.shape[:2]
    own = kernel == (3, 3) and layer.stride in ((1, 1), (2, 2))
    # Two outputs or two taps of a line are computed at once: an odd number wastes one.
    lengths = (out_width, out_height) if own else (kernel[1], kernel[0])
    waste = [(length % 2) / length for length in lengths]
    turned = waste[1] < waste[0] or (waste[1] == waste[0] and out_height > out_width)
    sizes = [
        max((out - 1) * stride + taps, size + before)
        for out, stride, taps, size, before in (
            (out_height, layer.stride[0], kernel[0], in_height, layer.padding[0]),
            (out_width, layer.stride[1], kernel[1], in_width, layer.padding[1]),
        )
    ]
    if not own:
        # The second of the last two taps is read where there is only one.
        sizes = [size + taps % 2 for size, taps in zip(sizes, kernel, strict=True)]
    lines, length = (kernel[1], kernel[0]) if turned else kernel
    height, width = reversed(sizes) if turned else sizes
    return _Planes(
        turned=turned,
        stride=layer.stride[0] if own else 0,
        height=height,
        width=width + width % 2,
        taps=0 if own else lines * (length + length % 2),
    )


def needs(layer: DepthwiseConvolution, network: IntegerNetwork) -> Needs:
    """Return what the kernel asks of the memory plan."""
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    # A channel is read as a whole before it is written, to bytes that only it has.
    same = layer.inputs[:1] if y.size <= x.size and y.dtype is x.dtype else ()
    return Needs(_planes(layer, network).scratch, same=same)


def add_depthwise(layer: DepthwiseConvolution, program: Program) -> None:
    """Add parameters and call."""
    network = program.network
    x, y = network.tensor(layer.inputs[0]), network.tensor(layer.output)
    planes = _planes(layer, network)
    channels = x.channels
    axes = (1, 0) if planes.turned else (0, 1)
    in_steps, out_steps = ((t.shape[1] * channels, channels) for t in (x, y))
    fields: dict[str, int | str] = {"channels": channels}
    for side, tensor, steps in (("in", x, in_steps), ("out", y, out_steps)):
        fields |= {
            f"{side}_lines": tensor.shape[axes[0]],
            f"{side}_length": tensor.shape[axes[1]],
            f"{side}_line_step": steps[axes[0]],
            f"{side}_step": steps[axes[1]],
        }
    fields |= {
        "tap_lines": layer.weight.shape[axes[0]],
        "tap_length": layer.weight.shape[axes[1]],
        "line_stride": layer.stride[axes[0]],
        "stride": layer.stride[axes[1]],
        "lines_before": layer.padding[axes[0]],
        "before": layer.padding[axes[1]],
        "width": planes.width,
        "height": planes.height,
        "pad_value": layer.pad_value,
    }
    record = program.record(layer, "shape", "dsp_depthwise_conv", fields)
    order = "in the order channels, lines, taps of a line"
    taps = layer.weight.transpose(2, *axes)
    packed = layer.weight_dtype is dtype.int4
    flags = {"stride": planes.stride, "packed": packed}
    ending = ("_int4" if packed else "") + {0: "_any", 1: "", 2: "_stride2"}[planes.stride]
    weights = ("uint8_t", pack_int4(taps), order) if packed else ("int8_t", taps, order)
    add_call("dsp/depthwise_conv", layer, program, record, weights, ending, flags)
