"""Requantization: from an int32 accumulator to the stored output; part of the contract (version 1).

``>>`` is the arithmetic right shift (towards minus infinity).
"""

from dataclasses import dataclass

import numpy as np

HALF_UP = "half_up"
HALF_EVEN = "half_even"


@dataclass(frozen=True, eq=False)
class Requantization:
    """The last step of a layer: from the int32 accumulator to the stored output.

    Single shift (``multiplier`` is None), rounding half up: the constant ``1 << (k - 1)`` of every
    positive shift is already part of the bias, so that ::

        t = acc >> k            for k >= 0
        t = acc * 2**-k         for k < 0

    Single shift, half even: ``t = acc / 2**k`` rounded to the nearest, ties to the even neighbour.

    Multiplier form, half up, in int64: ``t = (acc * m + (1 << (n - 1))) >> n``; half even likewise
    with ties to even. m is in [2**30, 2**31), n in 1 to 62, held in ``multiplier`` and ``shift``.

    Then ``y = clip(t + offset, lower, upper)``, or ``upper[c]`` in channel c.

    Attributes
    ----------
    shift : int8 array (1,) or (channels,)
        k, -30 to 30, or n. Layers without weights have one.
    multiplier : int32 array, shaped as ``shift``, or None
    offset : int
        Added after the shift. 0 where the output's zero point is part of the bias, which is the
        case whenever all shifts are >= 0 in the single-shift, half-up form.
    lower : int
    upper : int, or int32 array (channels,)
        Clip bounds, within the output's type. They carry ReLU and ReLU6; behind layers with
        weights the upper one may be one a channel, where equalization has scaled a ReLU6.
    rounding : {"half_up", "half_even"}
    """

    shift: np.ndarray
    multiplier: np.ndarray | None
    offset: int
    lower: int
    upper: int | np.ndarray
    rounding: str = HALF_UP

    @property
    def per_channel(self) -> bool:
        """Whether the channels have shifts of their own."""
        return self.shift.size > 1

    @property
    def capped(self) -> bool:
        """Whether the channels have upper bounds of their own."""
        return isinstance(self.upper, np.ndarray)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest output of any channel."""
        return self.lower, int(np.max(self.upper))

    @property
    def cap_type(self) -> np.dtype:
        """The smallest type that stores the upper bounds."""
        return np.min_scalar_type(-1 - max(self.bounds[1], -1 - int(np.min(self.upper))))
