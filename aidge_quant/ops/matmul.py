"""Products of two matrices of which the second is no constant parameter (else see ``FC``)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import ShapeError
from aidge_quant.ops.affine import as_accumulator, exact
from aidge_quant.ops.base import (
    Gradients,
    Inputs,
    Operator,
    Outputs,
    Shape,
    operator,
    optional,
    present,
    require_rank,
)
from aidge_quant.ops.elementwise import unbroadcast


@dataclass(frozen=True, eq=False)
class Product(Operator):
    """Base: integers give the exact int32 accumulator."""

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int32 for integer data, else the type of the data."""
        (data,) = present(dtypes, 1)
        return (dtype.int32 if data.is_integer else data,)


@operator
@dataclass(frozen=True, eq=False)
class MatMul(Product):
    """a @ b over the last two axes, with numpy's broadcasting of the others."""

    roles: ClassVar[tuple[str, ...]] = ("data", "data")
    onnx: ClassVar[tuple[str, ...] | None] = ("MatMul",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the product."""
        a, b = shapes
        if not a or not b:
            raise ShapeError(
                f"shapes {a} and {b} cannot be multiplied: expected at least 1 axis each"
            )
        rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
        if a[-1] != (b[-2] if len(b) > 1 else b[0]):
            raise ShapeError(f"shapes {a} and {b} cannot be multiplied: the inner sizes differ")
        try:
            return ((*np.broadcast_shapes(a[:-2], b[:-2]), *rows, *columns),)
        except ValueError:
            raise ShapeError(f"shapes {a} and {b} do not broadcast") from None

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Multiply."""
        a, b = present(arrays, 2)
        return as_accumulator(np.asarray(exact(a) @ exact(b)), a)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return g b' and a' g, summed over what was broadcast."""
        a, b = present(inputs, 2)
        rows = a if a.ndim > 1 else a[None, :]
        columns = b if b.ndim > 1 else b[:, None]
        full = gradient[..., None, :] if a.ndim == 1 and b.ndim > 1 else gradient
        full = full[..., None] if b.ndim == 1 else full
        full = full.reshape(1, 1) if a.ndim == 1 and b.ndim == 1 else full
        left = unbroadcast(full @ columns.swapaxes(-1, -2), rows.shape).reshape(a.shape)
        right = unbroadcast(rows.swapaxes(-1, -2) @ full, columns.shape).reshape(b.shape)
        return left, right


@operator
@dataclass(frozen=True, eq=False)
class Gemm(Product):
    """alpha * a' @ b' + beta * c, where a' and b' may be transposed; c broadcasts.

    Inputs: a (rows, inner), b (inner, columns), c (rows, columns) or smaller.
    """

    alpha: float = 1.0
    beta: float = 1.0
    transpose_a: bool = False
    transpose_b: bool = False

    roles: ClassVar[tuple[str, ...]] = ("data", "data", "data")
    optional: ClassVar[int] = 1
    onnx: ClassVar[tuple[str, ...] | None] = ("Gemm",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (rows, columns)."""
        a, b = require_rank(shapes[0], (2,), "a"), require_rank(shapes[1], (2,), "b")
        a, b = a[:: -1 if self.transpose_a else 1], b[:: -1 if self.transpose_b else 1]
        if a[1] != b[0]:
            raise ShapeError(f"matrices {a} and {b} cannot be multiplied: the inner sizes differ")
        found = (a[0], b[1])
        c = shapes[2] if len(shapes) > 2 else None
        if c is not None and (
            len(c) > 2 or any(s not in (1, n) for s, n in zip(c[::-1], found[::-1], strict=False))
        ):
            raise ShapeError(f"c has shape {c}, which does not broadcast to {found}")
        return (found,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Multiply and add."""
        (a, b), c = present(arrays, 2), optional(arrays, 2)
        left = exact(a.T if self.transpose_a else a)
        result = left @ exact(b.T if self.transpose_b else b)
        if self.alpha != 1:
            result = result * result.dtype.type(self.alpha)
        if c is not None:
            term = exact(c)
            result = result + (term if self.beta == 1 else term * term.dtype.type(self.beta))
        return as_accumulator(result, a)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradients of both matrices and of c."""
        (a, b), c = present(inputs, 2), optional(inputs, 2)
        scaled = gradient * gradient.dtype.type(self.alpha)
        left = scaled @ (b if self.transpose_b else b.T)
        right = (a if self.transpose_a else a.T) @ scaled
        both = (left.T if self.transpose_a else left, right.T if self.transpose_b else right)
        if c is None:
            return both
        return (*both, unbroadcast(gradient * gradient.dtype.type(self.beta), c.shape))
