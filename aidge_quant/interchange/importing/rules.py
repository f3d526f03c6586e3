"""Import of the operators without weights."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, Node, Port
from aidge_quant.interchange.importing.affine_rules import add_to_accumulator, affine_before
from aidge_quant.interchange.importing.importer import INT32, Importer, plain, value_type
from aidge_quant.interchange.importing.ratios import LARGEST, best_pair, unit_of
from aidge_quant.interchange.importing.records import logger
from aidge_quant.interchange.importing.values import (
    ACCUMULATOR,
    FUNCTION,
    INDEX,
    INPUT,
    NO_BOUNDS,
    STORED,
    Grid,
    Value,
)
from aidge_quant.ops import (
    FC,
    AveragePool,
    Clip,
    Conv,
    Dequantizer,
    LookupTable,
    Pad,
    Quantizer,
    ReLU,
    SumPool,
    producer,
)
from aidge_quant.ops.quantization import HALF_UP
from aidge_quant.ops.windows import missing_at_end, output_sizes

#: How well two integers must say the ratio of two scales, relatively.
RATIO_TOLERANCE = 1e-3

#: Largest weight of a layer that adds a constant, and the one where a step of the constant is far
#: smaller than one of the data.
CONSTANT_WEIGHT = 2**14


def import_quantize(importer: Importer, node: Node) -> None:
    """QuantizeLinear: the end of a layer, a rescaling, or nothing."""
    value = importer.value(node, 0)
    if not value.real:
        raise importer.refuse(node, "its data is quantized already")
    importer.bind(node, importer.quantize(node, value))


def import_dequantize(importer: Importer, node: Node) -> None:
    """DequantizeLinear: the same integers."""
    value = importer.value(node, 0)
    grid = importer.constants.grid(node)
    if value.kind == INPUT and node.input(0).node in importer.source.inputs:
        importer.bind(node, dataclasses.replace(importer.quantize(node, value), real=True))
        return
    if value.kind != STORED or value.real:
        raise importer.refuse(
            node,
            f"it dequantizes the output of {node.input(0).node.name} "
            f"({node.input(0).node.type}), expected that of a QuantizeLinear",
        )
    assert value.grid is not None
    if value.grid != grid and not value.noted:
        raise importer.refuse(
            node,
            f"it reads {grid}, but its data was quantized as {value.grid}",
            "use one scale and zero point for a tensor",
        )
    unit = np.asarray(grid.scale)
    importer.bind(node, dataclasses.replace(value, real=True, grid=grid, unit=unit))


def import_table(importer: Importer, node: Node) -> None:
    """Import a table of stored integers; what those that come out mean is on record."""
    value = importer.value(node, 0)
    record = importer.record(node)
    if value.kind != STORED or value.real or value.grid is None:
        raise importer.refuse(node, "a table is read at real values, expected quantized ones")
    if record is None or record.zero_point is None or record.scale is None:
        raise importer.refuse(
            node,
            "nothing says what the integers of its table mean",
            "write the function as DequantizeLinear, function, QuantizeLinear",
        )
    operator: LookupTable = node.operator
    grid = Grid(float(record.scale), record.zero_point, operator.element_type)
    made = dataclasses.replace(
        operator,
        table=operator.table.astype(np.int64) - grid.zero_point,
        first=operator.first - value.grid.zero_point,
        element_type=value_type(grid.interval),
        interval=grid.interval,
    )
    added = importer.add(made, (value.port,), node.name)
    real = grid.scale if record.real is None else plain(record.real)
    added.annotations[Annotation.SCALE] = real
    unit = np.asarray(grid.scale)
    importer.bind(node, Value(Port(added), STORED, unit, grid, real=False, noted=True))


def import_bound(importer: Importer, node: Node) -> None:
    """ReLU and Clip: bounds, applied on the grid of the next QuantizeLinear."""
    value = importer.value(node, 0)
    operator: ReLU | Clip = node.operator
    if value.kind == INDEX or np.ndim(getattr(operator, "upper", 0.0)):
        raise importer.refuse(node, "it bounds indices, or every channel by another number")
    lower = 0.0 if isinstance(operator, ReLU) else float(operator.lower)
    upper = np.inf if isinstance(operator, ReLU) else float(operator.upper)
    if not value.real:
        assert value.grid is not None
        grid = dataclasses.replace(value.grid, scale=1.0)
        moved = value.bounded(lower - grid.zero_point, upper - grid.zero_point, node.name)
        found = importer.clipped(moved, grid)
        importer.bind(node, dataclasses.replace(found, grid=value.grid))
        return
    importer.bind(node, value.bounded(lower, upper, node.name))


def import_move(importer: Importer, node: Node) -> None:
    """Operators that move values, on integers or on a value whose bounds go along."""
    value = importer.value(node, 0)
    if value.kind not in (STORED, INPUT, INDEX):
        raise importer.refuse(
            node,
            f"it moves the output of {node.input(0).node.name} in float, which several nodes read",
            f"quantize the output of {node.input(0).node.name}",
        )
    added = importer.add(node.operator, (value.port,), node.name)
    importer.bind(node, dataclasses.replace(value, port=Port(added)))


def import_pad(importer: Importer, node: Node) -> None:
    """Import a pad: of stored integers with a stored one, of real values with 0."""
    value = importer.value(node, 0)
    operator: Pad = node.operator
    if value.kind == STORED and not value.real:
        assert value.grid is not None
        operator = dataclasses.replace(operator, value=operator.value - value.grid.zero_point)
    elif operator.value != 0:
        raise importer.refuse(
            node, f"it pads real values with {operator.value:g}, expected 0", "quantize its data"
        )
    elif value.kind not in (STORED, INPUT) or (value.kind == INPUT and value.bounds != NO_BOUNDS):
        raise importer.refuse(node, "its data is in float", "quantize its data")
    elif value.kind == STORED:
        value = importer.stored(node, 0)  # bounds do not reach what is padded
    added = importer.add(operator, (value.port,), node.name)
    importer.bind(node, dataclasses.replace(value, port=Port(added)))


def import_index(importer: Importer, node: Node) -> None:
    """ArgMax: integers keep the order of the real values."""
    value = importer.value(node, 0)
    if value.kind != STORED:
        raise importer.refuse(node, "its data is in float", "quantize its data")
    added = importer.add(node.operator, (value.port,), node.name)
    importer.bind(node, Value(Port(added), INDEX, np.ones(()), real=False))


def import_cast(importer: Importer, node: Node) -> None:
    """Import a conversion of indices, which stay the numbers that they are."""
    value = importer.value(node, 0)
    if value.kind != INDEX:
        raise importer.refuse(node, "it converts the type of quantized values", "leave it out")
    importer.bind(node, value)


def import_concat(importer: Importer, node: Node) -> None:
    """Concat of tensors on one grid; the QuantizeLinear behind it stands before it here."""
    values = [importer.value(node, slot) for slot in range(len(node.inputs))]
    first = values[0]
    if any(v.kind != STORED or v.grid != first.grid or v.real != first.real for v in values):
        raise importer.refuse(
            node,
            "its inputs are on different scales and no QuantizeLinear follows it alone",
            "quantize its output",
        )
    bounds = {v.bounds for v in values}
    if len(bounds) > 1:
        values = [importer.stored(node, slot) for slot in range(len(node.inputs))]
    added = importer.add(node.operator, [v.port for v in values], node.name)
    importer.bind(node, dataclasses.replace(values[0], port=Port(added)))


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


def import_function(importer: Importer, node: Node) -> None:
    """Import a function of one value: a table from its DequantizeLinear to its QuantizeLinear."""
    value = importer.value(node, 0)
    parameters = []
    for port in node.inputs[1:]:
        array = importer.constants.of(port)
        if array is None:
            raise importer.refuse(node, "a parameter is computed, expected a constant")
        name = importer.free_name(f"{node.name}_parameter")
        parameters.append(importer.add(producer(array.astype(np.float32)), (), name))
    port = value.port
    if value.kind == FUNCTION and value.bounds != NO_BOUNDS:
        raise importer.refuse(
            node,
            f"{value.clip} before it bounds a function",
            f"quantize the output of {value.clip}",
        )
    if value.kind != FUNCTION:
        value = importer.stored(node, 0)
        name = importer.free_name(f"{node.name}_Dequantizer")
        port = Port(importer.add(Dequantizer(float(value.unit)), (value.port,), name))
    added = importer.add(node.operator, (port, *parameters), node.name)
    importer.bind(node, Value(Port(added), FUNCTION, np.ones(())))


def keep_accumulator(importer: Importer, node: Node, value: Value) -> Port:
    """Return a port that stores an accumulator as int32: an output without QuantizeLinear."""
    clip = INT32
    lower, upper = value.bounds
    if lower > -np.inf or upper < np.inf:
        if value.unit.size != 1 and (lower, upper) != (0.0, np.inf):
            raise importer.refuse(node, "its bounds are not integers", "quantize its output")
        unit = float(value.unit.reshape(-1)[0])
        clip = (
            max(INT32[0], int(np.rint(max(lower / unit, -1e18)))),
            min(INT32[1], int(np.rint(min(upper / unit, 1e18)))),
        )
    shift = np.zeros((), np.int64)
    operator = Quantizer(1.0, clip, HALF_UP, shift, value.axis, dtype.int32)
    name = importer.free_name(f"{node.name}_Quantizer")
    added = importer.add(operator, (value.port,), name)
    added.annotations[Annotation.IS_ACTIVATION_QUANTIZER] = True
    added.annotations[Annotation.PRECISION] = dtype.int32
    added.annotations[Annotation.SCALE] = plain(value.unit.astype(np.float64))
    return Port(added)
