"""How a requantization is handed to the compiled kernels."""

from typing import Protocol

import numpy as np

from aidge_quant.errors import DataError, DtypeError, ShapeError

HALF_UP = "half_up"
HALF_EVEN = "half_even"

# The values of Form in _kernels/requant.pxd.
_RIGHT_SHIFTS = 0
_FORMS = {
    (False, HALF_UP): 1,
    (False, HALF_EVEN): 2,
    (True, HALF_UP): 3,
    (True, HALF_EVEN): 4,
}


class Requantizes(Protocol):
    """What a kernel reads of a requantization; `aidge_quant.integer.layers` states its meaning."""

    @property
    def shift(self) -> np.ndarray:
        """Integer array (1,) or (channels,)."""

    @property
    def multiplier(self) -> np.ndarray | None:
        """Integer array, shaped as ``shift``, or None."""

    @property
    def offset(self) -> int:
        """Added after the shift."""

    @property
    def lower(self) -> int:
        """Smallest output."""

    @property
    def upper(self) -> int | np.ndarray:
        """Largest output, or int32 array (channels,) of them."""

    @property
    def rounding(self) -> str:
        """``half_up`` or ``half_even``."""


def packed(
    kernel: str, requantization: Requantizes, channels: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the constants, shifts, multipliers and upper bounds as the compiled kernels take them.

    Parameters
    ----------
    kernel : str
        For the message.
    requantization : Requantizes
    channels : int
        How many channels may have shifts and upper bounds of their own; 1 where they cannot.
    dtype : numpy type
        Of the output.

    Returns
    -------
    int32 array (3,), int32 array (1,) or (channels,), int32 array of that shape, int32 array (1,)
    or (channels,)

    Raises
    ------
    ShapeError, DtypeError, DataError
        If a shape, a type or a range is not that of the contract.
    """
    shift = np.asarray(requantization.shift)
    multiplier = requantization.multiplier
    scaled = multiplier is not None
    factors = np.asarray(multiplier) if scaled else np.zeros(shift.shape, np.int32)
    if shift.shape not in ((1,), (channels,)) or factors.shape != shift.shape:
        raise ShapeError(
            f"{kernel}: shift has shape {shift.shape} and multiplier {factors.shape}, expected "
            f"(1,) or ({channels},)"
        )
    if shift.dtype.kind != "i" or factors.dtype.kind != "i":
        raise DtypeError(
            f"{kernel}: shift is {shift.dtype} and multiplier {factors.dtype}, expected integers"
        )
    least, most = (1, 62) if scaled else (-30, 30)
    if shift.min() < least or shift.max() > most:
        raise DataError(
            f"{kernel}: shifts are {shift.min()} to {shift.max()}, expected {least} to {most}"
        )
    if scaled and (factors.min() < 1 << 30 or factors.max() >= 1 << 31):
        raise DataError(f"{kernel}: multipliers leave the range 2**30 to 2**31 - 1")
    try:
        form = _FORMS[scaled, requantization.rounding]
    except KeyError:
        raise DataError(
            f"{kernel}: rounding is {requantization.rounding!r}, expected half_up or half_even"
        ) from None
    if form == _FORMS[False, HALF_UP] and shift.min() >= 0:
        form = _RIGHT_SHIFTS
    upper = np.atleast_1d(requantization.upper)
    if upper.shape not in ((1,), (channels,)):
        raise ShapeError(
            f"{kernel}: upper has shape {upper.shape}, expected one bound or ({channels},)"
        )
    limits = np.iinfo(dtype)
    if not limits.min <= requantization.lower <= upper.min() <= upper.max() <= limits.max:
        raise DataError(
            f"{kernel}: clip bounds are {requantization.lower} and {requantization.upper}, "
            f"expected them in order and in the range of {dtype}"
        )
    return (
        np.array((form, requantization.offset, requantization.lower), np.int32),
        np.ascontiguousarray(shift, np.int32),
        np.ascontiguousarray(factors, np.int32),
        np.ascontiguousarray(upper, np.int32),
    )
