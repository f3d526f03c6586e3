"""Nearest-neighbour resizing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.errors import ShapeError
from aidge_quant.ops.base import Operator, Shape, Trait, operator, present
from aidge_quant.ops.shape import MOVES

HALF = np.float32(0.5)

_Coordinate = Callable[[np.ndarray, np.float32, int, np.float32], np.ndarray]

#: ONNX's coordinate_transformation_mode: from output position i, scale, input size and the output
#: size before it was rounded down, to a position in the input. All of float32, as runtimes compute:
#: the last bit decides which neighbour is nearer.
COORDINATES: dict[str, _Coordinate] = {
    "half_pixel": lambda i, scale, size, length: (i + HALF) / scale - HALF,
    "half_pixel_symmetric": lambda i, scale, size, length: (
        size * HALF * (1 - np.floor(length) / length) + (i + HALF) / scale - HALF
    ),
    "pytorch_half_pixel": lambda i, scale, size, length: (
        (i + HALF) / scale - HALF if np.floor(length) > 1 else np.zeros_like(i)
    ),
    "align_corners": lambda i, scale, size, length: (
        i * (size - 1) / (np.floor(length) - 1) if length >= 2 else np.zeros_like(i)
    ),
    "asymmetric": lambda i, scale, size, length: i / scale,
}

#: ONNX's nearest_mode: from a position in the input to an index.
NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - HALF),
    "round_prefer_ceil": lambda x: np.floor(x + HALF),
    "floor": np.floor,
    "ceil": np.ceil,
}


@operator
@dataclass(frozen=True, eq=False)
class Resize(Operator):
    """Another number of positions, each with the value of the nearest input position.

    Attributes
    ----------
    scales : tuple of float, one an axis
        Output size = floor(input size * scale); empty where ``sizes`` are given.
    sizes : tuple of int, one an axis
        Output sizes, 0 keeps that of the input; empty where ``scales`` are given.
    coordinates : str
        Key of ``COORDINATES``.
    nearest : str
        Key of ``NEAREST``.
    """

    scales: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"

    traits: ClassVar[frozenset[str]] = MOVES | {Trait.KEEPS_CHANNELS}
    onnx: ClassVar[tuple[str, ...] | None] = ("Resize", "Upsample")

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes of the output."""
        (data,) = present(shapes, 1)
        given = self.sizes or self.scales
        if len(given) != len(data):
            raise ShapeError(
                f"data {data} cannot be resized by {given}: expected one number an axis"
            )
        if self.sizes:
            return (tuple(n or size for n, size in zip(self.sizes, data, strict=True)),)
        return (tuple(int(np.floor(n * s)) for n, s in zip(data, self.scales, strict=True)),)

    def indices(self, data: Shape) -> tuple[np.ndarray, ...]:
        """Return for each axis the input position of every output position, int64."""
        (outputs,) = self.infer_shapes(data)
        found = []
        for axis, (size, length) in enumerate(zip(data, outputs, strict=True)):
            scale = np.float32(length / size if self.sizes else self.scales[axis])
            if length == size and scale == 1:
                found.append(np.arange(size))
                continue
            exact_length = np.float32(length if self.sizes else size * self.scales[axis])
            i = np.arange(length, dtype=np.float32)
            positions = COORDINATES[self.coordinates](i, scale, size, exact_length)
            nearest = NEAREST[self.nearest](positions)
            found.append(np.clip(nearest, 0, size - 1).astype(np.int64))
        return tuple(found)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Copy the values, in the type of x."""
        (x,) = present(arrays, 1)
        for axis, index in enumerate(self.indices(x.shape)):
            if not np.array_equal(index, np.arange(x.shape[axis])):
                x = np.take(x, index, axis=axis)
        return x
