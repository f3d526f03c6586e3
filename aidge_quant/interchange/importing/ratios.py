"""Ratios of scales as ratios of small integers."""

from fractions import Fraction

import numpy as np

#: Largest multiplier of an Add; the sum of two products of 8-bit values stays far below 2**31.
LARGEST = 32767


def best_pair(a: float, b: float, largest: int = LARGEST) -> tuple[int, int]:
    """Return the integers 1 to ``largest`` whose ratio is nearest to a / b.

    Parameters
    ----------
    a, b : float, above 0
    largest : int

    Notes
    -----
    The best approximation with a bounded denominator comes from continued fractions; the larger of
    the two scales is the numerator of the inverse so that the bound holds for both.
    """
    if a > b:
        second, first = best_pair(b, a, largest)
        return first, second
    # a / b <= 1: denominator and numerator are at most ``largest``
    found = (Fraction(a) / Fraction(b)).limit_denominator(largest)
    return (found.numerator, found.denominator) if found.numerator else (1, largest)


def unit_of(a: float, b: float, pair: tuple[int, int]) -> float:
    """Return the unit u for which u * pair is nearest to (a, b)."""
    first, second = pair
    return (a * first + b * second) / (first * first + second * second)


def snapped(factor: float) -> float:
    """Return the power of two that a quotient of float32 scales stands for, else the quotient.

    Each scale is known to half a unit in its last place, 2**-24; a quotient to about 2**-22.
    """
    nearest = 2.0 ** np.rint(np.log2(factor))
    return float(nearest) if abs(factor / nearest - 1) <= 2.0**-22 else factor
