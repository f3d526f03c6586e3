"""The sheet of the QDQ form: stored 8 and 16-bit tensors, and real values of 32-bit ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Port
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.sheet import Sheet, View, canonical
from aidge_quant.ops import DequantizeLinear, Mul, QuantizeLinear

REAL = "real"
POWER_OF_TWO = "power_of_two"


@dataclass(frozen=True)
class QdqOptions:
    """Choices of the QDQ form.

    Attributes
    ----------
    scales : {"power_of_two", "real"}
        Whether a tensor inside the network is dequantized with the power of two nearest to its real
        scale, or with the real scale itself.
    unsigned : bool
        Whether 8-bit activations are uint8, 128 higher.
    odd_accumulators : bool
        Whether layers whose weights fit in 6 bits are written so that no accumulator is a tie.
    integer_products : bool
        Whether the operators will multiply integers, as QLinearConv does.
    """

    scales: str = POWER_OF_TWO
    unsigned: bool = False
    odd_accumulators: bool = True
    integer_products: bool = False


class QdqSheet(Sheet):
    """A graph under construction in the QDQ form.

    Attributes
    ----------
    steps : dict
        By name of the QuantizeLinear node: the exact numbers of the layer's end.
    """

    def __init__(self, network: IntegerNetwork, options: QdqOptions) -> None:
        super().__init__(network, unsigned=options.unsigned)
        self.options = options
        self.steps: dict[str, dict[str, Any]] = {}
        self._units: dict[str, np.ndarray] = {}
        self._dequantized: dict[tuple[Port, bytes, int, int], Port] = {}

    # -- scales ----------------------------------------------------------------------------------

    def unit(self, tensor: IntegerTensor) -> np.ndarray:
        """Return the scale of a tensor inside the network, float64 () or (channels,)."""
        if tensor.name in self._units:
            return self._units[tensor.name]
        scale = np.asarray(tensor.scale, np.float64)
        if self.options.scales == POWER_OF_TWO:
            return np.exp2(np.rint(np.log2(scale)))
        return scale

    def set_unit(self, tensor: IntegerTensor, unit: np.ndarray) -> None:
        """Say that the real values of a 32-bit tensor have another unit here."""
        self._units[tensor.name] = np.asarray(unit)

    # -- from integers to real values ------------------------------------------------------------

    def real(
        self,
        tensor: IntegerTensor,
        unit: np.ndarray,
        view: View | None = None,
        *,
        below: int = 0,
        row: bool = False,
    ) -> Port:
        """Return the real values of a tensor.

        Parameters
        ----------
        tensor : IntegerTensor
        unit : float64 array () or (channels,)
            Real value of one of its integers.
        view : View, optional
        below : int
            How far the zero point is taken below the tensor's: the values are ``below`` units
            higher. 8-bit and 16-bit tensors only.
        row : bool
            Whether the values are wanted as one row, see ``Sheet.row``; ``view`` is not used then.
        """
        view = view or canonical(tensor.shape)
        port = self.row(tensor.name) if row else self.port(tensor.name, view)
        if tensor.dtype is dtype.int32:
            return self._scaled(tensor, port, np.asarray(unit, np.float64), view)
        axis = _channel_axis(view)
        scales = as_float32(unit)
        zero_point = tensor.zero_point - below
        key = (port, scales.tobytes(), axis, zero_point)
        if key not in self._dequantized:
            constants = self._ends(tensor, scales, zero_point)
            operator = DequantizeLinear(axis if scales.ndim else 1)
            name = f"{tensor.name}_dequantized"
            self._dequantized[key] = Port(self.add(operator, port, *constants, name=name))
        return self._dequantized[key]

    def _scaled(self, tensor: IntegerTensor, port: Port, unit: np.ndarray, view: View) -> Port:
        ratio = unit / self.unit(tensor)
        if np.all(ratio == 1):
            return port
        values = as_float32(ratio)
        if values.ndim:
            values = values.reshape(-1, *(1,) * (len(view.shape) - _channel_axis(view)))
        constant = self.constant(values, f"{tensor.name}_ratio")
        return Port(self.add(Mul(), port, constant, name=f"{tensor.name}_scaled"))

    # -- and back --------------------------------------------------------------------------------

    def store(
        self,
        tensor: IntegerTensor,
        port: Port,
        unit: np.ndarray | float,
        view: View | None = None,
        zero_point: int | None = None,
    ) -> str:
        """Quantize real values and bind the tensor; return the name of the quantizer.

        ``zero_point``, of the tensor unless given, is what is added to the rounded quotient.
        """
        view = view or canonical(tensor.shape)
        scales = as_float32(unit)
        added = tensor.zero_point if zero_point is None else zero_point
        operator = QuantizeLinear(_channel_axis(view) if scales.ndim else 1)
        node = self.add(operator, port, *self._ends(tensor, scales, added), name=tensor.name)
        self.bind(tensor.name, Port(node), view)
        return node.name

    def described(self, tensor: IntegerTensor, scale: np.ndarray) -> dict[str, Any]:
        """Return what the metadata says of a stored tensor beside the numbers of its layer.

        The zero point of its integers, the scale of its QuantizeLinear without a nudge, the scale
        that what reads it takes for one unit, and the real value of one of its integers.
        """
        return {
            "zero_point": tensor.zero_point + self.offset(tensor),
            "scale": np.asarray(scale, np.float64).tolist(),
            "unit": self.unit(tensor).tolist(),
            "real": np.asarray(tensor.scale, np.float64).tolist(),
        }

    def _ends(self, tensor: IntegerTensor, scales: np.ndarray, zero_point: int) -> tuple[Any, Any]:
        held = self.held(tensor)
        zeros = np.full(scales.shape, zero_point + self.offset(tensor), held.numpy)
        return (
            self.constant(scales, f"{tensor.name}_scale"),
            self.constant(zeros, f"{tensor.name}_zero_point", held),
        )


def as_float32(values: np.ndarray | float) -> np.ndarray:
    """Return one float32 () or many (channels,)."""
    flat = np.atleast_1d(values).astype(np.float32)
    return flat if flat.size > 1 else flat.reshape(())


def _channel_axis(view: View) -> int:
    """Return the axis, batch counted, of the channels: the last stored axis."""
    return view.layout[-1] + 1 if view.layout else 1
