"""One zero point and one scale for each quantized tensor, whatever its ends say.

In models of `set_to_qdq` a DequantizeLinear may read integers with another zero point than their
QuantizeLinear gave them, which keeps ties away; their metadata says so. Before the import both ends
get the zero point of the tensor, and what that changes becomes a constant of the layer; for most
layers it cancels. Other models are left as they are, and the import refuses ends that differ.
"""

from dataclasses import dataclass

import numpy as np

from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.interchange.importing.constants import Constants
from aidge_quant.interchange.importing.records import Record, read_records
from aidge_quant.interchange.importing.values import Grid
from aidge_quant.ops import (
    Add,
    AveragePool,
    Cast,
    DequantizeLinear,
    Gather,
    GlobalAveragePool,
    LookupTable,
    Producer,
    QuantizeLinear,
    Sub,
    producer,
)

#: Part of an output's unit below which a constant is the rounding of scales.
NEGLIGIBLE = 1e-3
#: How much smaller than on record the scale of a QuantizeLinear may be.
NUDGED = 2.0**-15


def join_tables(graph: GraphView, constants: Constants) -> None:
    """Replace, in place, Gather from a constant at quantized integers by a LookupTable."""
    for node in graph.topological():
        if not isinstance(node.operator, Gather) or constants.holds(node):
            continue
        table, index = constants.of(node.input(0)), node.input(1).node
        start: np.ndarray = np.zeros((), np.int64)
        if isinstance(index.operator, Add):
            for slot in (0, 1):
                added = constants.of(index.input(slot))
                if added is not None:
                    start, index = added.astype(np.int64), index.input(1 - slot).node
                    break
        rows = start.size
        whole = table is not None and table.ndim == 1 and table.size == 256 * rows
        if not (whole and isinstance(index.operator, Cast)) or table is None:
            continue
        flat = start.reshape(-1)
        if not np.array_equal(flat - flat[0], 256 * np.arange(rows)):
            continue
        (kind,) = node.input(0).node.operator.infer_dtype()
        node.operator = LookupTable(table.reshape(rows, 256), -int(flat[0]), kind)
        graph.set_inputs(node, (index.input(0),))
    graph.remove_dead_nodes()


@dataclass(frozen=True)
class _Ends:
    """What the two ends of quantized tensors say: by node of QuantizeLinear and table."""

    constants: Constants
    records: dict[str, Record]

    def grid(self, node: Node) -> Grid | None:
        """Return scale and zero point of an end; None where it has many scales."""
        if self.constants.scale_of(node).size != 1:
            return None
        return self.constants.grid(node)

    def zero_point(self, source: Node) -> int | None:
        """Return the zero point on record of what a QuantizeLinear or a table writes, or None."""
        record = self.records.get(source.name)
        return None if record is None else record.zero_point


def agree_on_zero_points(graph: GraphView) -> None:
    """Give, in place, both ends of every quantized tensor its one zero point.

    Raises
    ------
    UnsupportedError
        If a tensor is dequantized with another zero point, and what reads it cannot take the
        difference as a constant.
    """
    ends = _Ends(Constants(graph), read_records(graph))
    nodes = graph.topological()
    computed = [node for node in nodes if not ends.constants.holds(node)]
    apart = {
        node: difference
        for node in computed
        if isinstance(node.operator, DequantizeLinear)
        and (difference := _difference(ends, node)) is not None
    }
    for node in computed:
        if isinstance(node.operator, QuantizeLinear):
            _settle(graph, ends, node, apart)
    for node, (zero_point, constant) in apart.items():
        for use in graph.uses(node):
            raise UnsupportedError(
                f"{node.name} (DequantizeLinear): it reads integers of zero point {zero_point} "
                f"{constant:g} higher, and {use.node.name} ({use.node.type}) cannot take that as a "
                "constant; use one zero point for a tensor"
            )
    graph.remove_dead_nodes()


