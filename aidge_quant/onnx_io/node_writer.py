"""One node of our graph as the writers see it: its tensors, and the ONNX nodes it becomes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.graph import Node
from aidge_quant.graph.names import free_name
from aidge_quant.onnx_io.definitions import check_types, fitting_attributes, has_attribute
from aidge_quant.onnx_io.dimensions import Dims
from aidge_quant.ops import Operator, Producer


class Wire(NamedTuple):
    """One tensor of the model."""

    name: str
    shape: Dims
    element_type: dtype


@dataclass
class Scope:
    """The names of a model and its constants.

    Attributes
    ----------
    taken : set of str
        Names of nodes and tensors.
    constants : dict of array and element type, by name
    derived : dict of Wire
        Constants made from others, by origin.
    """

    taken: set[str] = field(default_factory=set)
    constants: dict[str, tuple[np.ndarray, dtype]] = field(default_factory=dict)
    derived: dict[tuple[str, str], Wire] = field(default_factory=dict)

    def fork(self) -> "Scope":
        """Return a copy, for a trial."""
        return Scope(set(self.taken), dict(self.constants), dict(self.derived))

    def free_name(self, base: str) -> str:
        """Return ``base`` or, where it is taken, ``base_1``, ``base_2``..."""
        name = free_name(base, self.taken)
        self.taken.add(name)
        return name

    def constant(self, base: str, array: np.ndarray, stored: dtype) -> Wire:
        """Enter a constant."""
        name = self.free_name(base)
        self.constants[name] = (array, stored)
        return Wire(name, array.shape, stored)


class NodeWriter:
    """One node under way to a model.

    Attributes
    ----------
    node : Node
    opset : int
        Version of the standard operator set.
    inputs : list of Wire or None
        None where an optional input is left out.
    outputs : list of Wire
    protos : list of onnx.NodeProto
        What it has become so far.
    helpers : list of Wire
        Tensors between them.
    """

    def __init__(
        self,
        node: Node,
        opset: int,
        inputs: Iterable[Wire | None],
        outputs: Iterable[Wire],
        scope: Scope,
    ) -> None:
        self.node = node
        self.opset = opset
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.protos: list[onnx.NodeProto] = []
        self.helpers: list[Wire] = []
        self._scope = scope

    @property
    def operator(self) -> Operator:
        """The operator of the node."""
        operator: Operator = self.node.operator
        return operator

    def input(self, slot: int = 0) -> Wire:
        """Return input ``slot``; a GraphError if it is missing."""
        found = self.optional(slot)
        if found is None:
            raise GraphError(f"input {slot} is missing")
        return found

    def optional(self, slot: int) -> Wire | None:
        """Return input ``slot``, or None where it is left out."""
        return self.inputs[slot] if slot < len(self.inputs) else None

    def require(self, opset: int, what: str) -> None:
        """Raise an UnsupportedError unless the model has this version of the operator set."""
        if self.opset < opset:
            raise UnsupportedError(f"{what} cannot be written before opset {opset}")

    def has_attribute(self, operator: str, name: str) -> bool:
        """Whether a standard operator has an attribute in the model's operator set."""
        return has_attribute(operator, self.opset, name)

    def constant(self, array: Any, suffix: str, stored: dtype | None = None) -> Wire:
        """Add a constant called after the node."""
        values = np.asarray(array)
        return self._scope.constant(
            f"{self.node.name}_{suffix}", values, stored or dtype.of(values)
        )

    def scalar(self, value: float, suffix: str) -> Wire:
        """Add a number in the type of the data."""
        stored = self.input().element_type
        return self.constant(np.asarray(value, stored.numpy), suffix, stored)

    def integers(self, values: Iterable[int], suffix: str) -> Wire:
        """Add an int64 list: a shape, axes, bounds."""
        return self.constant(np.array(list(values), np.int64), suffix)

    def transposed(self, slot: int) -> Wire:
        """Return input ``slot``, a matrix, transposed; a parameter only once for all readers."""
        matrix, source = self.input(slot), self.node.input(slot).node
        shape = matrix.shape[::-1]
        if not isinstance(source.operator, Producer):
            return self.emit("Transpose", matrix, suffix="transposed", shape=shape, perm=[1, 0])
        key = (source.name, "transposed")
        if key not in self._scope.derived:
            array = np.ascontiguousarray(source.operator.value.T)
            name = f"{source.name}_transposed"
            self._scope.derived[key] = self._scope.constant(name, array, matrix.element_type)
        return self._scope.derived[key]

    def emit(
        self,
        operator: str,
        *inputs: Wire | None,
        suffix: str,
        shape: Dims | None = None,
        stored: dtype | None = None,
        **attributes: Any,
    ) -> Wire:
        """Add a standard operator on the way and return its output.

        Parameters
        ----------
        shape, stored : by default those of the first input
        """
        first = inputs[0]
        assert first is not None
        name = self._scope.free_name(f"{self.node.name}_{suffix}")
        shape = first.shape if shape is None else shape
        made = Wire(name, shape, stored or first.element_type)
        self.helpers.append(made)
        self._add(operator, "", name, inputs, [made], attributes)
        return made

    def finish(
        self,
        operator: str,
        *inputs: Wire | None,
        domain: str = "",
        **attributes: Any,
    ) -> None:
        """Add the operator that makes the outputs of the node and has its name."""
        self._add(operator, domain, self.node.name, inputs, self.outputs, attributes)

    def finish_output(self, index: int, operator: str, *inputs: Wire | None) -> None:
        """Add an operator that makes one output only; that of the first has the node's name."""
        name = self._scope.free_name(f"{self.node.name}_more") if index else self.node.name
        self._add(operator, "", name, inputs, [self.outputs[index]], {})

    def finish_with(
        self, operator: str, name: str, values: Iterable[int], **attributes: Any
    ) -> None:
        """Finish with a list of integers: an attribute in old versions, the second input in new."""
        if self.has_attribute(operator, name):
            attributes[name] = list(values)
            self.finish(operator, self.input(), **attributes)
        else:
            self.finish(operator, self.input(), self.integers(values, name), **attributes)

    def _add(
        self,
        operator: str,
        domain: str,
        name: str,
        inputs: tuple[Wire | None, ...],
        outputs: list[Wire],
        attributes: Mapping[str, Any],
    ) -> None:
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        if not domain:
            kept = fitting_attributes(operator, self.opset, kept)
            types = [None if wire is None else wire.element_type for wire in given]
            check_types(operator, self.opset, types, [wire.element_type for wire in outputs])
        proto = helper.make_node(
            operator,
            ["" if wire is None else wire.name for wire in given],
            [wire.name for wire in outputs],
            name,
            domain=domain,
        )
        for key in sorted(kept):
            proto.attribute.append(helper.make_attribute(key, kept[key]))
        self.protos.append(proto)
