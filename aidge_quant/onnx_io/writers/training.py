"""Operators for training, in two forms: several standard operators, or one of our own domain.

Expanded, a model runs in any ONNX runtime and computes what was trained, but the reader does not
take it: Floor, Sign and Round are not among the operators that it reads on data. In our domain it
is read back, and no runtime runs it.

Expanded, values within some float32 steps of a tie may be rounded another way: |x| + 0.5 is a sum
in floats, and BiasQuantizer divides in float32 here.
"""

import math
from dataclasses import fields
from enum import Enum
from typing import Any

import numpy as np
from onnx import numpy_helper

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.onnx_io.node_writer import NodeWriter, Wire
from aidge_quant.onnx_io.tensors import TYPE_NUMBERS
from aidge_quant.onnx_io.writers.registry import writes
from aidge_quant.ops import DoReFaMode, Producer


def keep(node: NodeWriter) -> None:
    """Write one node of our domain, with the fields of the operator as attributes.

    Real numbers are tensors of float64: attributes of ONNX have float32, which would move a span.
    """
    operator = node.operator
    assert operator.onnx is not None
    attributes: dict[str, Any] = {}
    for field in fields(operator):
        value = getattr(operator, field.name)
        if isinstance(value, Enum):
            value = value.name
        elif isinstance(value, float):
            value = numpy_helper.from_array(np.asarray(value, np.float64), field.name)
        elif isinstance(value, tuple):
            value = [int(number) for number in value]
        else:
            value = int(value)
        attributes[field.name] = value
    node.finish(operator.onnx[0], *node.inputs, domain=operator.onnx_domain, **attributes)


@writes("LSQ")
def lsq(node: NodeWriter) -> None:
    """Write step * min(max(round(x / step), lower), upper)."""
    operator, step = node.operator, _positive(node, 1)
    if operator.power_of_two:  # type: ignore[attr-defined]
        step = _power_of_two(node, step, "step")
    ratio = node.emit("Div", node.input(), step, suffix="ratio")
    if operator.power_of_two:  # type: ignore[attr-defined]
        rounded = _half_up(node, ratio)
    else:
        rounded = _half_away(node, ratio)
    lower, upper = operator.range  # type: ignore[attr-defined]
    node.finish("Mul", _bounded(node, rounded, lower, upper), step)


@writes("BiasQuantizer")
def bias_quantizer(node: NodeWriter) -> None:
    """Write unit * floor(x / unit + 0.5)."""
    steps = [_positive(node, 1), _positive(node, 2)]
    if node.operator.power_of_two:  # type: ignore[attr-defined]
        steps = [_power_of_two(node, step, f"step{i}") for i, step in enumerate(steps)]
    larger = max(steps, key=lambda wire: len(wire.shape))
    unit = node.emit("Mul", *steps, suffix="unit", shape=larger.shape)
    ratio = node.emit("Div", node.input(), unit, suffix="ratio")
    node.finish("Mul", _half_up(node, ratio), unit)


@writes("CGPACT")
def cgpact(node: NodeWriter) -> None:
    """Write alpha / R * round(R * min(max(x / alpha, 0), 1))."""
    levels, alpha = node.operator.range, _positive(node, 1)  # type: ignore[attr-defined]
    part = _bounded(node, node.emit("Div", node.input(), alpha, suffix="ratio"), 0, 1)
    scaled = node.emit("Mul", part, node.scalar(levels, "levels"), suffix="scaled")
    step = node.emit("Div", alpha, node.scalar(levels, "divisor"), suffix="step")
    node.finish("Mul", _half_away(node, scaled), step)


@writes("FixedQ")
def fixed(node: NodeWriter) -> None:
    """Write step * min(max(round(x / step), lower), upper)."""
    operator = node.operator
    step = node.scalar(operator.step, "step")  # type: ignore[attr-defined]
    turn = _half_up if operator.half_up else _half_away  # type: ignore[attr-defined]
    rounded = turn(node, node.emit("Div", node.input(), step, suffix="ratio"))
    lower, upper = operator.range  # type: ignore[attr-defined]
    node.finish("Mul", _bounded(node, rounded, lower, upper), step)


@writes("DoReFa")
def dorefa(node: NodeWriter) -> None:
    """Write the formula of the mode; ONNX rounds ties to even as it does."""
    operator, data = node.operator, node.input()
    levels, mode = operator.range, operator.mode  # type: ignore[attr-defined]
    slope = operator.slope  # type: ignore[attr-defined]
    even = mode in (DoReFaMode.Default, DoReFaMode.FullRange)
    offset = 0.5 * levels if even else -0.5 * (mode is DoReFaMode.Asymmetric)
    factor = node.scalar(slope * levels * (0.5 if even else 1), "factor")
    scaled = node.emit("Mul", data, factor, suffix="scaled")
    moved = node.emit("Add", scaled, node.scalar(offset, "offset"), suffix="moved")
    rounded = node.emit("Round", moved, suffix="rounded")
    if not even:
        node.finish("Div", rounded, node.scalar(levels, "levels"))
        return
    share = node.emit("Mul", rounded, node.scalar(2 / levels, "width"), suffix="share")
    node.finish("Sub", share, node.scalar(1, "one"))


