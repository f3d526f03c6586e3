"""Nodes without inputs: what enters the graph, and its parameters."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.ops.base import Operator, Shape, operator


@operator
@dataclass(frozen=True, eq=False)
class Input(Operator):
    """An input of the graph.

    Attributes
    ----------
    shape : tuple of int
        Sizes, batch first; 1 where the model leaves the batch open.
    element_type : dtype
    """

    shape: Shape
    element_type: dtype = dtype.float32

    roles: ClassVar[tuple[str, ...]] = ()
    onnx_reason: ClassVar[str] = "written as an input of the model"

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the declared shape."""
        return (self.shape,)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the declared type."""
        return (self.element_type,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Refuse: the executor puts the caller's array here."""
        raise GraphError("an input has no value of its own; the executor provides it")


@operator
@dataclass(frozen=True, eq=False)
class Producer(Operator):
    """A parameter or constant.

    Attributes
    ----------
    value : array
    element_type : dtype
        int4 values are stored in an int8 array.
    constant : bool
        True for values that no training may change (folded quantized parameters).
    """

    value: np.ndarray
    element_type: dtype = dtype.float32
    constant: bool = False

    roles: ClassVar[tuple[str, ...]] = ()
    onnx_reason: ClassVar[str] = "written as an initializer"

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the value."""
        return (self.value.shape,)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the declared type."""
        return (self.element_type,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the value."""
        return self.value


def producer(value: np.ndarray, *, constant: bool = False) -> Producer:
    """Return a Producer whose element type is that of ``value``."""
    array = np.asarray(value)
    return Producer(array, dtype.of(array), constant)
