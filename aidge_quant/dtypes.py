"""Element types of tensors, with the name, the width and the numpy type that stores each."""

import enum

import numpy as np

from aidge_quant.errors import DtypeError


class dtype(enum.Enum):  # noqa: N801 - the published name of the graph core
    """Element type of a tensor.

    ``int4`` and ``uint4`` are stored one value to an int8 or uint8 in Python; the exported C packs
    two to a byte.
    """

    int4 = "int4"
    int8 = "int8"
    int16 = "int16"
    int32 = "int32"
    int64 = "int64"
    uint4 = "uint4"
    uint8 = "uint8"
    uint16 = "uint16"
    uint32 = "uint32"
    uint64 = "uint64"
    float16 = "float16"
    float32 = "float32"
    float64 = "float64"
    boolean = "bool"

    @property
    def bits(self) -> int:
        """Width of one element in bits."""
        return 8 if self is dtype.boolean else int(self.value.lstrip("uintfloa"))

    @property
    def is_integer(self) -> bool:
        """Whether the type is a signed or unsigned integer."""
        return self.value.lstrip("u").startswith("int")

    @property
    def is_signed(self) -> bool:
        """Whether the type holds negative numbers."""
        return self.value.startswith(("int", "float"))

    @property
    def min(self) -> int:
        """Smallest value of an integer type."""
        self._require_integer()
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def max(self) -> int:
        """Largest value of an integer type."""
        self._require_integer()
        return (1 << (self.bits - self.is_signed)) - 1

    @property
    def numpy(self) -> np.dtype:
        """The numpy type that stores one element."""
        stored = {"int4": "int8", "uint4": "uint8"}.get(self.value, self.value)
        return np.dtype(stored)

    @classmethod
    def of(cls, array: np.ndarray | np.dtype | type) -> "dtype":
        """Return the element type of a numpy array or numpy type.

        Raises
        ------
        DtypeError
            If numpy's type has no counterpart here (complex, text, objects).
        """
        name = np.dtype(getattr(array, "dtype", array)).name
        try:
            return cls(name)
        except ValueError:
            raise DtypeError(f"numpy type {name} is not a tensor type of this package") from None

    def _require_integer(self) -> None:
        if not self.is_integer:
            raise DtypeError(f"{self.value} is not an integer type: it has no min and max here")

    def __repr__(self) -> str:
        return f"dtype.{self.name}"
