"""Functions that ONNX got late: written as standard operators where the operator set has them not.

The operators of the expansions are themselves subject to the operator set: Erf came with 9.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aidge_quant.dtypes import dtype
from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.tensors import TYPE_NUMBERS
from aidge_quant.onnx_io.writers.registry import from_table, writes


def _hard_swish(node: NodeWriter) -> None:
    """X * HardSigmoid(x / 6 + 0.5)."""
    x = node.input()
    node.finish("Mul", x, node.emit("HardSigmoid", x, suffix="gate", alpha=1 / 6, beta=0.5))


def _mish(node: NodeWriter) -> None:
    """X * Tanh(Softplus(x))."""
    x = node.input()
    softplus = node.emit("Softplus", x, suffix="softplus")
    node.finish("Mul", x, node.emit("Tanh", softplus, suffix="gate"))


def _swish(node: NodeWriter) -> None:
    """X * Sigmoid(alpha * x)."""
    x, alpha = node.input(), node.operator.alpha  # type: ignore[attr-defined]
    scaled = x if alpha == 1 else node.emit("Mul", x, node.scalar(alpha, "alpha"), suffix="scaled")
    node.finish("Mul", x, node.emit("Sigmoid", scaled, suffix="gate"))


def _gelu(node: NodeWriter) -> None:
    """X / 2 * (1 + Erf(x / sqrt(2))), or the formula with Tanh."""
    x = node.input()
    if node.operator.approximate:  # type: ignore[attr-defined]
        square = node.emit("Mul", x, x, suffix="square")
        cubic = node.emit("Mul", square, node.scalar(0.044715, "cubic"), suffix="cubic_term")
        factor = node.emit("Add", cubic, node.scalar(1, "one"), suffix="factor")
        inner = node.emit("Mul", x, factor, suffix="sum")
        scale = node.scalar(math.sqrt(2 / math.pi), "scale")
        curve = node.emit("Tanh", node.emit("Mul", inner, scale, suffix="scaled"), suffix="curve")
    else:
        scale = node.scalar(math.sqrt(0.5), "scale")
        curve = node.emit("Erf", node.emit("Mul", x, scale, suffix="scaled"), suffix="curve")
    gate = node.emit("Add", curve, node.scalar(1, "unit"), suffix="gate")
    half = node.emit("Mul", x, node.scalar(0.5, "half"), suffix="halved")
    node.finish("Mul", half, gate)


def _celu(node: NodeWriter) -> None:
    """Alpha * Elu(x / alpha)."""
    x, alpha = node.input(), node.operator.alpha  # type: ignore[attr-defined]
    scaled = node.emit("Div", x, node.scalar(alpha, "alpha"), suffix="scaled")
    curve = node.emit("Elu", scaled, suffix="curve", alpha=1.0)
    node.finish("Mul", curve, node.scalar(alpha, "factor"))


def _thresholded_relu(node: NodeWriter) -> None:
    """X * (x > alpha)."""
    x = node.input()
    alpha = node.scalar(node.operator.alpha, "alpha")  # type: ignore[attr-defined]
    above = node.emit("Greater", x, alpha, suffix="above", stored=dtype.boolean)
    number = TYPE_NUMBERS[x.element_type]
    gate = node.emit("Cast", above, suffix="gate", stored=x.element_type, to=number)
    node.finish("Mul", x, gate)


class Expansion(NamedTuple):
    """The version of the operator set that brought an operator, and what stands for it before."""

    since: int
    write: Callable[[NodeWriter], None]


EXPANSIONS: Mapping[str, Expansion] = {
    "Celu": Expansion(12, _celu),
    "Gelu": Expansion(20, _gelu),
    "HardSwish": Expansion(14, _hard_swish),
    "Mish": Expansion(18, _mish),
    "Swish": Expansion(24, _swish),
    "ThresholdedReLU": Expansion(10, _thresholded_relu),
}


@writes(*EXPANSIONS)
def expanded(node: NodeWriter) -> None:
    """Write the operator where the operator set has it, else its expansion."""
    expansion = EXPANSIONS[node.operator.type]
    write = from_table if node.opset >= expansion.since else expansion.write
    write(node)


@writes("Pow")
def power(node: NodeWriter) -> None:
    """Write the exponent as an input."""
    exponent = node.operator.exponent  # type: ignore[attr-defined]
    node.finish("Pow", node.input(), node.scalar(exponent, "exponent"))
