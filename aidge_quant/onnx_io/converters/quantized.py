"""Quantization, and operators on quantized tensors."""

import numpy as np
import onnx

from aidge_quant.errors import DataError, GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.affine import read_groups, weight_window
from aidge_quant.onnx_io.converters.registry import converts, from_table
from aidge_quant.onnx_io.converters.windows import read_windows, spatial
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.onnx_io.tensors import element_type
from aidge_quant.ops import (
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QGemm,
    QLinearAveragePool,
    QLinearConcat,
    QLinearConv,
    QLinearGlobalAveragePool,
    QLinearSoftmax,
    QuantizedOperator,
    QuantizeLinear,
    registered,
)

_FLOATS = (onnx.TensorProto.UNDEFINED, onnx.TensorProto.FLOAT)


@converts("QuantizeLinear")
def quantize_linear(node: NodeReader) -> list[Value]:
    """Read with one scale or one for each index of an axis."""
    axis = _axis(node)
    node.ignore("saturate")  # of float8 only
    if node.integer("precision", 0) not in _FLOATS:
        raise UnsupportedError("its precision is not float32, which is not handled")
    declared = node.integer("output_dtype", 0)
    zero_point = node.optional(2)
    stored = element_type(declared) if declared else None
    if stored is None and zero_point is not None and zero_point.element_type.bits < 8:
        stored = zero_point.element_type
    if stored is not None and zero_point is not None and stored is not zero_point.element_type:
        raise GraphError(
            f"output_dtype is {stored.value}, but its zero point is {zero_point.element_type.value}"
        )
    return node.add(QuantizeLinear(axis, stored), *node.inputs)


@converts("DequantizeLinear")
def dequantize_linear(node: NodeReader) -> list[Value]:
    """Read with one scale or one for each index of an axis."""
    axis = _axis(node)
    wanted = node.integer("output_dtype", 0)
    if wanted and element_type(wanted) is not node.value(1).element_type:
        raise UnsupportedError(
            f"output_dtype is {element_type(wanted).value}, expected "
            f"{node.value(1).element_type.value}, the type of the scale"
        )
    return node.add(DequantizeLinear(axis), *node.inputs)


@converts("QLinearConv")
def qlinear_conv(node: NodeReader) -> list[Value]:
    """Read a quantized convolution over one or two spatial axes."""
    operator = QLinearConv(*_conv(node, 3))
    _check_scales(node, operator)
    return node.add(operator, *node.inputs)


@converts("ConvInteger")
def conv_integer(node: NodeReader) -> list[Value]:
    """Read a convolution of integers over one or two spatial axes."""
    return node.add(ConvInteger(*_conv(node, 1)), *node.inputs)


@converts("MatMulInteger")
def matmul_integer(node: NodeReader) -> list[Value]:
    """Read a product of integers."""
    return node.add(MatMulInteger(), *node.inputs)


@converts("QGemm")
def qgemm(node: NodeReader) -> list[Value]:
    """Read ONNX Runtime's quantized Gemm."""
    transposed = (bool(node.integer(name, 0)) for name in ("transA", "transB"))
    operator = QGemm(node.number("alpha", 1.0), *transposed)
    _check_scales(node, operator)
    return node.add(operator, *node.inputs)


@converts("QLinearAveragePool")
def qlinear_average_pool(node: NodeReader) -> list[Value]:
    """Read ONNX Runtime's quantized pool."""
    _expect_channels_first(node)
    window = node.integers("kernel_shape")
    if window is None:
        raise GraphError("attribute kernel_shape is missing")
    windows = read_windows(node, window)
    ceil = bool(node.integer("ceil_mode", 0))
    include = bool(node.integer("count_include_pad", 0))
    operator = QLinearAveragePool(windows.window, windows.stride, windows.padding, ceil, include)
    _check_scales(node, operator)
    return node.add(operator, *node.inputs)


@converts("QLinearGlobalAveragePool")
def qlinear_global_average_pool(node: NodeReader) -> list[Value]:
    """Read ONNX Runtime's quantized mean over all positions."""
    _expect_channels_first(node)
    _check_scales(node, QLinearGlobalAveragePool())
    return node.add(QLinearGlobalAveragePool(), *node.inputs)


@converts("QLinearConcat")
def qlinear_concat(node: NodeReader) -> list[Value]:
    """Read ONNX Runtime's quantized Concat."""
    if not node.has("axis"):
        raise GraphError("attribute axis is missing")
    operator = QLinearConcat(node.axis(node.integer("axis", 1), node.rank(2)))
    _check_scales(node, operator)
    return node.add(operator, *node.inputs)


@converts("QLinearSoftmax")
def qlinear_softmax(node: NodeReader) -> list[Value]:
    """Read ONNX Runtime's quantized Softmax, with the meaning of the opset that it names."""
    old = node.integer("opset", 13) < 13
    axis = node.axis(node.integer("axis", 1 if old else -1))
    operator = QLinearSoftmax(axis, flatten=old and axis < node.rank() - 1)
    _check_scales(node, operator)
    return node.add(operator, *node.inputs)


@converts("QLinearMatMul", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu")
def by_table(node: NodeReader) -> list[Value]:
    """Read what the table of the class describes, with its scales checked."""
    cls = registered()[node.op]
    assert issubclass(cls, QuantizedOperator)
    _check_scales(node, cls())
    return from_table(cls, node)


def check_scale(value: Value | None, what: str) -> None:
    """Raise a DataError unless a constant scale is finite and above 0."""
    if value is None or value.array is None:
        return
    array = value.array
    if array.dtype.kind != "f":
        raise DataError(f"{what} {value.name!r} is {array.dtype}, expected a float type")
    if not (np.isfinite(array).all() and (array > 0).all()):
        wrong = array.reshape(-1)[~(np.isfinite(array) & (array > 0)).reshape(-1)]
        raise DataError(
            f"{what} {value.name!r} holds {wrong[0]}, expected finite numbers above 0; quantize "
            "the model again"
        )


def _check_scales(node: NodeReader, operator: QuantizedOperator) -> None:
    slots = [operand.scale for operand in operator.operands_of(len(node.inputs))]
    for slot in (*slots, operator.result[0]):
        check_scale(node.optional(slot), f"scale (input {slot})")


def _axis(node: NodeReader) -> int:
    """Return the axis, which only a row of scales needs; blocks of scales are refused."""
    if node.integer("block_size", 0):
        raise UnsupportedError("its scales are in blocks, expected one scale or one a channel")
    given, scale = node.integer("axis", 1), node.value(1)
    check_scale(scale, "scale (input 1)")
    if len(scale.shape) > 1:
        raise UnsupportedError(
            f"its scale has shape {scale.shape}, expected one scale or one a channel: blocks of "
            "scales are not handled"
        )
    return node.axis(given) if scale.shape not in ((), (1,)) else 1


def _conv(
    node: NodeReader, slot: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """Return stride, dilation, padding and groups of a convolution with its weight at ``slot``."""
    windows = read_windows(node, weight_window(node, len(spatial(node)), slot))
    return windows.stride, windows.dilation, windows.padding, read_groups(node)


def _expect_channels_first(node: NodeReader) -> None:
    if node.integer("channels_last", 0):
        raise UnsupportedError("channels_last is set, expected data with the channels first")
