"""Quantizers for training, in the domain in which we write them; TanhClamp has no attributes."""

from aidge_quant.errors import DataError, GraphError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import CGPACT, LSQ, BiasQuantizer, DoReFa, DoReFaMode, FixedQ


@converts("LSQ")
def lsq(node: NodeReader) -> list[Value]:
    """Read the interval and whether the step is a power of two."""
    bounds = node.integers("range")
    if bounds is None or len(bounds) != 2:
        raise GraphError(f"attribute range is {bounds}, expected the least and largest integer")
    return node.add(LSQ((bounds[0], bounds[1]), _flag(node, "power_of_two")), *node.inputs)


@converts("CGPACT")
def cgpact(node: NodeReader) -> list[Value]:
    """Read the largest integer."""
    return node.add(CGPACT(node.integer("range", 255)), *node.inputs)


@converts("FixedQ")
def fixed(node: NodeReader) -> list[Value]:
    """Read bits, span and sign; the span is a tensor of float64."""
    span = node.tensor("span")
    if span is None or span.size != 1:
        raise GraphError("attribute span is no tensor of one number")
    flags = [_flag(node, name) for name in ("is_output_unsigned", "half_up")]
    operator = FixedQ(node.integer("nb_bits", 8), float(span.reshape(())), *flags)
    return node.add(operator, *node.inputs)


@converts("DoReFa")
def dorefa(node: NodeReader) -> list[Value]:
    """Read the number of levels and the mode."""
    name = node.text("mode", DoReFaMode.Default.name)
    if name not in DoReFaMode.__members__:
        raise DataError(f"mode is {name!r}, expected one of {', '.join(DoReFaMode.__members__)}")
    return node.add(DoReFa(node.integer("range", 255), DoReFaMode[name]), *node.inputs)


@converts("BiasQuantizer")
def bias_quantizer(node: NodeReader) -> list[Value]:
    """Read whether the steps are powers of two."""
    return node.add(BiasQuantizer(_flag(node, "power_of_two")), *node.inputs)


def _flag(node: NodeReader, name: str) -> bool:
    value = node.integer(name, 0)
    if value not in (0, 1):
        raise DataError(f"attribute {name} is {value}, expected 0 or 1")
    return bool(value)
