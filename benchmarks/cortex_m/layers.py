"""Single layers of the networks, with random weights: what each kind costs.

The figures of CMSIS-NN are instructions and rough cycles a multiply-accumulate on the M4, counted
in the same way (CMSIS-NN 99f736a6, arm-none-eabi-gcc 12.2, -O2).
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from boards import CORES
from cycles import rough_cycles
from rig import build, measure

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.export.writer import DEFAULT_CASES
from aidge_quant.integer import layers as il
from aidge_quant.integer.counts import layer_macs
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor


@dataclass(frozen=True)
class Shape:
    """A layer of the table.

    Attributes
    ----------
    kind : {"conv", "depthwise", "full"}
    height, width, channels, out : int
    kernel : (int, int)
    stride : int
    cmsis_nn : (float, float or None)
        Its instructions and rough cycles a multiply-accumulate.
    """

    kind: str
    height: int
    width: int
    channels: int
    out: int
    kernel: tuple[int, int]
    stride: int
    cmsis_nn: tuple[float, float | None]


SHAPES = {
    "3x3 16>16 32x32": Shape("conv", 32, 32, 16, 16, (3, 3), 1, (2.33, 2.91)),
    "3x3 32>32 16x16": Shape("conv", 16, 16, 32, 32, (3, 3), 1, (1.93, 2.35)),
    "3x3 64>64 8x8": Shape("conv", 8, 8, 64, 64, (3, 3), 1, (1.76, 2.12)),
    "3x3 s2 16>32": Shape("conv", 32, 32, 16, 32, (3, 3), 2, (2.14, None)),
    "3x3 s2 32>64": Shape("conv", 16, 16, 32, 64, (3, 3), 2, (1.86, None)),
    "stem 3x3 3>16": Shape("conv", 32, 32, 3, 16, (3, 3), 1, (4.77, 6.33)),
    "stem 10x4 1>64": Shape("conv", 49, 10, 1, 64, (10, 4), 2, (3.49, 4.52)),
    "1x1 64>64 25x5": Shape("conv", 25, 5, 64, 64, (1, 1), 1, (2.09, 2.49)),
    "1x1 128>128 6x6": Shape("conv", 6, 6, 128, 128, (1, 1), 1, (1.83, 2.20)),
    "1x1 32>32 24x24": Shape("conv", 24, 24, 32, 32, (1, 1), 1, (2.70, None)),
    "1x1 256>256 3x3": Shape("conv", 3, 3, 256, 256, (1, 1), 1, (1.98, None)),
    "dw 3x3 64 25x5": Shape("depthwise", 25, 5, 64, 64, (3, 3), 1, (7.79, 9.62)),
    "dw 3x3 128 6x6": Shape("depthwise", 6, 6, 128, 128, (3, 3), 1, (7.51, 9.23)),
    "dw 3x3 8 48x48": Shape("depthwise", 48, 48, 8, 8, (3, 3), 1, (8.86, None)),
    "full 640>128": Shape("full", 1, 1, 640, 128, (1, 1), 1, (1.95, 2.42)),
    "full 128>128": Shape("full", 1, 1, 128, 128, (1, 1), 1, (2.27, 2.83)),
}


def layer_network(shape, relu=True):
    """Return the network of one layer that ends in one shift for the tensor.

    Parameters
    ----------
    shape : Shape
    relu : bool
        Whether outputs are 0 to 127, else -128 to 127.
    """
    random = np.random.default_rng(0)
    (high, wide), step = shape.kernel, shape.stride
    out_height, out_width = -(-shape.height // step), -(-shape.width // step)
    pads = [
        max((size - 1) * step + kernel - before, 0)
        for size, kernel, before in (
            (out_height, high, shape.height),
            (out_width, wide, shape.width),
        )
    ]
    padding = (pads[0] // 2, pads[1] // 2, pads[0] - pads[0] // 2, pads[1] - pads[1] // 2)
    depthwise = shape.kind == "depthwise"
    taps = high * wide * (1 if depthwise else shape.channels)
    shift = max(1, round(np.log2(np.sqrt(taps) * 60)))
    step_ = Requantization(np.int8([shift]), None, 0, 0 if relu else -128, 127, HALF_UP)
    window = {"stride": (step, step), "dilation": (1, 1), "padding": padding, "pad_value": 0}
    forms = {
        "conv": (il.Convolution, (shape.out, high, wide, shape.channels), window | {"groups": 1}),
        "depthwise": (il.DepthwiseConvolution, (high, wide, shape.channels), window),
        "full": (il.FullyConnected, (shape.out, shape.channels), {}),
    }
    make, weight_shape, fields = forms[shape.kind]
    full = shape.kind == "full"
    stored = (shape.channels,) if full else (shape.height, shape.width, shape.channels)
    result = (shape.out,) if full else (out_height, out_width, shape.out)
    layer = make(
        "layer",
        ("x",),
        "y",
        ("layer",),
        weight=random.integers(-127, 128, weight_shape).astype(np.int8),
        weight_dtype=dtype.int8,
        bias=random.integers(-999, 999, shape.out).astype(np.int32),
        requantization=step_,
        **fields,
    )
    tensors = tuple(
        IntegerTensor(name, size, dtype.int8, 0.1, 0, size, tuple(range(len(size))))
        for name, size in (("x", stored), ("y", result))
    )
    return IntegerNetwork("layer", tensors, (layer,), ("x",), ("y",), ("x",), ("y",))


def print_layers():
    """Measure every layer on the M4 and print it beside CMSIS-NN; per multiply-accumulate.

    Returns
    -------
    dict of str to (float, float)
        Instructions and rough cycles.
    """
    core = CORES["m4"]
    found = {}
    print(f"{'Cortex-M4, per multiply-accumulate':36} {'instructions':>22} {'rough cycles':>24}")
    print(f"{'':36} {'ours':>8} {'CMSIS-NN':>9} {'':>3} {'ours':>8} {'CMSIS-NN':>9} {'':>5}")
    for title, shape in SHAPES.items():
        network = layer_network(shape)
        macs = sum(layer_macs(network, layer) for layer in network.layers)
        with tempfile.TemporaryDirectory() as folder:
            export = Path(folder) / "layer"
            choices = {"target": core.target, "input_in_arena": True}
            aq.export_c(network, export, name="layer", **choices)
            figures = measure("m4", export, "layer")
            program = build(core, Path(folder), export, "layer")
            cycles = rough_cycles(core, program, "layer_", DEFAULT_CASES)
        ours = figures.instructions / macs, cycles / macs
        found[title] = ours
        cells = [
            f"{mine:8.2f} {'-' if theirs is None else f'{theirs:.2f}':>9} "
            + ("   -" if theirs is None else f"{theirs / mine:3.1f}x")
            for mine, theirs in zip(ours, shape.cmsis_nn, strict=True)
        ]
        print(f"{title:36} {'  '.join(cells)}")
    return found
