"""Tensor: a numpy array with the element type of the published API."""

from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype


class Tensor:
    """An array of a known element type.

    A thin shell around a numpy array, so that calibration sets written for the published API work;
    every function of this package that takes tensors takes numpy arrays too.

    Parameters
    ----------
    array : array_like
        The values; copied only when a conversion is needed.
    element_type : dtype, optional
        The element type; by default that of the array.
    """

    __slots__ = ("_array", "_dtype")

    def __init__(self, array: Any, element_type: dtype | None = None) -> None:
        values = np.asarray(array)
        self._dtype = dtype.of(values) if element_type is None else element_type
        self._array = values.astype(self._dtype.numpy, copy=False)

    @property
    def dtype(self) -> dtype:
        """Element type."""
        return self._dtype

    @property
    def dims(self) -> list[int]:
        """Sizes of the axes."""
        return list(self._array.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes, as numpy says them."""
        return self._array.shape

    def numpy(self) -> np.ndarray:
        """Return the array itself, not a copy."""
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Let numpy functions take the tensor."""
        return np.array(self._array, dtype=dtype, copy=bool(copy) or None)

    def __repr__(self) -> str:
        return f"Tensor({self._dtype.value}, {self.shape})"
