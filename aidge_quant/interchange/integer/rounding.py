"""The end of a layer in standard integer operators: clamp, add, divide, cast.

ONNX divides integers by truncation, and has no arithmetic shift. So the accumulator is clamped to
the values that give an output within its bounds, moved to the non-negative side, and then divided:
there truncation is the shift of the contract.
"""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Port
from aidge_quant.integer.requantization import HALF_EVEN, Requantization
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.geometry import per_channel
from aidge_quant.interchange.moves import clamped
from aidge_quant.interchange.sheet import Sheet
from aidge_quant.ops import Add, Cast, Div, Max, Min, Mul, Operator, Sub

ACCUMULATOR = 2**31


@dataclass(frozen=True, eq=False)
class Division:
    """Constants of ``t = round(acc * factor / 2**shift)``, clipped to [lower, upper].

    Python integers, one a channel: ``v = acc * factor`` is clamped to [least, most], ``v + addend``
    is not negative, and its quotient by ``2**shift`` plus ``base`` is t. ``proven`` says that the
    network proves v to be int32, as it does for shifts.
    """

    factor: list[int]
    shift: list[int]
    least: list[int]
    most: list[int]
    addend: list[int]
    base: list[int]
    proven: bool

    @property
    def width(self) -> dtype:
        """The narrowest type in which nothing overflows."""
        for kind in (dtype.int32, dtype.int64):
            if all(self._fits(i, kind) for i in range(len(self.factor))):
                return kind
        raise UnsupportedError("a multiplier with a shift of more than 54 needs more than 64 bits")

    def _fits(self, i: int, kind: dtype) -> bool:
        proven = self.proven and kind is dtype.int32
        values = (
            self.least[i] if proven else ACCUMULATOR * self.factor[i] - 1,
            self.least[i],
            self.most[i],
            self.addend[i],
            self.most[i] + self.addend[i],
            1 << self.shift[i],
        )
        return all(kind.min <= value <= kind.max for value in values)


def division(form: Requantization, channels: int) -> Division:
    """Return the constants of a requantization, bounds and offset included."""
    size = channels if form.per_channel or form.capped else 1
    shifts = np.broadcast_to(form.shift, size).tolist()
    multipliers = np.broadcast_to(1 if form.multiplier is None else form.multiplier, size).tolist()
    uppers = np.broadcast_to(form.upper, size).tolist()
    rows = [
        _channel(m << max(-n, 0), max(n, 0), form.lower - form.offset, upper - form.offset, form)
        for m, n, upper in zip(multipliers, shifts, uppers, strict=True)
    ]
    factor, shift, least, most, addend, base = (list(column) for column in zip(*rows, strict=True))
    proven = form.multiplier is None
    return Division(factor, shift, least, most, addend, base, proven)


def _channel(
    factor: int, shift: int, lower: int, upper: int, form: Requantization
) -> tuple[int, int, int, int, int, int]:
    half = (1 << shift) >> 1
    # Half up is the floor of (v + half) / 2**shift; in the single-shift form the bias holds half.
    added = half if form.multiplier is not None or form.rounding == HALF_EVEN else 0
    reach = ACCUMULATOR * factor
    base = min(max(lower, (added - reach) >> shift), upper)
    if form.rounding == HALF_EVEN:
        base -= base & 1  # a tie is then even by its quotient alone
    least = max((base << shift) - added, -reach)
    most = min(((upper + 1) << shift) - 1 - added, reach)
    return factor, shift, least, most, added - (base << shift), base