@writes("TanhClamp")
def tanh_clamp(node: NodeWriter) -> None:
    """Write tanh(x) over its largest magnitude, and that."""
    curve = node.emit("Tanh", node.input(), suffix="curve")
    size = node.emit("Abs", curve, suffix="magnitude")
    _divided(node, curve, node.emit("ReduceMax", size, suffix="most", shape=(), keepdims=0))


@writes("ScaleAdjust")
def scale_adjust(node: NodeWriter) -> None:
    """Write x over sqrt(n variance), and that."""
    data = node.input()
    sizes = [size for size in data.shape[1:] if isinstance(size, int)]
    if len(sizes) < len(data.shape) - 1:
        raise GraphError(f"its data have shape {data.shape}, expected known sizes")
    mean = node.emit("ReduceMean", data, suffix="mean", shape=(), keepdims=0)
    rest = node.emit("Sub", data, mean, suffix="rest")
    square = node.emit("Mul", rest, rest, suffix="square")
    variance = node.emit("ReduceMean", square, suffix="variance", shape=(), keepdims=0)
    stored = data.element_type
    count = node.emit("Size", data, suffix="count", shape=(), stored=dtype.int64)
    total = node.emit("Cast", count, suffix="total", stored=stored, to=TYPE_NUMBERS[stored])
    others = node.emit("Sub", total, node.scalar(1, "less"), suffix="others")
    unbiased = node.emit("Div", total, others, suffix="unbiased")
    factor = node.emit("Mul", unbiased, node.scalar(math.prod(sizes), "fan"), suffix="factor")
    scaled = node.emit("Mul", variance, factor, suffix="scaled")
    _divided(node, data, node.emit("Sqrt", scaled, suffix="deviation"))


def _divided(node: NodeWriter, data: Wire, divisor: Wire) -> None:
    """Finish with both outputs; a divisor of 0 becomes 1: d + 1 - sign(d)."""
    sign = node.emit("Sign", divisor, suffix="sign")
    above = node.emit("Add", divisor, node.scalar(1, "one"), suffix="above")
    safe = node.emit("Sub", above, sign, suffix="divisor")
    node.finish_output(0, "Div", data, safe)
    node.finish_output(1, "Reshape", safe, node.integers([1], "shape"))


def _half_away(node: NodeWriter, x: Wire) -> Wire:
    magnitude = node.emit("Abs", x, suffix="magnitude")
    whole = _half_up(node, magnitude)
    return node.emit("Mul", whole, node.emit("Sign", x, suffix="sign"), suffix="rounded")


def _half_up(node: NodeWriter, x: Wire) -> Wire:
    raised = node.emit("Add", x, node.scalar(0.5, "half"), suffix="raised")
    return node.emit("Floor", raised, suffix="whole")


def _bounded(node: NodeWriter, x: Wire, lower: float, upper: float) -> Wire:
    node.require(8, "bounds that broadcast")
    above = node.emit("Max", x, node.scalar(lower, "lower"), suffix="above")
    return node.emit("Min", above, node.scalar(upper, "upper"), suffix="within")


def _power_of_two(node: NodeWriter, step: Wire, suffix: str) -> Wire:
    """Return 2 ** floor(log2(step) + 0.5)."""
    logarithm = node.emit("Log", step, suffix=f"{suffix}_log")
    factor = node.scalar(1 / math.log(2), f"{suffix}_base")
    binary = node.emit("Mul", logarithm, factor, suffix=f"{suffix}_log2")
    half = node.scalar(0.5, f"{suffix}_half")
    raised = node.emit("Add", binary, half, suffix=f"{suffix}_raised")
    whole = node.emit("Floor", raised, suffix=f"{suffix}_exponent")
    two = node.scalar(2, f"{suffix}_two")
    return node.emit("Pow", two, whole, suffix=f"{suffix}_power", shape=step.shape)


def _positive(node: NodeWriter, slot: int) -> Wire:
    """Return a step or bound, which must be above 0 where it is a parameter."""
    source = node.node.input(slot).node.operator
    if isinstance(source, Producer) and not (source.value > 0).all():
        raise GraphError(
            f"its step or bound {node.node.input(slot).node.name} is {source.value.reshape(-1)}, "
            "expected numbers above 0; call aidge_quant.training.initialize first, or train"
        )
    return node.input(slot)
