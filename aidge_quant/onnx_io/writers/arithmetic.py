"""Operators on two activations."""

from aidge_quant.dtypes import dtype
from aidge_quant.onnx_io.node_writer import NodeWriter, Wire
from aidge_quant.onnx_io.tensors import TYPE_NUMBERS
from aidge_quant.onnx_io.writers.registry import from_table, writes


@writes("Add", "Sub", "Mul", "Div")
def binary(node: NodeWriter) -> None:
    """Write with small integers widened, as the operator computes them."""
    node.inputs = [_widened(node, node.input(slot), slot) for slot in (0, 1)]
    from_table(node)


@writes("Max", "Min")
def selection(node: NodeWriter) -> None:
    """Write; the first versions did not broadcast."""
    if node.input(0).shape != node.input(1).shape:
        node.require(8, "inputs of different shapes")
    from_table(node)


def _widened(node: NodeWriter, wire: Wire, slot: int) -> Wire:
    if not wire.element_type.is_integer or wire.element_type.bits >= 32:
        return wire
    target = TYPE_NUMBERS[dtype.int32]
    return node.emit("Cast", wire, suffix=f"input{slot}", stored=dtype.int32, to=target)
