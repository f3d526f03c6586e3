"""Convolutions, matrix products and batch normalization."""

import numpy as np

from aidge_quant.errors import GraphError, ShapeError, UnsupportedError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.converters.windows import (
    check_positive,
    positive,
    read_pads,
    read_windows,
    spatial,
)
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import FC, BatchNorm, Conv, ConvTranspose, Gemm, MatMul
from aidge_quant.ops.learned_quantization import TRAINING_DOMAIN


@converts("Conv")
def conv(node: NodeReader) -> list[Value]:
    """Read a convolution over one or two spatial axes."""
    sizes = spatial(node)
    window = weight_window(node, len(sizes))
    windows = read_windows(node, window)
    groups = read_groups(node)
    operator = Conv(windows.stride, windows.dilation, windows.padding, groups)
    return node.add(operator, *_operands(node, node.shape(1)[0]))


@converts("ConvTranspose")
def conv_transpose(node: NodeReader) -> list[Value]:
    """Read a transposed convolution; ``output_shape`` and ``auto_pad`` become pads."""
    sizes = spatial(node)
    rank = len(sizes)
    window = weight_window(node, rank)
    stride, dilation = positive(node, "strides", rank), positive(node, "dilations", rank)
    extra = node.integers("output_padding") or (0,) * rank
    if len(extra) != rank or any(
        not 0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)
    ):
        raise GraphError(
            f"output_padding is {extra}, expected {rank} numbers below the strides {stride}"
        )
    mode, wanted = node.text("auto_pad", "NOTSET"), node.integers("output_shape")
    pads = read_pads(node, rank)
    full = tuple(
        s * (n - 1) + e + (w - 1) * d + 1
        for n, w, s, d, e in zip(sizes, window, stride, dilation, extra, strict=True)
    )
    if wanted is not None:
        wanted = wanted[-rank:]
        check_positive("output_shape", wanted, rank)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * s for n, s in zip(sizes, stride, strict=True))
    elif mode == "VALID":
        pads = (0,) * (2 * rank)
    elif mode != "NOTSET":
        raise GraphError(f"auto_pad is {mode!r}, expected NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    if wanted is not None:
        total = [max(f - w, 0) for f, w in zip(full, wanted, strict=True)]
        extra = tuple(e + max(w - f, 0) for e, f, w in zip(extra, full, wanted, strict=True))
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = (*small, *large) if mode == "SAME_UPPER" else (*large, *small)
    groups = read_groups(node)
    operator = ConvTranspose(stride, dilation, pads, extra, groups)
    return node.add(operator, *_operands(node, node.shape(1)[1] * groups))


@converts("Gemm")
def gemm(node: NodeReader) -> list[Value]:
    """Read as FC, with alpha and beta in the constants, or where that cannot be as Gemm."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    transpose_a, transpose_b = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))
    weight, bias = node.value(1), node.optional(2)
    shape = weight.shape[:: 1 if transpose_b else -1]
    is_affine = (
        not transpose_a
        and node.value(0).array is None
        and weight.array is not None
        and weight.array.dtype.kind == "f"
        and len(shape) == 2
        and (bias is None or (bias.array is not None and _is_row(bias.shape, shape[0])))
    )
    plain = (alpha, beta, transpose_a, transpose_b) == (1.0, 1.0, False, True)
    fits = len(shape) == 2 and (bias is None or bias.shape == shape[:1])
    if plain and fits and _is_quantized_for_training(weight):
        return node.add(FC(), *node.inputs)
    if not is_affine:
        return node.add(Gemm(alpha, beta, transpose_a, transpose_b), *node.inputs)
    assert weight.array is not None
    if alpha != 1 or not transpose_b:
        kept = weight.array if transpose_b else weight.array.T
        scaled = np.ascontiguousarray(kept * kept.dtype.type(alpha))
        weight = node.builder.parameter(weight, scaled, "gemm", transpose_b, alpha)
    if bias is None:
        return node.add(FC(), node.value(0), weight)
    assert bias.array is not None
    if beta != 1 or bias.shape != shape[:1]:
        row = bias.array.reshape(-1) * bias.array.dtype.type(beta)
        row = np.ascontiguousarray(np.broadcast_to(row, shape[:1]))
        bias = node.builder.parameter(bias, row, "gemm", shape[0], beta)
    return node.add(FC(), node.value(0), weight, bias)


@converts("MatMul")
def matmul(node: NodeReader) -> list[Value]:
    """Read as FC without bias where the second operand is a constant matrix."""
    data, weight = node.value(0), node.value(1)
    constant = weight.array is not None and weight.array.ndim == 2 and data.array is None
    if not constant or weight.array is None or weight.array.dtype.kind != "f":
        return node.add(MatMul(), data, weight)
    rows = np.ascontiguousarray(weight.array.T)
    return node.add(FC(), data, node.builder.parameter(weight, rows, "gemm", False, 1.0))


@converts("BatchNormalization")
def batch_normalization(node: NodeReader) -> list[Value]:
    """Read the form for inference."""
    node.ignore("momentum")
    if node.integer("training_mode", 0) or any(node.uses_output(i) for i in range(1, 5)):
        raise UnsupportedError("it is in training mode; export the model for inference")
    if node.integer("spatial", 1) != 1:
        raise UnsupportedError("spatial=0 is not handled; export the model with a newer opset")
    return node.add(BatchNorm(node.number("epsilon", 1e-5)), *node.inputs)


def weight_window(node: NodeReader, rank: int, slot: int = 1) -> tuple[int, ...]:
    """Return the window of the weight at input ``slot``, checked against kernel_shape."""
    weight = node.shape(slot)
    if len(weight) != rank + 2:
        raise ShapeError(f"weight has shape {weight}, expected {rank + 2} axes")
    declared = node.integers("kernel_shape")
    if declared is not None and declared != weight[2:]:
        raise ShapeError(f"kernel_shape is {declared}, but the weight has shape {weight}")
    return weight[2:]


def read_groups(node: NodeReader) -> int:
    """Return the number of groups."""
    groups = node.integer("group", 1)
    if not 1 <= groups <= max(node.shape(0)[1], 1):
        raise GraphError(f"group is {groups}, expected a positive number of groups of channels")
    return groups


def _operands(node: NodeReader, outputs: int) -> list[Value]:
    """Return data, weight and, if there is one, bias."""
    bias = node.optional(2)
    if bias is None:
        return [node.value(0), node.value(1)]
    if bias.shape != (outputs,):
        raise ShapeError(f"bias has shape {bias.shape}, expected {(outputs,)}")
    return [node.value(0), node.value(1), bias]


def _is_quantized_for_training(weight: Value) -> bool:
    """Whether the values are known but for the quantizers that they train with."""
    if weight.port is None or weight.known is None:
        return False
    return bool(weight.port.node.operator.onnx_domain == TRAINING_DOMAIN)


def _is_row(shape: tuple[int, ...], size: int) -> bool:
    """Whether a third operand of Gemm is the same for every row."""
    return shape in ((), (1,), (1, 1), (size,), (1, size))
