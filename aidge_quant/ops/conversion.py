"""Conversion of types, and reading at computed places."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import ShapeError
from aidge_quant.ops.base import Operator, Shape, Trait, operator, present


@operator
@dataclass(frozen=True, eq=False)
class Cast(Operator):
    """The same numbers in another type; integers that do not fit wrap around, floats are cut.

    Attributes
    ----------
    element_type : dtype
    """

    element_type: dtype

    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("Cast",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the type asked for."""
        present(dtypes, 1)
        return (self.element_type,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the converted values."""
        (x,) = present(arrays, 1)
        return x.astype(self.element_type.numpy)


@operator
@dataclass(frozen=True, eq=False)
class Gather(Operator):
    """Values of the first input at the places that the second names along an axis.

    Inputs: data, and indices (any shape, integers, negative ones from the end). The output has the
    axes of the indices in place of ``axis``.

    Attributes
    ----------
    axis : int
    """

    axis: int = 0

    roles: ClassVar[tuple[str, ...]] = ("data", "data")
    onnx: ClassVar[tuple[str, ...] | None] = ("Gather",)
    onnx_attributes: ClassVar[dict[str, str]] = {"axis": "axis"}

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes with those of the indices in place of the axis."""
        data, indices = present(shapes, 2)
        if not -len(data) <= self.axis < len(data):
            raise ShapeError(f"data {data} has no axis {self.axis}")
        axis = self.axis % len(data)
        return ((*data[:axis], *indices, *data[axis + 1 :]),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the values found."""
        data, indices = present(arrays, 2)
        return np.take(data, indices, axis=self.axis)
