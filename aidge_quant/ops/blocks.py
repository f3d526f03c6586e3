"""Operators that exchange channels for positions."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.errors import ShapeError
from aidge_quant.ops.base import Operator, Shape, operator, present, require_rank
from aidge_quant.ops.shape import MOVES


@operator
@dataclass(frozen=True, eq=False)
class DepthToSpace(Operator):
    """Groups of channels become squares of positions: (n, c, h, w) -> (n, c / b^2, h b, w b).

    Attributes
    ----------
    block : int, b
    columns_first : bool
        False: ONNX's DCR, channel = (row * b + column) * c / b^2 + depth. True: CRD (pixel
        shuffle), channel = depth * b^2 + row * b + column.
    """

    block: int
    columns_first: bool = False

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("DepthToSpace",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, channels / block^2, height * block, width * block)."""
        n, c, h, w = require_rank(shapes[0], (4,), "data")
        if c % self.block**2:
            raise ShapeError(f"{c} channels cannot be divided into blocks of {self.block**2}")
        return ((n, c // self.block**2, h * self.block, w * self.block),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Move the values."""
        (x,) = present(arrays, 1)
        (n, c, h, w), b = x.shape, self.block
        if self.columns_first:
            parts = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            parts = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, c // b**2, h * b, w * b)


@operator
@dataclass(frozen=True, eq=False)
class SpaceToDepth(Operator):
    """Squares of positions become channels: (n, c, h, w) -> (n, c b^2, h / b, w / b).

    Attributes
    ----------
    block : int, b
    columns_first : bool
        False: ONNX's DCR, output channel = (row * b + column) * c + channel. True: CRD, output
        channel = channel * b^2 + row * b + column.
    """

    block: int
    columns_first: bool = False

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("SpaceToDepth",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, channels * block^2, height / block, width / block)."""
        n, c, h, w = require_rank(shapes[0], (4,), "data")
        if h % self.block or w % self.block:
            raise ShapeError(f"positions {(h, w)} cannot be divided into squares of {self.block}")
        return ((n, c * self.block**2, h // self.block, w // self.block),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Move the values."""
        (x,) = present(arrays, 1)
        (n, c, h, w), b = x.shape, self.block
        order = (0, 1, 3, 5, 2, 4) if self.columns_first else (0, 3, 5, 1, 2, 4)
        parts = x.reshape(n, c, h // b, b, w // b, b).transpose(order)
        return parts.reshape(n, c * b**2, h // b, w // b)
