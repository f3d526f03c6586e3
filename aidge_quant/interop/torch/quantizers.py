"""The quantizers for training as functions of torch, with the gradients of our operators.

Each class computes what ``forward`` and ``backward`` of the operator of its name compute; formulas
and sources stand there. Sums behind the gradients of steps and bounds are float64, as in numpy.
"""

import math
from typing import Any

from aidge_quant.errors import DtypeError, ShapeError
from aidge_quant.interop.torch.library import Tensor, torch
from aidge_quant.ops import CGPACT, LSQ, BiasQuantizer, DoReFa, FixedQ
from aidge_quant.ops import DoReFaMode as Mode


def round_half_away(x: Tensor) -> Tensor:
    """Return the nearest integers, ties away from zero."""
    whole = torch.trunc(x)
    rest = x - whole
    return whole + torch.trunc(rest + rest)


def round_half_up(x: Tensor) -> Tensor:
    """Return floor(x + 0.5)."""
    return torch.floor(x + 0.5)


def nearest_power_of_two(value: Tensor) -> Tensor:
    """Return the power of two nearest to a float64 value, in the logarithm; others as they are.

    A value is mantissa * 2^e with the mantissa in [1/2, 1): 2^e from sqrt(1/2) on, else 2^(e - 1).
    No power or logarithm is computed, whose last bit the device decides.
    """
    mantissa, _ = torch.frexp(value)
    power = value / mantissa
    found = torch.where(mantissa >= math.sqrt(0.5), power, power / 2)
    return torch.where(value > 0, found, value)


class LSQFunction(torch.autograd.Function):
    """Of data, step and operator."""

    @staticmethod
    def forward(context: Any, x: Tensor, step: Tensor, operator: LSQ) -> Tensor:
        """Return multiples of the step."""
        _expect_one(step, "the step")
        _expect_floats(x)
        value = step.detach().reshape(()).double()
        used = (nearest_power_of_two(value) if operator.power_of_two else value).to(x.dtype)
        context.save_for_backward(x, step, used)
        context.operator = operator
        turn = round_half_up if operator.power_of_two else round_half_away
        return turn(torch.clamp(x / used, *operator.range)) * used

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of data and step."""
        x, step, used = context.saved_tensors
        operator, (lower, upper) = context.operator, context.operator.range
        ratio = x / used
        inside = (ratio > lower) & (ratio < upper)
        turn = round_half_up if operator.power_of_two else round_half_away
        output = turn(torch.clamp(ratio, lower, upper)) * used
        slope = torch.where(inside, output - x, output)  # in units of the step
        total = (gradient * slope).sum(dtype=torch.float64) / used
        total = total / math.sqrt(x.numel() * upper)
        if operator.power_of_two:
            value = step.reshape(()).double()
            total = total * torch.where(value > 0, used / value, 1.0)
        return gradient * inside, total.to(step.dtype).reshape(step.shape), None


class CGPACTFunction(torch.autograd.Function):
    """Of data, alpha and operator."""

    @staticmethod
    def forward(context: Any, x: Tensor, alpha: Tensor, operator: CGPACT) -> Tensor:
        """Return multiples of alpha / R."""
        _expect_one(alpha, "alpha")
        _expect_floats(x)
        value = alpha.detach().reshape(()).to(x.dtype)
        part = _part(x, value)
        context.save_for_backward(x, alpha)
        context.levels = operator.range
        return round_half_away(part * operator.range) * (value / operator.range)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of data and alpha."""
        x, alpha = context.saved_tensors
        value, levels = alpha.reshape(()).to(x.dtype), context.levels
        part = _part(x, value)
        slope = torch.where(x >= value, 1.0, round_half_away(part * levels) / levels - part)
        total = (gradient * slope).sum(dtype=torch.float64)
        passed = gradient * ((x > 0) & (x <= value))
        return passed, total.to(alpha.dtype).reshape(alpha.shape), None


class FixedQFunction(torch.autograd.Function):
    """Of data and operator; the gradient passes straight through."""

    @staticmethod
    def forward(context: Any, x: Tensor, operator: FixedQ) -> Tensor:
        """Return multiples of the step."""
        _expect_floats(x)
        step = torch.tensor(operator.step, dtype=x.dtype, device=x.device)
        turn = round_half_up if operator.half_up else round_half_away
        return turn(torch.clamp(x / step, *operator.range)) * step

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient as it is."""
        return gradient, None


class BiasQuantizerFunction(torch.autograd.Function):
    """Of bias, both steps and operator; the gradient passes, the steps get none."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, first: Tensor, second: Tensor, operator: BiasQuantizer
    ) -> Tensor:
        """Return multiples of the product of the steps."""
        values = []
        for step in (first, second):
            _expect_one(step, "the step")
            value = step.detach().reshape(()).double()
            values.append(nearest_power_of_two(value) if operator.power_of_two else value)
        unit = values[0] * values[1]
        return (round_half_up(x.double() / unit) * unit).to(x.dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient as it is."""
        return gradient, None, None, None


class DoReFaFunction(torch.autograd.Function):
    """Of data and operator; the gradient passes, times the slope of the mode."""

    @staticmethod
    def forward(context: Any, x: Tensor, operator: DoReFa) -> Tensor:
        """Return the levels."""
        _expect_floats(x)
        context.slope, levels = operator.slope, operator.range
        scaled = x if operator.slope == 1 else x * operator.slope
        if operator.mode in (Mode.Default, Mode.FullRange):
            return (2 * torch.round((scaled * 0.5 + 0.5) * levels) - levels) / levels
        if operator.mode is Mode.Asymmetric:
            scaled = scaled - 0.5 / levels
        return torch.round(scaled * levels) / levels

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient, times the slope of the mode."""
        return (gradient if context.slope == 1 else gradient * context.slope), None


def tanh_clamp(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return tanh(x) over its largest magnitude, and that, (1,): a constant of the gradient."""
    curve = torch.tanh(x)
    divisor = _divisor(curve.detach().abs().amax())
    return curve / divisor, divisor


def scale_adjust(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x over sqrt(n variance), and that, (1,): a constant of the gradient."""
    if x.numel() < 2:
        divisor = torch.ones(1, dtype=x.dtype, device=x.device)
    else:
        variance = x.detach().double().var(correction=1)
        divisor = _divisor(torch.sqrt(variance * (x.numel() / x.shape[0])).to(x.dtype))
    return x / divisor, divisor


def _part(x: Tensor, alpha: Tensor) -> Tensor:
    """Return clip(x / alpha, 0, 1), and 1 above 0 where alpha is 0."""
    safe = torch.where(alpha == 0, torch.ones_like(alpha), alpha)
    return torch.where(alpha == 0, (x > 0).to(x.dtype), torch.clamp(x / safe, 0, 1))


def _divisor(value: Tensor) -> Tensor:
    return torch.where(value == 0, torch.ones_like(value), value).reshape(1)


def _expect_one(tensor: Tensor, what: str) -> None:
    if tensor.numel() != 1:
        raise ShapeError(f"{what} has shape {tuple(tensor.shape)}, expected one value")


def _expect_floats(x: Tensor) -> None:
    if not x.is_floating_point():
        raise DtypeError(f"the data has type {x.dtype}, expected floats")
