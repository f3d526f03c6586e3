"""Import of the layers with weights, and of what is added to their accumulators."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, Node, Port
from aidge_quant.interchange.importing.constants import QuantizedConstant, off_scale
from aidge_quant.interchange.importing.importer import INT32, Importer
from aidge_quant.interchange.importing.values import ACCUMULATOR, NO_BOUNDS, Value
from aidge_quant.ops import FC, Conv, ConvTranspose, Gemm, Operator

#: Operators that have a bias.
WITH_WEIGHTS = ("Conv", "ConvTranspose", "FC")


def import_affine(importer: Importer, node: Node) -> None:
    """Conv, ConvTranspose, and products with a constant matrix: integer weights, int32 bias."""
    data = importer.stored(node, 0)
    weight = _weight(importer, node)
    operator, steps, scale = _as_layer(importer, node, weight)
    alpha = np.float32(getattr(node.operator, "alpha", 1.0))
    unit = np.float32(data.unit) * scale
    unit = np.asarray(unit if alpha == 1 else unit * alpha, np.float32)
    if not (np.isfinite(unit) & (unit > 0)).all():
        raise importer.refuse(
            node,
            f"the product of the scales of data and weight is {unit.reshape(-1)[:3]}, expected "
            "finite numbers above 0",
            "quantize the model with other scales",
        )
    channels = steps.shape[0] if operator.output_axis == 0 else steps.shape[1] * _groups(operator)
    inputs: list[Port | Node] = [data.port]
    element_type = _weight_type(importer, node, weight, steps)
    effective = scale if alpha == 1 else scale * alpha
    inputs.append(importer.constant(steps, element_type, f"{node.name}_weight", effective))
    bias = _bias(importer, node, unit, channels)
    if bias is not None:
        inputs.append(importer.constant(bias, dtype.int32, f"{node.name}_bias", unit))
    added = importer.add(operator, inputs, node.name)
    added.annotations[Annotation.ACCUMULATION_PRECISION] = dtype.int32
    axis = len(importer.shapes[node][0]) - 1 if isinstance(operator, FC) else 1
    importer.bind(node, Value(Port(added), ACCUMULATOR, unit, axis=axis))


def add_to_accumulator(importer: Importer, node: Node, slot: int) -> None:
    """Add or Sub whose input ``slot`` is an accumulator, the other a stored tensor or constant."""
    total, other = importer.value(node, slot), 1 - slot
    if node.type == "Sub" and slot == 1:
        raise importer.refuse(node, "it subtracts an accumulator", "quantize both its inputs")
    constant = importer.constants.of(node.input(other))
    if constant is not None:
        _add_constant(importer, node, total, constant)
        return
    _expect_free(importer, node, total)
    if importer.value(node, other).kind == ACCUMULATOR:
        raise importer.refuse(
            node, "both its inputs are accumulators", "quantize at least one of them"
        )
    added = importer.stored(node, other)
    exact = np.asarray(added.unit / total.unit.astype(np.float64), np.float64)
    following = importer.following(node)
    record = None if following is None else following[1]
    factors = np.rint(exact)
    if record is not None and record.residual is not None:
        factors = record.residual.astype(np.float64)
    wrong = (factors < 1) | (np.abs(factors / exact - 1) > 2.0**-18)
    if wrong.any():
        ratio = exact.reshape(-1)[int(np.argmax(wrong.reshape(-1)))]
        raise importer.refuse(
            node,
            f"the scale of {node.input(other).node.name} is {ratio:g} times that of the "
            "accumulator that it is added to, expected an integer",
            f"quantize the output of {node.input(slot).node.name} before it is added",
        )
    rank = len(importer.shapes[node][0])
    shape = [1] * rank
    if factors.size > 1:
        shape[total.axis] = -1
    multipliers = factors.reshape(shape) if factors.size > 1 else factors.reshape(())
    port = importer.multiplied(added.port, multipliers.astype(np.int64), node.name)
    ports = (total.port, port) if slot == 0 else (port, total.port)
    result = importer.add(node.operator, ports, node.name)
    importer.bind(node, dataclasses.replace(total, port=Port(result)))


def affine_before(node: Node) -> Node:
    """Return the layer with weights whose accumulator a node is, residuals added or not.

    It is the node itself, or the last sum, where there is none.
    """
    while node.type in ("Add", "Sub"):
        sums = [port.node for port in node.inputs if port is not None]
        found = [n for n in sums if n.type in (*WITH_WEIGHTS, "Add", "Sub")]
        if not found:
            break
        node = found[0]
    return node


def _add_constant(importer: Importer, node: Node, total: Value, constant: np.ndarray) -> None:
    """Make a constant that is added to an accumulator part of its bias."""
    _expect_free(importer, node, total)
    affine = affine_before(total.port.node)
    if affine.type not in WITH_WEIGHTS:
        raise importer.refuse(
            node,
            f"it adds a constant to the result of {affine.name} ({affine.type}), which has no bias",
            f"quantize the output of {node.input(0).node.name}",
        )
    shape = importer.shapes[node][0]
    values = np.broadcast_to(constant, shape[1:] if constant.ndim < len(shape) else shape)
    while values.ndim < len(shape):
        values = values[None]
    row = np.moveaxis(values, total.axis, 0).reshape(shape[total.axis], -1)
    if (row != row[:, :1]).any():
        raise importer.refuse(node, "it adds a constant that differs within a channel")
    sign = -1.0 if node.type == "Sub" else 1.0
    steps = np.rint(sign * row[:, 0].astype(np.float64) / total.unit.astype(np.float64))
    if affine.has_input(2):
        steps = steps + affine.input(2).node.operator.value
    _expect_int32(importer, node, steps)
    bias = importer.constant(steps, dtype.int32, f"{node.name}_bias", total.unit)
    importer.graph.set_input(affine, 2, bias)
    importer.bind(node, total)


def _expect_free(importer: Importer, node: Node, total: Value) -> None:
    """Refuse what follows a ReLU or Clip before the accumulator is quantized."""
    if total.bounds != NO_BOUNDS:
        raise importer.refuse(
            node,
            f"it adds to what {total.clip} has clipped, before a QuantizeLinear",
            f"quantize the output of {total.clip}",
        )


def _weight(importer: Importer, node: Node) -> QuantizedConstant:
    port = node.input(1)
    found = importer.constants.quantized(port)
    if found is not None:
        return found
    if importer.constants.holds(port.node):
        raise importer.refuse(
            node,
            f"its weight {port.node.name} is in float, expected a DequantizeLinear of integers",
            "quantize the weights too",
        )
    raise importer.refuse(
        node,
        f"its weight {port.node.name} is computed, expected a constant",
        "products of two activations have no integer form here",
    )


def _as_layer(
    importer: Importer, node: Node, weight: QuantizedConstant
) -> tuple[Conv | ConvTranspose | FC, np.ndarray, np.ndarray]:
    """Return the layer, its weight, and the scale () or (channels,) of the weight."""
    operator: Operator = node.operator
    steps, axis, scale = weight.steps, weight.axis, weight.scale
    if isinstance(operator, Gemm) and operator.transpose_a:
        raise importer.refuse(node, "transA is set", "transpose its first input in the model")
    if node.type == "MatMul" or (isinstance(operator, Gemm) and not operator.transpose_b):
        if steps.ndim != 2:
            raise importer.refuse(node, f"its weight has shape {steps.shape}, expected a matrix")
        steps, axis = np.ascontiguousarray(steps.T), 1 - axis
    layer = operator if isinstance(operator, Conv | ConvTranspose | FC) else FC()
    if scale.ndim and axis != layer.output_axis:
        raise importer.refuse(
            node,
            f"the scales of its weight {weight.name} run along axis {weight.axis}, which does not "
            "count its outputs",
            "quantize the weight per output channel or per tensor",
        )
    if scale.ndim and isinstance(layer, ConvTranspose):
        scale = np.tile(scale, layer.groups)
    return layer, steps, scale


def _groups(operator: Conv | ConvTranspose | FC) -> int:
    return 1 if isinstance(operator, FC) else operator.groups


def _weight_type(
    importer: Importer, node: Node, weight: QuantizedConstant, steps: np.ndarray
) -> dtype:
    """Return the smallest symmetric type that holds the weight; int4 where it is stored so."""
    largest = int(np.abs(steps).max(initial=0))
    if weight.element_type.bits == 4 and largest <= dtype.int4.max:
        return dtype.int4
    if largest <= dtype.int8.max:
        return dtype.int8
    if largest <= dtype.int16.max:
        return dtype.int16
    raise importer.refuse(
        node,
        f"its weight {weight.name} reaches {largest} less its zero point, expected int16",
        "quantize the weights to 8 bits",
    )


def _bias(importer: Importer, node: Node, unit: np.ndarray, channels: int) -> np.ndarray | None:
    """Return the bias in units of the accumulator, int64 (channels,)."""
    if not node.has_input(2):
        return None
    port = node.input(2)
    beta = float(getattr(node.operator, "beta", 1.0))
    reals = importer.constants.of(port)
    if reals is None:
        raise importer.refuse(node, f"its bias {port.node.name} is computed, expected a constant")
    if reals.size not in (1, channels):
        raise importer.refuse(
            node, f"its bias {port.node.name} has shape {reals.shape}, expected ({channels},)"
        )
    found = importer.constants.quantized(port)
    wide = unit.astype(np.float64)
    if found is None:
        steps = np.rint(beta * reals.astype(np.float64).reshape(-1) / wide)
    else:
        scale = beta * found.scale.astype(np.float64)
        _expect_bias_scale(importer, node, found, scale, wide)
        steps = found.steps.reshape(-1).astype(np.float64)
    _expect_int32(importer, node, steps)
    return np.broadcast_to(steps, (channels,)).astype(np.int64)


def _expect_bias_scale(
    importer: Importer, node: Node, bias: QuantizedConstant, scale: np.ndarray, unit: np.ndarray
) -> None:
    wrong = off_scale(scale, unit)
    if wrong.any():
        scales, units = np.broadcast_arrays(scale, unit)
        first = int(np.argmax(wrong.reshape(-1)))
        raise importer.refuse(
            node,
            f"its bias {bias.name} has scale {scales.reshape(-1)[first]:g} in channel {first}, "
            f"expected {units.reshape(-1)[first]:g}, the product of the scales of data and weight",
            "quantize the bias to int32 on that scale, or leave it in float",
        )


def _expect_int32(importer: Importer, node: Node, steps: np.ndarray) -> None:
    largest = float(np.abs(steps).max(initial=0.0))
    if largest > INT32[1]:
        raise importer.refuse(
            node,
            f"its bias reaches {largest:.0f} units of its accumulator, which int32 cannot hold",
            "use larger scales for data or weights",
        )
