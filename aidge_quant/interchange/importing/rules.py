"""Import of the operators without weights."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, Node, Port
from aidge_quant.interchange.importing.importer import INT32, Importer, plain, value_type
from aidge_quant.interchange.importing.values import (
    FUNCTION,
    INDEX,
    INPUT,
    NO_BOUNDS,
    STORED,
    Grid,
    Value,
)
from aidge_quant.ops import (
    Clip,
    Dequantizer,
    LookupTable,
    Pad,
    Quantizer,
    ReLU,
    producer,
)
from aidge_quant.ops.quantization import HALF_UP


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
