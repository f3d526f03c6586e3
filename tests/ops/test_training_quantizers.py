"""The quantizers for training equal their published formulas, forward and backward.

The expected values are computed one at a time, in Python floats.
"""

import math

import numpy as np
import pytest

import aidge_quant as aq
from aidge_quant import ops
from aidge_quant.errors import DataError, DtypeError, ShapeError
from aidge_quant.ops import DoReFaMode

COUNT = 10_000
NEARLY_HALF = np.nextafter(0.5, 0)


def values(seed, scale=2.0):
    """Return random values, and those where formulas change their form: integers, halves, 0."""
    rng = np.random.default_rng(seed)
    special = np.arange(-40, 41) / 4
    return np.concatenate([rng.normal(0, scale, COUNT), special, [NEARLY_HALF, -NEARLY_HALF]])


def half_away(v):
    return math.copysign(math.floor(abs(v) + 0.5) if abs(v) != NEARLY_HALF else 0.0, v)


def gradients(operator, *arrays):
    """Return random gradients, and what backward makes of them."""
    outputs = operator.forward(*arrays)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    g = np.random.default_rng(5).normal(size=arrays[0].shape).astype(arrays[0].dtype)
    return g, operator.backward(g, arrays, outputs)


@pytest.mark.parametrize("bounds", [(-8, 7), (0, 15), (-2, 1), (-128, 127), (0, 3)])
@pytest.mark.parametrize("step", [0.25, 1.0, 0.37, -0.5])
def test_lsq_is_its_formula(bounds, step):
    x, (lower, upper) = values(1), bounds
    operator = ops.LSQ(bounds)
    y = [step * min(max(half_away(v / step), lower), upper) for v in x]
    np.testing.assert_allclose(operator.forward(x, np.array(step)), y, rtol=1e-15, atol=0)
    g, (dx, ds) = gradients(operator, x, np.array([step]))
    inside = np.array([lower < v / step < upper for v in x])
    np.testing.assert_array_equal(dx, np.where(inside, g, 0))
    slopes = []
    for v in x / step:
        slopes.append(lower if v <= lower else upper if v >= upper else half_away(v) - v)
    expected = math.fsum(g * slopes) / math.sqrt(len(x) * upper)
    assert ds.shape == (1,)
    np.testing.assert_allclose(ds, expected, rtol=1e-9)


def test_lsq_without_a_step_takes_the_first_one_of_its_data():
    x = values(2)
    step = 2 * np.abs(x).mean() / math.sqrt(7)
    operator = ops.LSQ((-8, 7))
    np.testing.assert_allclose(
        operator.forward(x, np.zeros(())), operator.forward(x, np.array(step)), rtol=1e-14
    )
    zeros = np.zeros(5)
    np.testing.assert_array_equal(operator.forward(zeros, np.zeros(())), zeros)
    dx, ds = operator.backward(np.ones(5), (zeros, np.zeros(())), (zeros,))
    assert (dx == 1).all()
    assert ds == 0


@pytest.mark.parametrize(("step", "used"), [(0.25, 0.25), (0.3, 0.25), (0.36, 0.5), (1.5, 2.0)])
def test_lsq_rounds_the_step_to_a_power_of_two(step, used):
    x = values(3)
    plain, shifted = ops.LSQ((-8, 7)), ops.LSQ((-8, 7), power_of_two=True)
    y = [used * min(max(math.floor(v / used + 0.5), -8), 7) for v in x]  # as shifts round
    np.testing.assert_array_equal(shifted.forward(x, np.array(step)), y)
    x = x[(x / used - 0.5) % 1 != 0]  # without ties the gradients are those of the used step
    _, (dx, ds) = gradients(shifted, x, np.array(step))
    _, (expected_dx, expected_ds) = gradients(plain, x, np.array(used))
    np.testing.assert_array_equal(dx, expected_dx)
    np.testing.assert_allclose(ds, expected_ds * used / step, rtol=1e-12)


