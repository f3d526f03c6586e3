"""Windows that move over images, and parts of tensors: sizes and places, without values."""

import math
from dataclasses import dataclass

import numpy as np

from aidge_quant.kernels.arrays import window_count


@dataclass(frozen=True)
class Window:
    """What a convolution or a pool sees at a time.

    Attributes
    ----------
    size, stride, dilation : (int, int)
        Along height and width.
    padding : (int, int, int, int)
        Top, left, bottom, right.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    def outputs(self, kernel: str, height: int, width: int) -> tuple[int, int]:
        """Return how many windows an image has along height and width.

        Raises
        ------
        ShapeError
            If it has none; the message begins with the name of the kernel.
        """
        axes = zip(
            (height, width),
            self.size,
            self.stride,
            self.dilation,
            self.padding[:2],
            self.padding[2:],
            strict=True,
        )
        rows, columns = (window_count(kernel, *axis) for axis in axes)
        return rows, columns

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of an image with its border."""
        top, left, bottom, right = self.padding
        return top + height + bottom, left + width + right


@dataclass(frozen=True)
class Part:
    """Values of a tensor at equal distances: its shape, and the first and every next by axis."""

    shape: tuple[int, ...]
    starts: tuple[int, ...]
    steps: tuple[int, ...]

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> "Part":
        """Return all values."""
        return cls(shape, (0,) * len(shape), (1,) * len(shape))

    def in_memory(self) -> tuple[list[int], int, int]:
        """Return values from one to the next by axis, to the first, and of the whole tensor."""
        apart = [int(v) for v in np.cumprod((1, *self.shape[:0:-1]), dtype=np.int64)[::-1]]
        along = [v * step for v, step in zip(apart, self.steps, strict=True)]
        first = sum(v * start for v, start in zip(apart, self.starts, strict=True))
        return along, first, math.prod(self.shape)