def _difference(ends: _Ends, node: Node) -> tuple[int, float] | None:
    """Return the tensor's zero point and what the node's values are higher; None if they agree."""
    source = node.input(0).node
    while not isinstance(source.operator, QuantizeLinear | LookupTable):
        if not source.inputs or ends.constants.holds(source):
            return None
        computed = [p.node for p in source.inputs if p and not ends.constants.holds(p.node)]
        source = computed[0]
    zero_point = ends.zero_point(source)
    grid = None if zero_point is None else ends.grid(node)
    if grid is None or zero_point is None or grid.zero_point == zero_point:
        return None
    return zero_point, grid.scale * (zero_point - grid.zero_point)


def _settle(
    graph: GraphView, ends: _Ends, node: Node, apart: dict[Node, tuple[int, float]]
) -> None:
    """Give a QuantizeLinear, and what is read before it, the zero points of their tensors."""
    zero_point, record = ends.zero_point(node), ends.records.get(node.name)
    grid = None if zero_point is None else ends.grid(node)
    if grid is None or zero_point is None:
        return
    scale = grid.scale
    noted = None if record is None else record.scale
    if noted is not None and abs(scale / noted - 1) < NUDGED:
        scale = float(np.float32(noted))
    data = node.input(0).node
    total = float(grid.zero_point - zero_point) * scale
    before, added = _without_constant(graph, ends, data, node)
    readers = [before] if isinstance(before.operator, DequantizeLinear) else []
    if isinstance(before.operator, Add | Sub | AveragePool | GlobalAveragePool):
        readers = [port.node for port in before.inputs if port is not None]
    moved = [reader for reader in readers if reader in apart]
    if not moved and grid.zero_point == zero_point and scale == grid.scale:
        return
    if moved or total:
        total += added
        if before is not data:
            graph.set_input(node, 0, Port(before))
    for slot, reader in enumerate(readers):
        if reader in apart:
            sign = -1.0 if isinstance(before.operator, Sub) and slot == 1 else 1.0
            total += sign * apart[reader][1]
            copy = _with_zero_point(graph, reader, apart[reader][0])
            if reader is before:
                graph.set_input(node, 0, copy)
            else:
                graph.set_input(before, slot, copy)
    if abs(total) > NEGLIGIBLE * scale:
        constant = graph.add(producer(np.asarray(total)), (), graph.unique_name(f"{node.name}_c"))
        name = graph.unique_name(f"{node.name}_plus")
        graph.set_input(node, 0, graph.add(Add(), (node.input(0), constant), name))
    _set_ends(graph, node, scale, zero_point)


def _without_constant(
    graph: GraphView, ends: _Ends, data: Node, reader: Node
) -> tuple[Node, float]:
    """Return what one real constant is added to, and it; the node itself and 0 if none is."""
    if isinstance(data.operator, Add) and graph.sole_consumer(data) is reader:
        for slot in (0, 1):
            value = ends.constants.of(data.input(slot))
            if value is not None and value.size == 1 and value.dtype.kind == "f":
                return data.input(1 - slot).node, float(value.item())
    return data, 0.0


def _with_zero_point(graph: GraphView, node: Node, zero_point: int) -> Node:
    """Return a copy of a DequantizeLinear with another zero point."""
    copy = graph.add(node.operator, node.inputs, graph.unique_name(f"{node.name}_agreed"))
    _set_zero_point(graph, copy, zero_point)
    return copy


def _set_ends(graph: GraphView, node: Node, scale: float, zero_point: int) -> None:
    name = graph.unique_name(f"{node.name}_scale")
    found = graph.add(producer(np.asarray(scale, np.float32)), (), name)
    graph.set_input(node, 1, found)
    _set_zero_point(graph, node, zero_point)


def _set_zero_point(graph: GraphView, node: Node, zero_point: int) -> None:
    old = node.input(2).node.operator if node.has_input(2) else None
    if not isinstance(old, Producer):
        raise UnsupportedError(f"{node.name} ({node.type}): its zero point is not a constant")
    made = Producer(np.asarray(zero_point, old.value.dtype), old.element_type, True)
    graph.set_input(node, 2, graph.add(made, (), graph.unique_name(f"{node.name}_zero_point")))
