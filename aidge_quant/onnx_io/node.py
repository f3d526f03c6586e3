"""One ONNX node as the converters see it: checked access to its attributes and inputs."""

from collections.abc import Sequence

import numpy as np
import onnx

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Builder, Value
from aidge_quant.onnx_io.tensors import array_of
from aidge_quant.ops import Operator
from aidge_quant.ops.base import Shape

_KINDS = onnx.AttributeProto


class NodeReader:
    """One node of the model.

    Attributes
    ----------
    op : str
        The ONNX operator.
    name : str
        Unique name of the node that will stand for it.
    opset : int
        Version of the standard operator set.
    builder : Builder
    inputs : list of Value or None
        None where an optional input is left out.
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        name: str,
        opset: int,
        builder: Builder,
        inputs: list[Value | None],
        used_outputs: Sequence[bool],
    ) -> None:
        self.op = proto.op_type
        self.name = name
        self.opset = opset
        self.builder = builder
        self.inputs = inputs
        self.used_outputs = used_outputs
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}
        self._unread = set(self._attributes)
        self._added = 0

    # -- attributes ------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether the attribute is given."""
        return name in self._attributes

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        found = self._attribute(name, _KINDS.INT)
        return default if found is None else int(found.i)

    def number(self, name: str, default: float) -> float:
        """Return a float attribute."""
        found = self._attribute(name, _KINDS.FLOAT)
        return default if found is None else float(found.f)

    def text(self, name: str, default: str) -> str:
        """Return a text attribute."""
        found = self._attribute(name, _KINDS.STRING)
        return default if found is None else found.s.decode("utf-8", "replace")

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute of integers, or None if it is not given."""
        found = self._attribute(name, _KINDS.INTS)
        return None if found is None else tuple(found.ints)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Return an attribute of floats, or None if it is not given."""
        found = self._attribute(name, _KINDS.FLOATS)
        return None if found is None else tuple(found.floats)

    def tensor(self, name: str) -> np.ndarray | None:
        """Return an attribute that is a tensor, or None if it is not given."""
        found = self._attribute(name, _KINDS.TENSOR)
        return None if found is None else array_of(found.t)

    def ignore(self, *names: str) -> None:
        """Note that attributes have no meaning for inference."""
        self._unread -= set(names)

    def unread(self) -> list[str]:
        """Return the attributes that no converter has asked for."""
        return sorted(self._unread)

    def _attribute(self, name: str, kind: int) -> onnx.AttributeProto | None:
        self._unread.discard(name)
        found = self._attributes.get(name)
        if found is not None and found.type != kind:
            raise GraphError(
                f"attribute {name} is of kind {_kind_name(found.type)}, expected {_kind_name(kind)}"
            )
        return found

    # -- inputs ----------------------------------------------------------------------------------

    def value(self, index: int) -> Value:
        """Return input ``index``; a GraphError if it is left out."""
        found = self.optional(index)
        if found is None:
            raise GraphError(f"input {index} is missing")
        return found

    def optional(self, index: int) -> Value | None:
        """Return input ``index`` or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of input ``index``."""
        return self.value(index).shape

    def rank(self, index: int = 0) -> int:
        """Return the number of axes of input ``index``."""
        return len(self.shape(index))

    def constant(self, index: int, what: str) -> np.ndarray:
        """Return the values of input ``index``, those of a quantized constant too.

        Raises
        ------
        UnsupportedError
            If they are not constant.
        """
        found = self.value(index)
        array = found.known if found.array is None else found.array
        if array is None:
            raise UnsupportedError(
                f"{what} (input {index}) is computed, expected a constant; simplify the model so "
                "that it becomes one"
            )
        return array

    def integers_at(self, index: int, what: str) -> tuple[int, ...]:
        """Return input ``index``, which must be constant, as integers."""
        array = self.constant(index, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise GraphError(
                f"{what} (input {index}) is {array.dtype} of shape {array.shape}, expected a list "
                "of integers"
            )
        return tuple(int(i) for i in array.reshape(-1))

    def axis(self, axis: int, rank: int | None = None) -> int:
        """Return ``axis`` counted from the first; a GraphError if there is no such axis."""
        rank = self.rank() if rank is None else rank
        if not -rank <= axis < rank:
            raise GraphError(f"axis {axis} does not exist in data of {rank} axes")
        return axis % rank

    # -- outputs ---------------------------------------------------------------------------------

    def uses_output(self, index: int) -> bool:
        """Whether anything reads output ``index``."""
        return index < len(self.used_outputs) and self.used_outputs[index]

    def add(self, operator: Operator, *inputs: Value | None, suffix: str = "") -> list[Value]:
        """Add a node; the last one of a converter carries the name of the ONNX node.

        Parameters
        ----------
        suffix : str
            For a helper node: its name is that of the ONNX node and this.
        """
        name = self.builder.free_name(f"{self.name}_{suffix}") if suffix else self.name
        return self.builder.add(operator, list(inputs), name)


def _kind_name(kind: int) -> str:
    known = kind in _KINDS.AttributeType.values()
    return _KINDS.AttributeType.Name(kind) if known else f"number {kind}"
