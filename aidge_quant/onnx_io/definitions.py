"""The definitions of ONNX operators: what a version of the operator set has, and its types."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import defs, helper

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.onnx_io.opsets import NEWEST

#: ONNX's names of element types where they are not ours.
_NAMES = {dtype.float32: "float", dtype.float64: "double"}

#: Attributes of windows without a default in the definition: their value means "nothing special".
_IMPLIED = {"dilations": 1, "strides": 1, "pads": 0}


def newest_opset() -> int:
    """Return the newest version whose definitions are here."""
    return min(NEWEST, defs.onnx_opset_version())


def ir_version(opset: int) -> int:
    """Return the version of the file format that belongs to an operator set.

    At least 4: before it, every initializer had to be an input as well.
    """
    return max(4, helper.find_min_ir_version_for([helper.make_opsetid("", opset)], True))


def has_attribute(operator: str, opset: int, name: str) -> bool:
    """Whether a standard operator exists in this version and has the attribute."""
    definition = _definition(operator, opset)
    return definition is not None and name in definition.attributes


def fitting_attributes(operator: str, opset: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a standard operator as they are written in a version.

    Attributes that the version does not have are left out where they have their default.

    Raises
    ------
    UnsupportedError
        If the version has not this operator, or not an attribute that matters.
    """
    definition = _definition(operator, opset)
    if definition is None:
        raise UnsupportedError(f"opset {opset} has no operator {operator}")
    found = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in definition.attributes:
            found[name] = value
        elif not _is_default(operator, name, value):
            raise UnsupportedError(f"{operator} of opset {opset} has no attribute {name}={value}")
    return found


def check_types(
    operator: str, opset: int, inputs: Sequence[dtype | None], outputs: Sequence[dtype]
) -> None:
    """Raise an UnsupportedError unless a standard operator takes and gives these types."""
    definition = _definition(operator, opset)
    assert definition is not None
    bound: dict[str, dtype] = {}
    sides = (("input", definition.inputs, inputs), ("output", definition.outputs, outputs))
    for side, formals, types in sides:
        for index, found in enumerate(types):
            if found is None:
                continue
            formal = formals[min(index, len(formals) - 1)]
            if f"tensor({_NAMES.get(found, found.value)})" not in formal.types:
                raise UnsupportedError(
                    f"its {side} {index} is {found.value}, which ONNX's {operator} does not have "
                    "there; write the float network, or one with ONNX quantization nodes"
                )
            if not formal.is_homogeneous:
                continue
            first = bound.setdefault(formal.type_str, found)
            if first is not found:
                raise UnsupportedError(
                    f"its {side} {index} is {found.value}, but {operator} of ONNX wants "
                    f"{first.value} as it has elsewhere; write the float network, or one with "
                    "ONNX quantization nodes"
                )


def _definition(operator: str, opset: int) -> Any:
    try:
        found = defs.get_schema(operator, opset, "")
    except defs.SchemaError:
        return None
    return None if found.deprecated else found


def _is_default(operator: str, name: str, value: Any) -> bool:
    definition = _definition(operator, newest_opset())
    if name in _IMPLIED:
        return all(number == _IMPLIED[name] for number in value)
    if definition is None or name not in definition.attributes:
        return False
    default: onnx.AttributeProto = definition.attributes[name].default_value
    if default.type == onnx.AttributeProto.UNDEFINED:
        return False
    known = helper.get_attribute_value(default)
    return bool((known.decode() if isinstance(known, bytes) else known) == value)
