"""Tensors of an integer network: shape, type, and what a stored integer means."""

import math
from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype


@dataclass(frozen=True, eq=False)
class IntegerTensor:
    """One activation tensor; the batch axis is not part of it.

    real = scale * (q - zero_point)

    Attributes
    ----------
    name : str
        Unique in its network.
    shape : tuple of int
        Sizes as stored: (height, width, channels), (features,) or, for tensors without channels,
        the axes of the ONNX tensor.
    dtype : dtype
        int8, int16 or int32.
    scale : float or float64 array (channels,)
        Real value of one unit; an array only where the channels of a network output differ.
    zero_point : int
        The stored integer that means 0.0, in the range of ``dtype``; 0 unless int8.
    onnx_shape : tuple of int
        Sizes of the same tensor in ONNX, without the batch.
    layout : tuple of int
        The permutation of ONNX axes that gives the stored order: (1, 2, 0) for CHW to HWC. A
        stored array is ``onnx.transpose(layout).reshape(shape)``; a 1-D signal (channels, length)
        is stored as (1, length, channels).
    """

    name: str
    shape: tuple[int, ...]
    dtype: dtype
    scale: float | np.ndarray
    zero_point: int
    onnx_shape: tuple[int, ...]
    layout: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        """Size of the last stored axis; 1 for a tensor without axes."""
        return self.shape[-1] if self.shape else 1

    def from_onnx(self, array: np.ndarray) -> np.ndarray:
        """Return a batch in the stored layout, C-contiguous.

        Parameters
        ----------
        array : array (batch, *onnx_shape)
        """
        axes = (0, *(axis + 1 for axis in self.layout))
        stored = np.ascontiguousarray(array.transpose(axes))
        return stored.reshape(array.shape[0], *self.shape)

    def to_onnx(self, array: np.ndarray) -> np.ndarray:
        """Return a batch in the ONNX layout, C-contiguous.

        Parameters
        ----------
        array : array (batch, *shape)
        """
        permuted = array.reshape(array.shape[0], *(self.onnx_shape[axis] for axis in self.layout))
        inverse = np.argsort(self.layout).astype(int)
        return np.ascontiguousarray(permuted.transpose(0, *(inverse + 1)))
