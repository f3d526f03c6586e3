"""The table of converters by ONNX operator, begun with those that operator classes describe."""

from collections.abc import Callable
from typing import Any

from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.onnx_io.opsets import STANDARD_DOMAINS
from aidge_quant.ops import Operator, registered
from aidge_quant.ops.contrib import CONTRIB_DOMAIN

#: From a node of the model to its outputs.
Converter = Callable[[NodeReader], list[Value]]

CONVERTERS: dict[str, Converter] = {}

#: The domains of operators that are not read from the standard ones alone.
DOMAINS: dict[str, tuple[str, ...]] = {
    name: (cls.onnx_domain,)
    for cls in registered().values()
    for name in cls.onnx or ()
    if cls.onnx_domain
}
#: ONNX Runtime's, with the same meaning, where the model's opset has them for fewer types.
DOMAINS |= dict.fromkeys(
    ("QuantizeLinear", "DequantizeLinear"), (*STANDARD_DOMAINS, CONTRIB_DOMAIN)
)


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Enter a function as the converter of ONNX operators."""

    def enter(converter: Converter) -> Converter:
        for name in names:
            CONVERTERS[name] = converter
        return converter

    return enter


def from_table(cls: type[Operator], node: NodeReader) -> list[Value]:
    """Make the node that the tables of an operator class describe.

    The class says by ``onnx_attributes`` which ONNX attribute is which of its fields; where the
    attribute is absent, the default of the field is ONNX's.
    """
    fields: dict[str, Any] = {}
    for attribute, name in cls.onnx_attributes.items():
        if node.has(attribute):
            integral = isinstance(getattr(cls, name), int)
            fields[name] = node.integer(attribute, 0) if integral else node.number(attribute, 0.0)
    return node.add(cls(**fields), *node.inputs)


def _table_converter(cls: type[Operator]) -> Converter:
    return lambda node: from_table(cls, node)


for _class in registered().values():
    if _class.onnx is not None:
        converts(*_class.onnx)(_table_converter(_class))