def requantized(
    sheet: Sheet, accumulator: Port, form: Requantization, layer: str, output: str, rows: bool
) -> Port:
    """Return the stored output of a layer from its accumulator.

    Parameters
    ----------
    accumulator : Port
        int32, with the bias of the layer added.
    form : Requantization
    layer, output : str
        Name of the layer, and of the tensor that it writes.
    rows : bool
        Whether channels are the last axis.
    """
    tensor = sheet.network.tensor(output)
    numbers = division(form, tensor.channels)
    untouched = not any(numbers.shift) and set(numbers.factor) == {1}
    if untouched and form.multiplier is None and tensor.dtype is dtype.int32:
        return _unscaled(sheet, accumulator, form, tensor, layer, rows)
    steps = _Steps(sheet, numbers.width, layer, rows)
    value = steps.cast(accumulator)
    if set(numbers.factor) != {1}:
        value = steps.binary(Mul(), value, numbers.factor, "factor")
    value = steps.binary(Max(), value, numbers.least, "least")
    value = steps.binary(Min(), value, numbers.most, "most")
    value = steps.binary(Add(), value, numbers.addend, "addend")
    quotient = steps.divided(value, numbers.shift)
    if form.rounding == HALF_EVEN:
        quotient = steps.without_odd_ties(value, quotient, numbers.shift)
    shifted = [base + form.offset + sheet.offset(tensor) for base in numbers.base]
    if any(shifted):
        quotient = steps.binary(Add(), quotient, shifted, "offset")
    if form.rounding == HALF_EVEN:
        # Rounding down to an even base may reach one below the bounds.
        quotient = steps.within(quotient, form, sheet.offset(tensor))
    return Port(sheet.add(Cast(sheet.held(tensor)), quotient, name=output))


def _unscaled(
    sheet: Sheet,
    accumulator: Port,
    form: Requantization,
    tensor: IntegerTensor,
    layer: str,
    rows: bool,
) -> Port:
    """Return the accumulator itself, within bounds: int32 without a shift."""
    port = accumulator
    if form.offset:
        offset = sheet.constant(np.asarray(form.offset, np.int32), f"{layer}_offset")
        port = Port(sheet.add(Add(), port, offset, name=f"{layer}_offset_added"))
    bounds = (np.asarray(form.lower), per_channel(np.asarray(form.upper), rows))
    found = clamped(sheet, port, tensor, bounds, layer)
    return found if isinstance(found, Port) else Port(found)


class _Steps:
    """Adds operators with one constant for all channels or one each."""

    def __init__(self, sheet: Sheet, width: dtype, layer: str, rows: bool) -> None:
        self.sheet, self.width, self.layer, self.rows = sheet, width, layer, rows

    def cast(self, port: Port) -> Port:
        if self.width is dtype.int32:
            return port
        return Port(self.sheet.add(Cast(self.width), port, name=f"{self.layer}_wide"))

    def constant(self, values: list[int], name: str) -> Port:
        same = values[:1] if len(set(values)) == 1 else values
        array = per_channel(np.array(same, self.width.numpy), self.rows)
        return Port(self.sheet.constant(array, f"{self.layer}_{name}", self.width))

    def binary(self, operator: Operator, port: Port, values: list[int], name: str) -> Port:
        constant = self.constant(values, name)
        label = f"{self.layer}_{name}_{operator.type.lower()}"
        return Port(self.sheet.add(operator, port, constant, name=label))

    def divided(self, value: Port, shift: list[int]) -> Port:
        if not any(shift):
            return value
        return self.binary(Div(), value, [1 << k for k in shift], "divisor")

    def without_odd_ties(self, value: Port, quotient: Port, shift: list[int]) -> Port:
        """Return the quotient less one where the division is exact and the quotient odd."""
        powers, name = [1 << k for k in shift], self.layer
        back = self.binary(Mul(), quotient, powers, "divisor")
        rest = Port(self.sheet.add(Sub(), value, back, name=f"{name}_rest"))
        some = self.binary(Min(), rest, [1] * len(powers), "one")
        # Without a shift nothing is a tie.
        ties = [int(k > 0) for k in shift]
        tie = self.constant(ties, "ties")
        tie = Port(self.sheet.add(Sub(), tie, some, name=f"{name}_tie"))
        tie = self.binary(Max(), tie, [0] * len(powers), "zero")
        half = self.binary(Div(), quotient, [2] * len(powers), "two")
        even = self.binary(Mul(), half, [2] * len(powers), "two")
        odd = Port(self.sheet.add(Sub(), quotient, even, name=f"{name}_odd"))
        down = Port(self.sheet.add(Mul(), tie, odd, name=f"{name}_odd_tie"))
        return Port(self.sheet.add(Sub(), quotient, down, name=f"{name}_even"))

    def within(self, value: Port, form: Requantization, offset: int) -> Port:
        lower = self.binary(Max(), value, [form.lower + offset], "lower")
        uppers = np.atleast_1d(form.upper) + offset
        return self.binary(Min(), lower, uppers.tolist(), "upper")
