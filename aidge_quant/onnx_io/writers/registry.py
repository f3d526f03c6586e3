"""The table of writers by operator class, and the one that the tables of the classes describe."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.node_writer import NodeWriter
from aidge_quant.onnx_io.tensors import TYPE_NUMBERS
from aidge_quant.ops import Operator

#: Adds the ONNX nodes of one node.
Writer = Callable[[NodeWriter], None]

#: By the name of the operator class.
WRITERS: dict[str, Writer] = {}

#: Fields that mean the same in all operators: the ONNX attribute, and the value it gets.
FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "alpha": ("alpha", float),
    "approximate": ("approximate", lambda tanh: "tanh" if tanh else "none"),
    "axis": ("axis", int),
    "beta": ("beta", float),
    "block": ("blocksize", int),
    "ceil": ("ceil_mode", int),
    "columns_first": ("mode", lambda crd: "CRD" if crd else "DCR"),
    "count_include_pad": ("count_include_pad", int),
    "dilation": ("dilations", list),
    "element_type": ("to", lambda stored: TYPE_NUMBERS[stored]),
    "epsilon": ("epsilon", float),
    "groups": ("group", int),
    "keep_axis": ("keepdims", int),
    "last": ("select_last_index", int),
    "output_padding": ("output_padding", list),
    "padding": ("pads", list),
    "permutation": ("perm", list),
    "stride": ("strides", list),
    "transpose_a": ("transA", int),
    "transpose_b": ("transB", int),
    "window": ("kernel_shape", list),
}


def writes(*names: str) -> Callable[[Writer], Writer]:
    """Enter a function as the writer of operator classes."""

    def enter(writer: Writer) -> Writer:
        for name in names:
            WRITERS[name] = writer
        return writer

    return enter


def writer_of(operator: Operator) -> Writer:
    """Return the writer of an operator.

    Raises
    ------
    UnsupportedError
        If it has no ONNX form.
    """
    if operator.type in WRITERS:
        return WRITERS[operator.type]
    if operator.onnx is None:
        reason = operator.onnx_reason or "its class names no ONNX operator"
        raise UnsupportedError(f"it has no ONNX form: {reason}")
    return from_table


def from_table(node: NodeWriter, **more: Any) -> None:
    """Write the node that the tables of its class describe, inputs in order.

    Parameters
    ----------
    more : attributes beside or in place of those of the tables; None leaves one out
    """
    operator = node.operator
    assert operator.onnx is not None
    attributes = {**table_attributes(node), **more}
    node.finish(operator.onnx[0], *node.inputs, domain=operator.onnx_domain, **attributes)


def table_attributes(node: NodeWriter) -> dict[str, Any]:
    """Return the ONNX attributes of the fields of an operator.

    Raises
    ------
    GraphError
        If no table names the attribute of a field.
    """
    operator = node.operator
    own = {field: attribute for attribute, field in operator.onnx_attributes.items()}
    found: dict[str, Any] = {}
    for field in fields(operator):
        value = getattr(operator, field.name)
        shared, convert = FIELDS.get(field.name, ("", _plain))
        attribute = own.get(field.name, shared)
        if not attribute:
            raise GraphError(
                f"field {field.name} of class {operator.type} is in none of the tables of ONNX "
                "attributes; add it to onnx_attributes of the class"
            )
        found[attribute] = convert(value)
    if found.get("axis", 0) < 0 and not operator.onnx_domain:
        found["axis"] += len(node.input().shape)  # older operator sets count from the front only
    return found


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value
