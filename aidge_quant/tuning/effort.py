"""The options of the recipe: how much work it does, and which forms it makes."""

from collections.abc import Mapping
from dataclasses import dataclass

from aidge_quant.errors import UnsupportedError


@dataclass(frozen=True)
class Effort:
    """How much work is done.

    Attributes
    ----------
    fitted : int
        Samples that biases and weights are fitted to, at most.
    searched : int
        Samples that the search of the scales sees, at most.
    steps : tuple of float
        Steps of its sweeps, as powers of two.
    rows : int
        Positions of a layer that its second moments are taken of.
    ways : int
        How many of the candidates (equalized or not, clipped or not) go all the way, best first.
    equalizations : mapping of float by name
        Equalizations that are tried, and how much of each: 1 evens the weights out, 0 does nothing.
    clips : bool
        Whether clipped intervals are tried.
    thorough : bool
        Whether rounding begins from greedy rounding too, and exponents are chosen.
    refit : bool
        Whether weights make up for the errors of what their layers read.
    """

    fitted: int
    searched: int
    steps: tuple[float, ...]
    rows: int
    ways: int
    equalizations: Mapping[str, float]
    clips: bool
    thorough: bool
    refit: bool


WHOLE = {"equalization": 1.0}
HALF = {"equalization by half": 0.5}
EFFORTS = {
    "fast": Effort(64, 0, (), 2048, 1, WHOLE, False, False, False),
    "balanced": Effort(128, 64, (0.25,), 4096, 1, WHOLE | HALF, True, True, True),
    "high": Effort(192, 192, (0.5, 0.25, 0.125), 16384, 2, WHOLE | HALF, True, True, True),
}


def checked_effort(effort: str) -> Effort:
    """Return the effort of this name; an UnsupportedError where there is none."""
    if effort not in EFFORTS:
        raise UnsupportedError(f"effort: expected one of {', '.join(EFFORTS)}, got {effort!r}")
    return EFFORTS[effort]


def check_form(weight_bits: int, activation_bits: int, single_shift: bool) -> None:
    """Raise an UnsupportedError unless the recipe makes networks of this form."""
    if weight_bits not in (4, 8, 16):
        raise UnsupportedError(f"weight_bits: expected 4, 8 or 16, got {weight_bits}")
    if activation_bits not in (8, 16):
        raise UnsupportedError(f"activation_bits: expected 8 or 16, got {activation_bits}")
    if not single_shift:
        raise UnsupportedError(
            "single_shift=False: expected True; quantize_network makes networks with multipliers"
        )
