"""What convolutions and pools have in common: strides, dilations, explicit and automatic pads."""

from typing import NamedTuple

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops.base import Shape

#: Bound of sizes, strides and pads; larger ones are damage and would overflow on the way.
LARGEST = 2**24

SPATIAL_RANKS = (1, 2)


class Windows(NamedTuple):
    """Resolved attributes, one number a spatial axis; ``padding``: all begins, then all ends."""

    window: Shape
    stride: Shape
    dilation: Shape
    padding: Shape


def spatial(node: NodeReader) -> Shape:
    """Return the spatial sizes of the data.

    Raises
    ------
    UnsupportedError
        If there are not one or two.
    """
    sizes = node.shape(0)[2:]
    if len(sizes) not in SPATIAL_RANKS:
        raise UnsupportedError(
            f"its data has shape {node.shape(0)}, expected (batch, channels, length) or "
            "(batch, channels, height, width)"
        )
    return sizes


def read_windows(node: NodeReader, window: Shape, *, ceil: bool = False) -> Windows:
    """Return the attributes of sliding windows, with automatic pads made explicit."""
    sizes = spatial(node)
    stride = positive(node, "strides", len(sizes))
    dilation = positive(node, "dilations", len(sizes))
    check_positive("kernel_shape", window, len(sizes))
    mode = node.text("auto_pad", "NOTSET")
    pads = read_pads(node, len(sizes))
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        begins, ends = [], []
        for size, w, s, d in zip(sizes, window, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + (w - 1) * d + 1 - size, 0)
            small, large = total // 2, total - total // 2
            begins.append(small if mode == "SAME_UPPER" else large)
            ends.append(large if mode == "SAME_UPPER" else small)
        pads = (*begins, *ends)
    elif mode == "VALID":
        pads = (0,) * len(pads)
    elif mode != "NOTSET":
        raise GraphError(f"auto_pad is {mode!r}, expected NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    return Windows(window, stride, dilation, pads)


def read_pads(node: NodeReader, rank: int) -> Shape:
    """Return the explicit pads: all begins, then all ends."""
    pads = node.integers("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank:
        raise GraphError(f"pads are {pads}, expected {2 * rank} numbers")
    if any(not 0 <= pad <= LARGEST for pad in pads):
        raise UnsupportedError(f"pads are {pads}, expected numbers from 0 to {LARGEST}")
    return pads


def positive(node: NodeReader, name: str, rank: int) -> Shape:
    """Return an attribute of ``rank`` positive integers, ones by default."""
    found = node.integers(name) or (1,) * rank
    check_positive(name, found, rank)
    return found


def check_positive(name: str, values: Shape, rank: int) -> None:
    """Raise a GraphError unless ``values`` are ``rank`` positive integers."""
    if len(values) != rank or any(not 1 <= value <= LARGEST for value in values):
        raise GraphError(f"{name} is {values}, expected {rank} positive numbers")
