"""A function of one integer, tabulated."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError
from aidge_quant.ops.base import Operator, Shape, Trait, operator, present


@operator
@dataclass(frozen=True, eq=False)
class LookupTable(Operator):
    """y = table[0 or channel, x - first].

    Attributes
    ----------
    table : int array (1, n) or (channels, n)
        One row for all channels (axis 1 of x), or one each.
    first : int
        The x that the first column belongs to.
    element_type : dtype
        Of y.
    interval : (int, int) or None
        What y may be, where the graph keeps integers without zero points.
    """

    table: np.ndarray
    first: int
    element_type: dtype = dtype.int8
    interval: tuple[int, int] | None = None

    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx_reason: ClassVar[str] = "set_to_qdq writes it as Gather"

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the declared type."""
        present(dtypes, 1)
        return (self.element_type,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the values found.

        Raises
        ------
        DataError
            If a value of x has no column.
        """
        (x,) = present(arrays, 1)
        index = x.astype(np.int64) - self.first
        rows, columns = self.table.shape
        if index.size and not 0 <= index.min() <= index.max() < columns:
            raise DataError(
                f"LookupTable: data spans {x.min()} to {x.max()}, expected {self.first} to "
                f"{self.first + columns - 1}"
            )
        if rows > 1:
            channels = np.arange(rows).reshape(-1, *(1,) * (x.ndim - 2))
            return self.table[channels, index].astype(self.element_type.numpy)
        return self.table[0, index].astype(self.element_type.numpy)