@pytest.mark.parametrize("levels", [1, 3, 15, 255])
@pytest.mark.parametrize("alpha", [1.0, 2.5, 0.3, -1.25, 0.0])
def test_cgpact_is_its_formula(levels, alpha):
    x = values(4)

    def part(v):
        if alpha == 0:
            return 1.0 if v > 0 else 0.0
        return min(max(v / alpha, 0.0), 1.0)

    y = [alpha * half_away(part(v) * levels) / levels for v in x]
    operator = ops.CGPACT(levels)
    np.testing.assert_allclose(operator.forward(x, np.array(alpha)), y, rtol=1e-14, atol=1e-300)
    g, (dx, da) = gradients(operator, x, np.array(alpha))
    np.testing.assert_array_equal(
        dx, [d if 0 < v <= alpha else 0 for d, v in zip(g, x, strict=True)]
    )
    slopes = [1 if v >= alpha else half_away(part(v) * levels) / levels - part(v) for v in x]
    np.testing.assert_allclose(da, math.fsum(g * slopes), rtol=1e-9)


@pytest.mark.parametrize("levels", [1, 3, 7, 15, 255])
@pytest.mark.parametrize("mode", DoReFaMode)
def test_dorefa_is_its_formula(levels, mode):
    x = np.clip(values(6, 0.5), -1, 1)
    scale, offset = {
        DoReFaMode.FullRange: (1 + 0.9998 / levels, 0.4999 / levels),
        DoReFaMode.Asymmetric: (1 + 1 / (2 * levels), 1 / (2 * levels)),
    }.get(mode, (1, 0))
    expected = []
    for v in x.tolist():
        if mode in (DoReFaMode.Default, DoReFaMode.FullRange):
            q = scale * (v + 1) / 2 - offset
            expected.append(2 * round(q * levels) / levels - 1)
        else:
            expected.append(round((scale * v - offset) * levels) / levels)
    found = ops.DoReFa(levels, mode).forward(x)
    # FullRange is written as one product: its ties may fall the other way.
    ties = np.abs(found - expected) > 1e-12
    assert ties.sum() <= (81 if mode in (DoReFaMode.FullRange, DoReFaMode.Asymmetric) else 0)
    assert (np.abs(found - expected) < 2.0001 / levels).all()
    assert found.max() <= 1
    assert found.min() >= -1 - (1.0001 / levels if mode is DoReFaMode.Asymmetric else 0)
    g, (dx,) = gradients(ops.DoReFa(levels, mode), x)
    np.testing.assert_allclose(dx, g * scale, rtol=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("span", [4.0, 1.0, 0.7])
@pytest.mark.parametrize("unsigned", [False, True])
def test_fixedq_is_its_formula(bits, span, unsigned):
    x = values(7)
    step = span / 2**bits if unsigned else span / 2 ** (bits - 1)
    lower, upper = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    operator = ops.FixedQ(bits, span, unsigned)
    y = [step * min(max(half_away(v / step), lower), upper) for v in x]
    np.testing.assert_allclose(operator.forward(x), y, rtol=1e-14)
    g, (dx,) = gradients(operator, x)
    np.testing.assert_array_equal(dx, g)


def test_tanh_clamp_is_its_formula():
    x = values(8)
    largest = math.tanh(max(abs(x)))
    y, divisor = ops.TanhClamp().forward(x)
    np.testing.assert_allclose(divisor, [largest], rtol=1e-15)
    np.testing.assert_allclose(y, [math.tanh(v) / largest for v in x], rtol=1e-14)
    g, (dx,) = gradients(ops.TanhClamp(), x)
    expected = [d * (1 - math.tanh(v) ** 2) / largest for d, v in zip(g, x, strict=True)]
    np.testing.assert_allclose(dx, expected, rtol=1e-9, atol=1e-14)


def test_scale_adjust_is_its_formula():
    x = values(9)[:10_080].reshape(20, 504)
    mean = math.fsum(x.ravel()) / x.size
    variance = math.fsum((x.ravel() - mean) ** 2) / (x.size - 1)
    expected = math.sqrt(504 * variance)
    y, divisor = ops.ScaleAdjust().forward(x)
    np.testing.assert_allclose(divisor, [expected], rtol=1e-12)
    np.testing.assert_allclose(y, x / expected, rtol=1e-12)
    g, (dx,) = gradients(ops.ScaleAdjust(), x)
    np.testing.assert_allclose(dx, g / expected, rtol=1e-12)


@pytest.mark.parametrize("operator", [ops.TanhClamp(), ops.ScaleAdjust()])
@pytest.mark.parametrize("shape", [(3, 2), (1,)])
def test_constant_weights_do_not_divide_by_zero(operator, shape):
    zeros = np.zeros(shape, np.float32)
    y, divisor = operator.forward(zeros)
    np.testing.assert_array_equal(y, zeros)
    assert divisor == 1
    (dx,) = operator.backward(zeros + 1, (zeros,), (y, divisor))
    np.testing.assert_array_equal(dx, zeros + 1)


@pytest.mark.parametrize(
    "operator", [ops.LSQ(), ops.LSQ((-8, 7), True), ops.CGPACT(), ops.FixedQ(), ops.DoReFa()]
)
def test_results_have_the_type_of_the_data(operator):
    x = values(10).astype(np.float32)
    arrays = (x, np.float32(0.1).reshape(()))[: len(operator.roles)]
    assert operator.forward(*arrays).dtype == np.float32
    _, found = gradients(operator, *arrays)
    assert [part.dtype for part in found] == [np.float32] * len(arrays)


def test_float32_ties_round_as_in_the_formula():
    x = np.float32([0.5, -0.5, 1.5, -2.5, np.nextafter(np.float32(0.5), np.float32(0))])
    found = ops.LSQ((-8, 7)).forward(x, np.float32(1).reshape(()))
    np.testing.assert_array_equal(found, [1, -1, 2, -3, 0])


def test_wrong_inputs_are_refused():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ShapeError, match="the step has shape"):
        ops.LSQ().forward(x, np.ones(3, np.float32))
    with pytest.raises(ShapeError, match="alpha has shape"):
        ops.CGPACT().forward(x, np.ones(3, np.float32))
    with pytest.raises(DtypeError, match="expected floats"):
        ops.LSQ().forward(x.astype(np.int8), np.ones((), np.float32))


