"""Schedules: the factor of the learning rate at a fraction of the training, 0 to 1."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Return 1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """Return half a period of a cosine: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def steps(*places: float, factor: float = 0.1) -> Schedule:
    """Return a schedule that multiplies by ``factor`` at each of the given fractions."""

    def schedule(progress: float) -> float:
        return factor ** sum(progress >= place for place in places)

    return schedule
