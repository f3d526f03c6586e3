"""Pools."""

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.converters.windows import Windows, read_windows
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import AveragePool, MaxPool


@converts("MaxPool")
def max_pool(node: NodeReader) -> list[Value]:
    """Read without the optional output of indices."""
    node.ignore("storage_order")
    if node.uses_output(1):
        raise UnsupportedError("its output Indices is used, which is not handled")
    windows, ceil = _windows(node)
    return node.add(MaxPool(*windows, ceil), node.value(0))


@converts("AveragePool")
def average_pool(node: NodeReader) -> list[Value]:
    """Read with both meanings of padding."""
    windows, ceil = _windows(node)
    include = bool(node.integer("count_include_pad", 0))
    return node.add(AveragePool(*windows, ceil, include), node.value(0))


def _windows(node: NodeReader) -> tuple[Windows, bool]:
    window = node.integers("kernel_shape")
    if window is None:
        raise GraphError("attribute kernel_shape is missing")
    ceil = bool(node.integer("ceil_mode", 0))
    windows = read_windows(node, window)
    reach = [(w - 1) * d + 1 for w, d in zip(windows.window, windows.dilation, strict=True)]
    if any(pad >= span for pad, span in zip(windows.padding, reach * 2, strict=True)):
        raise UnsupportedError(
            f"pads {windows.padding} are as large as the window {window}, so that windows hold "
            "nothing but padding"
        )
    return windows, ceil