def test_a_bias_is_rounded_to_the_product_of_two_steps():
    x, steps = values(11), (np.array([0.3]), np.array(0.05))
    unit = 0.3 * 0.05
    y = [unit * math.floor(v / unit + 0.5) for v in x]
    operator = ops.BiasQuantizer()
    np.testing.assert_allclose(operator.forward(x, *steps), y, rtol=1e-14, atol=1e-15)
    shifted = ops.BiasQuantizer(power_of_two=True).forward(x, *steps)
    np.testing.assert_array_equal(shifted, np.floor(x * 64 + 0.5) / 64)
    np.testing.assert_array_equal(operator.forward(x, steps[0], np.zeros(1)), x)
    g, found = gradients(operator, x, *steps)
    np.testing.assert_array_equal(found[0], g)
    assert found[1:] == (None, None)


@pytest.mark.parametrize("attributes", [(3, 0), (3, "Default"), (0,)])
def test_a_dorefa_that_is_none_is_refused(attributes):
    with pytest.raises(DataError, match="DoReFa: (mode|range) is"):
        ops.DoReFa(*attributes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.LSQ((3, -3)), r"LSQ: range is \(3, -3\), expected the least integer"),
        (lambda: ops.LSQ((-1, 0)), "LSQ: range is"),
        (lambda: ops.LSQ((1, 7)), "LSQ: range is"),
        (lambda: ops.LSQ((0, 1.5)), "LSQ: range is"),
        (lambda: ops.LSQ(255), "LSQ: range is 255"),
        (lambda: ops.LSQ((0, 7), "yes"), "LSQ: power_of_two is 'yes', expected True or False"),
        (lambda: ops.CGPACT(0), "CGPACT: range is 0, expected a whole number from 1"),
        (lambda: ops.CGPACT(2.5), "CGPACT: range is 2.5"),
        (lambda: ops.CGPACT(True), "CGPACT: range is True"),
        (lambda: ops.FixedQ(0), "FixedQ: nb_bits is 0, expected a whole number from 1 to 32"),
        (lambda: ops.FixedQ(33), "FixedQ: nb_bits is 33"),
        (lambda: ops.FixedQ(8, 0.0), "FixedQ: span is 0.0, expected a number above 0"),
        (lambda: ops.FixedQ(8, math.nan), "FixedQ: span is nan"),
        (lambda: ops.FixedQ(8, "wide"), "FixedQ: span is 'wide'"),
        (lambda: ops.FixedQ(8, 4.0, 1), "FixedQ: is_output_unsigned is 1"),
        (lambda: ops.FixedQ(8, 4.0, False, 1), "FixedQ: half_up is 1"),
        (lambda: ops.DoReFa(2.5), "DoReFa: range is 2.5"),
        (lambda: ops.BiasQuantizer(2), "BiasQuantizer: power_of_two is 2"),
        (lambda: aq.LSQ((1, 2, 3)), "LSQ: range is"),
    ],
)
def test_attributes_that_cannot_be_used_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
