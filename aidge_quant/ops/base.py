"""What every operator class provides, and the registry that passes, readers and tests loop over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, ShapeError, UnsupportedError

Shape = tuple[int, ...]

#: What ``forward`` takes, what it returns, and the gradients of what it takes.
Inputs = tuple[np.ndarray | None, ...]
Outputs = tuple[np.ndarray, ...]
Gradients = tuple[np.ndarray | None, ...]


class Trait:
    """What a pass may rely on about an operator; members of ``Operator.traits``."""

    AFFINE = "affine"  #: weighted sum of the data input plus a bias, weight and bias as inputs
    MERGING = "merging"  #: several data inputs that must share one scale (Add, Sub, Concat)
    MOVES = "moves"  #: every output value is an input value or 0: scale and zero pass through
    HOMOGENEOUS = "homogeneous"  #: f(a x) = a f(x) for every a > 0, so a positive scale passes
    POINTWISE = "pointwise"  #: one float function of one value: becomes a table
    KEEPS_CHANNELS = "keeps_channels"  #: output channel i (axis 1) depends on input channel i only
    SUMS = "sums"  #: mean over a window, linear, equal positive weights


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: attributes as fields, behaviour as methods, everything else as tables.

    Batch is axis 0 and channels are axis 1 of every activation, as in ONNX.
    Subclasses are frozen dataclasses decorated with ``@operator``.
    """

    #: Role of each input in order: "data", "weight", "bias" or "constant".
    roles: ClassVar[tuple[str, ...]] = ("data",)
    #: How many trailing inputs may be missing.
    optional: ClassVar[int] = 0
    #: Whether the last role repeats (Concat).
    variadic: ClassVar[bool] = False
    #: Members of :class:`Trait`.
    traits: ClassVar[frozenset[str]] = frozenset()
    #: ONNX operators that read as this class; None with ``onnx_reason`` when there is none.
    onnx: ClassVar[tuple[str, ...] | None] = None
    onnx_reason: ClassVar[str] = ""
    #: Domain of the ONNX operator; "" is that of the standard ones.
    onnx_domain: ClassVar[str] = ""
    #: ONNX attribute to field, for operators that a table can read and write.
    onnx_attributes: ClassVar[Mapping[str, str]] = {}
    #: Whether a node whose inputs are all constant may be replaced by its value. Not where its
    #: inputs say how a parameter is quantized.
    foldable: ClassVar[bool] = True

    @property
    def type(self) -> str:
        """Name of the operator."""
        return type(self).__name__

    @property
    def output_count(self) -> int:
        """How many outputs a node of this operator has."""
        return 1

    def role(self, slot: int) -> str:
        """Return the role of input ``slot``."""
        if slot < len(self.roles):
            return self.roles[slot]
        if self.variadic:
            return self.roles[-1]
        raise GraphError(f"{self.type} has {len(self.roles)} inputs, slot {slot} was asked for")

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shapes of the outputs; a missing optional input is None.

        Raises
        ------
        ShapeError
            If the inputs do not fit the operator; the caller adds the node's name.
        """
        raise NotImplementedError

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the element types of the outputs: by default that of the first input."""
        (first,) = present(dtypes, 1)
        return (first,) * self.output_count

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray | tuple[np.ndarray, ...]:
        """Compute the outputs; integer inputs give exact integer results."""
        raise NotImplementedError

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient of a loss with respect to every input.

        Parameters
        ----------
        gradient : float array
            Of the loss with respect to the first output; further outputs count as constants.
        inputs, outputs : tuple of array
            What ``forward`` took and returned.

        Returns
        -------
        tuple of array of the shape of the input, or None for an input that has no gradient

        Raises
        ------
        UnsupportedError
            If the operator cannot be trained through.
        """
        raise UnsupportedError(
            f"{self.type} has no backward: no gradient passes it, so nothing before it can train"
        )


REGISTRY: dict[str, type[Operator]] = {}

_Class = TypeVar("_Class", bound=type[Operator])


def operator(cls: _Class) -> _Class:
    """Register an operator class under its name."""
    if cls.__name__ in REGISTRY:
        raise GraphError(f"operator {cls.__name__} is registered twice")
    REGISTRY[cls.__name__] = cls
    return cls


def registered() -> Mapping[str, type[Operator]]:
    """Return all operator classes by name, in order of registration."""
    return REGISTRY


def require_rank(shape: Shape | None, ranks: tuple[int, ...], what: str) -> Shape:
    """Return ``shape`` if its number of axes is one of ``ranks``."""
    if shape is None or len(shape) not in ranks:
        expected = " or ".join(map(str, ranks))
        raise ShapeError(f"{what} has shape {shape}, expected {expected} axes")
    return shape


_Item = TypeVar("_Item")


def present(items: tuple[_Item | None, ...], count: int) -> tuple[_Item, ...]:
    """Return the first ``count`` inputs (their arrays, shapes or types).

    Raises
    ------
    GraphError
        If one of them is missing.
    """
    found = tuple(item for item in items[:count] if item is not None)
    if len(found) < count:
        missing = next(i for i in range(count) if i >= len(items) or items[i] is None)
        raise GraphError(f"input {missing} is missing, expected {count} inputs")
    return found


def optional(items: tuple[_Item | None, ...], index: int) -> _Item | None:
    """Return input ``index``, or None where it is left out."""
    return items[index] if index < len(items) else None
