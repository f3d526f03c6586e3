"""Operators on several activations, and the conversion of types."""

from aidge_quant.errors import UnsupportedError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.onnx_io.tensors import element_type
from aidge_quant.ops import Add, Div, Identity, Max, Min, Mul, Operator, Pow, Sub
from aidge_quant.ops import Cast as CastOperator

_BINARY: dict[str, type[Operator]] = {"Add": Add, "Sub": Sub, "Mul": Mul, "Div": Div}
_CHAINS: dict[str, type[Operator]] = {"Sum": Add, "Max": Max, "Min": Min}


@converts(*_BINARY)
def binary(node: NodeReader) -> list[Value]:
    """Read an operator on two float activations."""
    _require_float(node)
    return node.add(_BINARY[node.op](), node.value(0), node.value(1))


@converts(*_CHAINS)
def chain(node: NodeReader) -> list[Value]:
    """Read an operator on any number of inputs as a chain; one input alone is an Identity."""
    if node.op == "Sum":
        _require_float(node)
    result = node.value(0)
    if len(node.inputs) == 1:
        return node.add(Identity(), result)
    for index in range(1, len(node.inputs)):
        suffix = "" if index == len(node.inputs) - 1 else f"part{index}"
        (result,) = node.add(_CHAINS[node.op](), result, node.value(index), suffix=suffix)
    return [result]


@converts("Pow")
def power(node: NodeReader) -> list[Value]:
    """Read with one constant exponent."""
    exponent = node.constant(1, "its exponent")
    if exponent.size != 1 or exponent.ndim > node.rank():
        raise UnsupportedError(f"its exponent has shape {exponent.shape}, expected one number")
    _require_float(node)
    return node.add(Pow(float(exponent.reshape(()))), node.value(0))


@converts("Cast")
def cast(node: NodeReader) -> list[Value]:
    """Read a conversion that changes nothing as Identity, one from or to integers as Cast."""
    node.ignore("saturate", "round_mode")
    source, target = node.value(0).element_type, element_type(node.integer("to", 0))
    if source is not target:
        whole = source.bits >= 8 and target.bits >= 8
        if whole and (source.is_integer or target.is_integer):
            return node.add(CastOperator(target), node.value(0))
        raise UnsupportedError(
            f"it converts computed values from {source.value} to {target.value}, which is not "
            "handled; keep one float type throughout the model"
        )
    return node.add(Identity(), node.value(0))


def _require_float(node: NodeReader) -> None:
    """Refuse arithmetic on small integers: in ONNX they wrap around, our operators widen them."""
    data = node.value(0)
    wide = data.element_type.is_integer and data.element_type.bits >= 32
    if data.array is None and not (data.element_type.value.startswith("float") or wide):
        raise UnsupportedError(
            f"it computes on {data.element_type.value}, expected a float type, int32 or int64; "
            "convert its inputs"
        )
