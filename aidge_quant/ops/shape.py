"""Operators that move values without changing them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.errors import ShapeError
from aidge_quant.ops.base import (
    Gradients,
    Inputs,
    Operator,
    Outputs,
    Shape,
    Trait,
    operator,
    present,
)

MOVES = frozenset({Trait.MOVES, Trait.HOMOGENEOUS})


@operator
@dataclass(frozen=True, eq=False)
class Flatten(Operator):
    """The axes before ``axis`` become one, and those from it on another."""

    axis: int = 1

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Flatten",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the two sizes."""
        (data,) = present(shapes, 1)
        axis = self.axis if self.axis >= 0 else self.axis + len(data)
        return ((int(np.prod(data[:axis])), int(np.prod(data[axis:]))),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return a view of x."""
        (x,) = present(arrays, 1)
        return x.reshape(self.infer_shapes(x.shape)[0])

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient under the shape of the data."""
        (x,) = present(inputs, 1)
        return (gradient.reshape(x.shape),)


@operator
@dataclass(frozen=True, eq=False)
class Reshape(Operator):
    """The same values in the same order under another shape.

    Attributes
    ----------
    shape : tuple of int
        0 copies the size of that axis from the input, one -1 is inferred. The reader writes the
        batch axis as 0, so that a model saved for batch 1 runs on any batch.
    zero_is_size : bool
        ONNX's allowzero: 0 is a size.
    """

    shape: tuple[int, ...]
    zero_is_size: bool = False

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Reshape",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape with 0 and -1 resolved."""
        (data,) = present(shapes, 1)
        sizes = list(self.shape)
        for axis, size in enumerate(sizes):
            if size == 0 and not self.zero_is_size:
                if axis >= len(data):
                    raise ShapeError(f"shape {self.shape} copies axis {axis} of data {data}")
                sizes[axis] = data[axis]
        total, known = int(np.prod(data)), int(np.prod([s for s in sizes if s != -1]))
        if -1 in sizes and known:
            sizes[sizes.index(-1)] = total // known
        if int(np.prod(sizes)) != total:
            raise ShapeError(f"data {data} has {total} values, which {self.shape} cannot hold")
        return (tuple(sizes),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return a view of x."""
        (x,) = present(arrays, 1)
        return x.reshape(self.infer_shapes(x.shape)[0])

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient under the shape of the data."""
        (x,) = present(inputs, 1)
        return (gradient.reshape(x.shape),)


@operator
@dataclass(frozen=True, eq=False)
class Transpose(Operator):
    """Output axis j is input axis ``permutation[j]``."""

    permutation: tuple[int, ...]

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Transpose",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the permuted sizes."""
        (data,) = present(shapes, 1)
        if sorted(self.permutation) != list(range(len(data))):
            raise ShapeError(f"permutation {self.permutation} does not fit data {data}")
        return (tuple(data[axis] for axis in self.permutation),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return a view of x."""
        (x,) = present(arrays, 1)
        return x.transpose(self.permutation)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient in the order of the data."""
        return (gradient.transpose(np.argsort(self.permutation)),)


@operator
@dataclass(frozen=True, eq=False)
class Concat(Operator):
    """The inputs one after the other along an axis."""

    axis: int = 1

    variadic: ClassVar[bool] = True
    traits: ClassVar[frozenset[str]] = frozenset({Trait.MERGING, Trait.MOVES})
    onnx: ClassVar[tuple[str, ...] | None] = ("Concat",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the joined sizes."""
        (first,) = present(shapes, 1)
        axis = self.axis % len(first)
        total = 0
        for shape in shapes:
            same = shape is not None and len(shape) == len(first)
            if not same or any(
                a != b for i, (a, b) in enumerate(zip(shape or (), first, strict=True)) if i != axis
            ):
                raise ShapeError(f"{shape} cannot be joined to {first} along axis {axis}")
            total += shape[axis] if shape else 0
        return ((*first[:axis], total, *first[axis + 1 :]),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the joined arrays."""
        return np.concatenate(present(arrays, len(arrays)), axis=self.axis)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the part of every input."""
        sizes = [x.shape[self.axis] for x in present(inputs, len(inputs))]
        return tuple(np.split(gradient, np.cumsum(sizes)[:-1], axis=self.axis))


@operator
@dataclass(frozen=True, eq=False)
class Slice(Operator):
    """Part of the data along some axes, with a step.

    Attributes
    ----------
    starts, ends, axes, steps : tuple of int
        As in ONNX: negative counts from the end, out of range is clamped; steps are not 0.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Slice",)

    def slices(self, data: Shape) -> tuple[slice, ...]:
        """Return one resolved slice for every axis of the data."""
        found = [slice(0, size, 1) for size in data]
        for start, end, axis, step in zip(
            self.starts, self.ends, self.axes, self.steps, strict=True
        ):
            size, axis = data[axis], axis % len(data)
            start, end = (i + size if i < 0 else i for i in (start, end))
            if step > 0:
                start, end = min(max(start, 0), size), min(max(end, 0), size)
            else:
                start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
            found[axis] = slice(start, end if end >= 0 else None, step)
        return tuple(found)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes of the part."""
        (data,) = present(shapes, 1)
        parts = zip(data, self.slices(data), strict=True)
        return (tuple(len(range(*part.indices(size))) for size, part in parts),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return a view of x."""
        (x,) = present(arrays, 1)
        return x[self.slices(x.shape)]

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient in its places, 0 in the others."""
        (x,) = present(inputs, 1)
        result = np.zeros(x.shape, gradient.dtype)
        result[self.slices(x.shape)] = gradient
        return (result,)


@operator
@dataclass(frozen=True, eq=False)
class Pad(Operator):
    """Positions of one value before and after the data.

    Attributes
    ----------
    before, after : tuple of int, one an axis of the data; negative cuts off
    value : float
        In units of the data.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Pad",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the padded sizes."""
        (data,) = present(shapes, 1)
        if len(self.before) != len(data):
            raise ShapeError(f"pads for {len(self.before)} axes do not fit data {data}")
        return (tuple(map(sum, zip(data, self.before, self.after, strict=True))),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the padded array in the type of x."""
        (x,) = present(arrays, 1)
        pairs = list(zip(self.before, self.after, strict=True))
        cut = x[
            tuple(
                slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs, strict=True)
            )
        ]
        widths = [(max(b, 0), max(a, 0)) for b, a in pairs]
        return np.pad(cut, widths, constant_values=x.dtype.type(self.value))

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient of what was kept, 0 for what was cut off."""
        before, after = (tuple(-n for n in pads) for pads in (self.before, self.after))
        return (Pad(before, after).forward(gradient),)
