"""Optimizers: from a gradient to the next value."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Optimizer:
    """Base: one learning rate, which schedule and groups multiply.

    Attributes
    ----------
    rate : float
    weight_decay : float
        Pulls weights towards 0.
    """

    rate: float = 0.01
    weight_decay: float = 0.0

    #: Names of the arrays kept for each parameter.
    kept: ClassVar[tuple[str, ...]] = ()

    def update(
        self, value: np.ndarray, gradient: np.ndarray, state: State, rate: float, decay: float
    ) -> tuple[np.ndarray, State]:
        """Return the next value and the next state; the given ones stay as they are.

        Parameters
        ----------
        value, gradient : float array of one shape
        state : dict of arrays of that shape by the names in ``kept``, and ``count``, array ()
            Zeros at first.
        rate, decay : float
            After schedule and groups.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """v = momentum v + g + decay w; w = w - rate v."""

    momentum: float = 0.9

    kept: ClassVar[tuple[str, ...]] = ("velocity",)

    def update(
        self, value: np.ndarray, gradient: np.ndarray, state: State, rate: float, decay: float
    ) -> tuple[np.ndarray, State]:
        """Return the next value and the next velocity."""
        kind = value.dtype.type
        velocity = state["velocity"] * kind(self.momentum) + gradient
        if decay:
            velocity = velocity + kind(decay) * value
        return value - kind(rate) * velocity, {"velocity": velocity, "count": state["count"] + 1}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with decoupled weight decay.

    Notes
    -----
    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w = w - rate (m' / (sqrt(v') + epsilon) +
    decay w), with m' and v' divided by 1 - b^count. Kingma and Ba 2015, arXiv 1412.6980; decay:
    Loshchilov and Hutter 2019, arXiv 1711.05101.
    """

    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    kept: ClassVar[tuple[str, ...]] = ("mean", "square")

    def update(
        self, value: np.ndarray, gradient: np.ndarray, state: State, rate: float, decay: float
    ) -> tuple[np.ndarray, State]:
        """Return the next value and the next moments."""
        kind, (first, second) = value.dtype.type, self.betas
        count = state["count"] + 1
        mean = kind(first) * state["mean"] + kind(1 - first) * gradient
        square = kind(second) * state["square"] + kind(1 - second) * gradient * gradient
        unbiased = mean / kind(1 - first ** int(count))
        deviation = np.sqrt(square / kind(1 - second ** int(count)))
        move = unbiased / (deviation + kind(self.epsilon)) + kind(decay) * value
        return value - kind(rate) * move, {"mean": mean, "square": square, "count": count}
