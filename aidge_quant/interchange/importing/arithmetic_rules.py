"""Import of sums, products and means: integers by small multipliers, accumulators by units."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, Node, Port
from aidge_quant.interchange.importing.affine_rules import add_to_accumulator, affine_before
from aidge_quant.interchange.importing.importer import INT32, Importer, plain
from aidge_quant.interchange.importing.ratios import LARGEST, best_pair, unit_of
from aidge_quant.interchange.importing.records import logger
from aidge_quant.interchange.importing.values import (
    ACCUMULATOR,
    NO_BOUNDS,
    Value,
)
from aidge_quant.ops import (
    FC,
    AveragePool,
    Conv,
    SumPool,
)
from aidge_quant.ops.quantization import HALF_UP
from aidge_quant.ops.windows import missing_at_end, output_sizes

#: How well two integers must say the ratio of two scales, relatively.
RATIO_TOLERANCE = 1e-3

#: Largest weight of a layer that adds a constant, and the one where a step of the constant is far
#: smaller than one of the data.
CONSTANT_WEIGHT = 2**14


def import_add(importer: Importer, node: Node) -> None:
    """Add and Sub: two integers on their own scales, by small integer multipliers."""
    for slot in (0, 1):
        constant = importer.constants.holds(node.input(slot).node)
        if not constant and importer.value(node, slot).kind == ACCUMULATOR:
            add_to_accumulator(importer, node, slot)
            return
    for slot in (0, 1):
        if importer.constants.holds(node.input(slot).node):
            _add_constant(importer, node, slot)
            return
    a, b = importer.stored(node, 0), importer.stored(node, 1)
    shapes = [importer.shapes[p.node][p.index] for p in node.inputs if p is not None]
    if shapes[0][1:] != shapes[1][1:]:
        raise importer.refuse(node, f"its inputs have shapes {shapes}, expected one shape")
    scales = float(a.unit), float(b.unit)
    pair = _multipliers(importer, node, a, b)
    if not _is_close(pair, scales):
        raise importer.refuse(
            node,
            f"the scales of its inputs are {scales[0]:g} and {scales[1]:g}, too far apart for "
            "integer multipliers",
            "use scales closer to each other",
        )
    ports = [
        importer.multiplied(value.port, multiplier, f"{node.name}_{slot}")
        for slot, (value, multiplier) in enumerate(zip((a, b), pair, strict=True))
    ]
    added = importer.add(node.operator, ports, node.name)
    unit = np.asarray(unit_of(*scales, pair))
    importer.bind(node, Value(Port(added), ACCUMULATOR, unit))


def _multipliers(importer: Importer, node: Node, a: Value, b: Value) -> tuple[int, int]:
    """Return the multipliers of an Add: those of its record, else the nearest to the scales."""
    following = importer.following(node)
    scales = float(a.unit), float(b.unit)
    if following is not None and following[1] is not None:
        quantizer, record = following
        assert record is not None
        step = importer.constants.grid(quantizer).scale
        if len(record.inputs) == 2 and all(
            record.agrees(scale / step, multiplier)
            for scale, multiplier in zip(scales, record.inputs, strict=True)
        ):
            return record.inputs[0], record.inputs[1]
    widest = max(v.grid.element_type.bits for v in (a, b) if v.grid is not None)
    return best_pair(*scales, LARGEST if widest <= 8 else LARGEST // 2)


def _is_close(pair: tuple[int, int], scales: tuple[float, float]) -> bool:
    return abs(pair[0] / pair[1] / (scales[0] / scales[1]) - 1) <= RATIO_TOLERANCE


def _add_constant(importer: Importer, node: Node, slot: int) -> None:
    """Add a constant, one value a channel, to stored integers: a layer with one weight a channel.

    acc = m * v + c with real = u * acc; the pair of integers m and the step of the constant says
    the ratio of the two scales.
    """
    constant = importer.constants.quantized(node.input(slot))
    reals = importer.constants.of(node.input(slot))
    assert reals is not None
    data = importer.stored(node, 1 - slot)
    sign = -1 if node.type == "Sub" else 1
    weight, unit = CONSTANT_WEIGHT, float(data.unit) / CONSTANT_WEIGHT
    steps = np.rint(reals.astype(np.float64) / unit)
    if constant is not None and constant.scale.size == 1:
        scales = float(data.unit), float(constant.scale)
        pair = best_pair(*scales, CONSTANT_WEIGHT)
        if _is_close(pair, scales):
            weight, unit = pair[0], unit_of(*scales, pair)
            steps = pair[1] * constant.steps
    if np.abs(steps).max(initial=0) > INT32[1]:
        raise importer.refuse(node, "its constant is too large for the scale of its data")
    steps = steps.astype(np.int64)
    signs = (1, sign) if slot == 1 else (sign, 1)
    _emit_channel_layer(
        importer, node, data, np.full((), signs[0] * weight), signs[1] * steps, unit
    )


def import_mul(importer: Importer, node: Node) -> None:
    """Mul of two stored tensors, or of one and a constant."""
    for slot in (0, 1):
        if importer.constants.holds(node.input(slot).node):
            _multiply_by_constant(importer, node, slot)
            return
    a, b = importer.stored(node, 0), importer.stored(node, 1)
    added = importer.add(node.operator, (a.port, b.port), node.name)
    unit = np.asarray(float(a.unit) * float(b.unit))
    importer.bind(node, Value(Port(added), ACCUMULATOR, unit, single=True))


def _multiply_by_constant(importer: Importer, node: Node, slot: int) -> None:
    constant = importer.constants.quantized(node.input(slot))
    total = importer.value(node, 1 - slot)
    if total.kind == ACCUMULATOR:
        _scale_accumulator(importer, node, total, slot)
        return
    data = importer.stored(node, 1 - slot)
    if constant is None or constant.scale.size != 1:
        raise importer.refuse(
            node,
            f"it multiplies by {node.input(slot).node.name} in float",
            "quantize the constant too",
        )
    unit = float(data.unit) * float(constant.scale)
    zeros = np.zeros((), np.int64)
    _emit_channel_layer(importer, node, data, constant.steps, zeros, unit)


def _scale_accumulator(importer: Importer, node: Node, total: Value, slot: int) -> None:
    """Make a constant factor of an accumulator, one or one a channel, part of its unit."""
    reals = importer.constants.of(node.input(slot))
    assert reals is not None
    shape = importer.shapes[node][0]
    aligned = reals.reshape((1,) * (len(shape) - reals.ndim) + reals.shape)
    axis = total.axis % len(shape)
    if aligned.size not in (1, aligned.shape[axis]) or not (reals > 0).all():
        raise importer.refuse(
            node,
            f"it multiplies an accumulator by numbers of shape {reals.shape}, expected positive "
            "ones, one or one a channel",
            f"quantize the output of {node.input(1 - slot).node.name}",
        )
    unit = np.asarray(total.unit * aligned.reshape(() if aligned.size == 1 else (-1,)))
    bounds = total.bounds
    if aligned.size == 1:
        bounds = (bounds[0] * float(aligned.item()), bounds[1] * float(aligned.item()))
    elif bounds not in (NO_BOUNDS, (0.0, np.inf)):
        raise importer.refuse(
            node,
            f"it multiplies what {total.clip} has clipped by one number a channel",
            f"quantize the output of {total.clip}",
        )
    factor = aligned.astype(np.float64).reshape(() if aligned.size == 1 else (-1,))
    for port in affine_before(total.port.node).inputs[1:]:
        if port is not None and Annotation.SCALE in port.node.annotations:
            scale = port.node.annotations[Annotation.SCALE]
            port.node.annotations[Annotation.SCALE] = plain(np.asarray(scale) * factor)
    importer.bind(node, dataclasses.replace(total, unit=unit, bounds=bounds))


def _emit_channel_layer(
    importer: Importer,
    node: Node,
    data: Value,
    weight: np.ndarray,
    bias: np.ndarray,
    unit: float,
) -> None:
    """Add a layer that computes weight * v + bias, both one value or one a channel."""
    shape = importer.shapes[node][0]
    (port,) = (p for p in node.inputs if p is not None and not importer.constants.holds(p.node))
    if importer.shapes[port.node][port.index] != shape:
        raise importer.refuse(node, "its constant is larger than its data")
    rank = len(shape)
    axis = 1 if rank != 3 or _varies(bias, weight, rank, 1) else rank - 1
    channels = shape[axis]
    rows = [_row(importer, node, values, rank, axis, channels) for values in (weight, bias)]
    largest = int(np.abs(rows[0]).max())
    if largest > dtype.int16.max:
        raise importer.refuse(node, f"its constant reaches {largest}, expected int16")
    kind = dtype.int8 if largest <= dtype.int8.max else dtype.int16
    if axis == rank - 1:
        operator: Conv | FC = FC()
        kernel = np.diag(rows[0])
    else:
        ones = (1,) * (rank - 2)
        operator = Conv(ones, ones, (0,) * (2 * rank - 4), channels)
        kernel = rows[0].reshape(channels, 1, *ones)
    parameters = (
        importer.constant(kernel, kind, f"{node.name}_weight", np.asarray(unit / float(data.unit))),
        importer.constant(rows[1], dtype.int32, f"{node.name}_bias", np.asarray(unit)),
    )
    added = importer.add(operator, (data.port, *parameters), node.name)
    importer.bind(node, Value(Port(added), ACCUMULATOR, np.asarray(unit), axis=axis))


def _varies(first: np.ndarray, second: np.ndarray, rank: int, axis: int) -> bool:
    sizes = [(1,) * (rank - a.ndim) + a.shape for a in (first, second)]
    return any(size[axis] > 1 for size in sizes)


def _row(
    importer: Importer, node: Node, values: np.ndarray, rank: int, axis: int, channels: int
) -> np.ndarray:
    """Return one value a channel of a constant that broadcasts; refuse others."""
    if values.size == 1:
        return np.full(channels, values.item(), np.int64)
    aligned = values.reshape((1,) * (rank - values.ndim) + values.shape)
    if aligned.size != aligned.shape[axis]:
        raise importer.refuse(
            node,
            f"its constant has shape {values.shape}, expected one value or one a channel",
        )
    return aligned.reshape(-1).astype(np.int64)


def import_average(importer: Importer, node: Node) -> None:
    """AveragePool and GlobalAveragePool as a sum that its quantizer divides."""
    value = importer.stored(node, 0)
    assert value.grid is not None
    port = node.input(0)
    data = importer.shapes[port.node][port.index]
    operator = node.operator
    if not isinstance(operator, AveragePool):
        ones = (1,) * (len(data) - 2)
        operator = AveragePool(data[2:], ones, ones, (0,) * (2 * len(ones)))
    arguments = (operator.window, operator.stride, operator.dilation, operator.padding)
    outputs = output_sizes(data[2:], *arguments, ceil=operator.ceil)
    whole = not any(missing_at_end(data[2:], *arguments, outputs))
    uniform = whole and (operator.count_include_pad or not any(operator.padding))
    following = importer.following(node)
    record = None if following is None else following[1]
    same = following is not None and importer.constants.grid(following[0]) == value.grid
    count = int(np.prod(operator.window))
    divides = record is not None and record.rounding == HALF_UP and record.factor == 1 / count
    if same and (not uniform or divides):
        if record is None:
            _note_half_up(importer, node)
        added = importer.add(node.operator, (value.port,), node.name)
        importer.bind(node, dataclasses.replace(value, port=Port(added)))
        return
    if not uniform:
        raise importer.refuse(
            node,
            "its windows reach into the padding, so that each has its own divisor, and its output "
            "has another scale than its input",
            "give both one scale, or set count_include_pad",
        )
    summed = SumPool(operator.window, operator.stride, operator.dilation, operator.padding)
    added = importer.add(summed, (value.port,), node.name)
    unit = np.asarray(float(value.unit) / count)
    importer.bind(node, Value(Port(added), ACCUMULATOR, unit))


def _note_half_up(importer: Importer, node: Node) -> None:
    logger.info(
        "%s (%s): windows cut by the padding are averaged with rounding half up, where ONNX "
        "rounds ties to even",
        node.name,
        node.type,
    )
