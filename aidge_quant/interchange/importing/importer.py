"""State of one import: the quantized graph under construction, and what it knows of each tensor."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import Annotation, GraphView, Node, Port
from aidge_quant.graph.names import free_name
from aidge_quant.interchange.importing.constants import Constants
from aidge_quant.interchange.importing.hoisting import Origin, is_bound
from aidge_quant.interchange.importing.ratios import snapped
from aidge_quant.interchange.importing.records import Record, logger, read_records
from aidge_quant.interchange.importing.values import (
    ACCUMULATOR,
    FUNCTION,
    INPUT,
    NO_BOUNDS,
    STORED,
    Grid,
    Value,
)
from aidge_quant.ops import (
    Clip,
    Input,
    Mul,
    Operator,
    Producer,
    QuantizeLinear,
    Quantizer,
    ReLU,
)
from aidge_quant.ops.quantization import HALF_EVEN, HALF_UP, as_shift

INT32 = (-(2**31 - 1), 2**31 - 1)

Shape = tuple[int, ...]


class Importer:
    """Reads a QDQ graph node by node and writes the quantized graph.

    Attributes
    ----------
    source : GraphView
        In QDQ form, with the QuantizeLinear where `hoist_quantizers` puts them.
    graph : GraphView
        The quantized graph so far.
    constants : Constants
    """

    def __init__(self, source: GraphView, constants: Constants) -> None:
        self.source = source
        self.graph = GraphView(source.name)
        self.graph.metadata = dict(source.metadata)
        self.constants = constants
        self.records = read_records(source)
        self.shapes = infer_shapes(source)
        self._values: dict[Port, Value] = {}
        self._taken = {node.name for node in source.nodes}
        self._quantizers: dict[tuple[Port, Grid, tuple[float, float]], Value] = {}

    # -- reading ---------------------------------------------------------------------------------

    def refuse(self, node: Node, reason: str, remedy: str = "") -> UnsupportedError:
        """Return the error that ``node`` cannot be imported."""
        ending = f"; {remedy}" if remedy else ""
        return UnsupportedError(f"{node.name} ({node.type}): {reason}{ending}")

    def value(self, node: Node, slot: int) -> Value:
        """Return what is known of an input of ``node``."""
        found = self._values.get(node.input(slot))
        if found is None:
            raise self.refuse(
                node,
                f"input {slot} ({node.input(slot).node.name}) is a constant, expected a computed "
                "tensor",
            )
        return found

    def bind(self, node: Node, value: Value) -> None:
        """Say what the output of ``node`` is."""
        self._values[Port(node)] = value

    def output(self, port: Port) -> Value:
        """Return what is known of a port that is an output."""
        return self._values[port]

    def known(self, port: Port) -> bool:
        """Whether something is known of a port."""
        return port in self._values

    def stored(self, node: Node, slot: int) -> Value:
        """Return an input of ``node`` that is dequantized integers, with its bounds applied."""
        found = self.value(node, slot)
        origin = node.input(slot).node
        if found.kind != STORED or not found.real:
            raise self.refuse(
                node,
                f"input {slot} comes from {origin.name} ({origin.type}) in float, expected a "
                "DequantizeLinear",
                f"quantize the output of {origin.name}"
                if found.kind != INPUT
                else "quantize the input of the network",
            )
        return self._materialized(node, found)

    def _materialized(self, node: Node, value: Value) -> Value:
        """Return a stored value without real bounds, which must lie on its grid."""
        if value.bounds == NO_BOUNDS:
            return value
        assert value.grid is not None
        for bound in value.bounds:
            off = bound / value.grid.scale - value.grid.steps(bound) if np.isfinite(bound) else 0.0
            least, most = value.grid.interval
            if abs(off) > 1e-4 and least < bound / value.grid.scale < most:
                raise self.refuse(
                    node,
                    f"the bound {bound:g} of {value.clip} before it is not on the grid of its "
                    f"data ({value.grid})",
                    f"quantize the output of {value.clip}",
                )
        return self.clipped(value, value.grid)

    def following(self, node: Node) -> tuple[Node, Record | None] | None:
        """Return the QuantizeLinear that alone takes the output of ``node``, and its record."""
        reader = self.source.sole_consumer(node)
        while reader is not None and is_bound(reader):
            reader = self.source.sole_consumer(reader)
        if reader is None or not isinstance(reader.operator, QuantizeLinear):
            return None
        return reader, self.record(reader)

    def record(self, node: Node) -> Record | None:
        """Return the exact numbers of a QuantizeLinear."""
        name, slot = node.annotations.get(Origin.KEY, (node.name, None))
        found = self.records.get(name)
        if found is None or slot is None:
            return found
        inputs = found.inputs[slot : slot + 1]
        return dataclasses.replace(found, inputs=inputs)

    def disagrees(self, node: Node) -> None:
        """Warn that the exact numbers of a node are not those of its scales."""
        logger.warning(
            "%s (%s): its exact factor in the metadata is not what its scales say; the scales are "
            "used",
            node.name,
            node.type,
        )

    # -- writing ---------------------------------------------------------------------------------

    def free_name(self, base: str) -> str:
        """Return a name that no node of either graph has."""
        name = free_name(base, self._taken)
        self._taken.add(name)
        return name

    def add(self, operator: Operator, inputs: Iterable[Port | Node], name: str) -> Node:
        """Add a node to the quantized graph."""
        return self.graph.add(operator, tuple(inputs), name)

    def constant(
        self, array: np.ndarray, element_type: dtype, name: str, scale: np.ndarray | None = None
    ) -> Node:
        """Add a constant of integers; ``scale`` is the real value of one of them."""
        values = np.ascontiguousarray(array).astype(element_type.numpy).reshape(np.shape(array))
        node = self.add(Producer(values, element_type, constant=True), (), self.free_name(name))
        if scale is not None:
            node.annotations[Annotation.PRECISION] = element_type
            node.annotations[Annotation.SCALE] = plain(scale)
        return node

    def multiplied(self, port: Port, factor: np.ndarray | int, name: str) -> Port:
        """Return ``port`` times integers that the layer behind it takes into its accumulator."""
        values = np.asarray(factor)
        if values.size == 1 and values.item() == 1:
            return port
        constant = self.constant(values, dtype.int32, f"{name}_Coefficient")
        node = self.add(Mul(), (port, constant), self.free_name(f"{name}_Multiplier"))
        node.annotations[Annotation.IS_COMPENSATION] = True
        return Port(node)

    def clipped(self, value: Value, grid: Grid) -> Value:
        """Return a stored value with its real bounds applied on the grid."""
        lower, upper = (grid.steps(bound) for bound in value.bounds)
        least, most = grid.interval
        free = dataclasses.replace(value, bounds=NO_BOUNDS, clip="")
        if lower <= least and upper >= most:
            return free
        operator: Operator = ReLU() if lower == 0 and upper >= most else Clip(lower, upper)
        name = value.clip
        if self.graph.unique_name(name) != name:
            name = self.free_name(name)
        node = self.add(operator, (value.port,), name)
        return dataclasses.replace(free, port=Port(node))

    # -- quantization ----------------------------------------------------------------------------

    def quantize(self, node: Node, value: Value) -> Value:
        """Return the integers that a QuantizeLinear makes of a value."""
        grid = self.constants.grid(node)
        self._expect_storable(node, grid)
        key = (value.port, grid, value.bounds)
        if key not in self._quantizers:
            if value.kind == ACCUMULATOR and any(k[0] == value.port for k in self._quantizers):
                raise self.refuse(
                    node,
                    "another QuantizeLinear takes the same result on another scale",
                    "use one scale for it",
                )
            self._quantizers[key] = self._quantized(node, value, grid)
        return self._quantizers[key]

    def _expect_storable(self, node: Node, grid: Grid) -> None:
        if grid.element_type.bits <= 8:
            return
        least, most = grid.interval
        if least < dtype.int16.min or most > dtype.int16.max:
            raise self.refuse(
                node,
                f"{grid} holds {least} to {most} less its zero point, which int16 cannot store",
                "use int16 with zero point 0, or uint16 with zero point 32768",
            )

    def _quantized(self, node: Node, value: Value, grid: Grid) -> Value:
        if value.kind == STORED and value.grid == grid:
            found = dataclasses.replace(value, real=False)
            return self.clipped(found, grid)
        record = self.record(node)
        port, rounding, shift = value.port, HALF_EVEN, None
        scale = np.asarray(1.0 / grid.scale)
        if value.kind == INPUT:
            rounding = HALF_UP
        elif value.kind == FUNCTION:
            rounding = HALF_EVEN if record is None else record.rounding
        elif value.kind in (STORED, ACCUMULATOR):
            factor, rounding, multiplier = self._factor(node, value, grid, record)
            if value.kind == STORED or multiplier != 1:
                port = self.multiplied(port, multiplier, node.name)
            shift, scale = as_shift(factor), np.asarray(factor, np.float64)
        else:
            raise self.refuse(node, f"it quantizes {value.kind}s")
        if scale.size > 1 and (scale == scale.reshape(-1)[0]).all():
            scale = scale.reshape(-1)[0]
            shift = None if shift is None else shift.reshape(-1)[0]
        operator = Quantizer(
            plain(scale),
            grid.interval,
            rounding,
            None if shift is None else np.asarray(shift),
            value.axis,
            value_type(grid.interval),
        )
        added = self.add(operator, (port,), node.name)
        added.annotations[Annotation.IS_ACTIVATION_QUANTIZER] = True
        added.annotations[Annotation.PRECISION] = storage_type(grid)
        real = grid.scale if record is None or record.real is None else plain(record.real)
        added.annotations[Annotation.SCALE] = real
        unit = np.asarray(grid.scale)
        found = Value(Port(added), STORED, unit, grid, False, 1, value.bounds, value.clip)
        if record is not None and record.zero_point is not None and record.unit is not None:
            grid = dataclasses.replace(grid, scale=float(record.unit))
            unit = np.asarray(grid.scale)
            found = dataclasses.replace(found, noted=True, grid=grid, unit=unit)
        return self.clipped(found, grid)

    def _factor(
        self, node: Node, value: Value, grid: Grid, record: Record | None
    ) -> tuple[np.ndarray, str, int]:
        """Return the factor, the rounding, and an integer to multiply with before."""
        if value.unit.dtype == np.float32:
            expected = np.asarray(value.unit / np.float32(grid.scale), np.float64)
        else:
            expected = np.asarray(snapped(float(value.unit) / grid.scale))
        if record is None:
            return expected, HALF_EVEN, 1
        multiplier = 1
        if record.inputs and value.multiplies:
            multiplier = int(np.prod(record.inputs))
        if record.agrees(expected, multiplier):
            return record.factor, record.rounding, multiplier
        self.disagrees(node)
        return expected, HALF_EVEN, 1

    def network_input(self, node: Node) -> None:
        """Add an input of the network; integers that it takes become real numbers."""
        operator: Input = node.operator
        added = self.graph.add_input(Input(operator.shape, dtype.float32), node.name)
        self.bind(node, Value(Port(added), INPUT, np.ones(())))


def value_type(interval: tuple[int, int]) -> dtype:
    """Return the smallest type that holds the values of an interval without a zero point."""
    for element_type in (dtype.int8, dtype.uint8, dtype.int16):
        if interval[0] >= element_type.min and interval[1] <= element_type.max:
            return element_type
    return dtype.int32


def storage_type(grid: Grid) -> dtype:
    """Return the signed type that a grid is stored in."""
    return dtype.int8 if grid.element_type.bits <= 8 else dtype.int16


def plain(values: np.ndarray) -> float | np.ndarray:
    """Return one number as float, many as a float64 array."""
    found = np.asarray(values, np.float64)
    return float(found.reshape(())) if found.size == 1 else found.reshape(-1)
