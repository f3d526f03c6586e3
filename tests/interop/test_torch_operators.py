"""Operators in torch equal ours, values and gradients, in float64."""

import numpy as np
import pytest
from gradient_cases import CASES, DATA, draw, name

from aidge_quant import ops
from aidge_quant.errors import DtypeError, ShapeError, UnsupportedError
from aidge_quant.ops import DoReFaMode

torch = pytest.importorskip("torch", reason="torch is not installed")
table = pytest.importorskip("aidge_quant.interop.torch.operators")

#: Sums in another order.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def both(operator, arrays, kind=torch.float64):
    """Return outputs and gradients of ours and of torch's, all as tuples of arrays."""
    outputs = operator.forward(*arrays)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    g = np.random.default_rng(5).normal(size=outputs[0].shape).astype(outputs[0].dtype)
    wanted = operator.backward(g, tuple(arrays), outputs)
    tensors = [torch.tensor(array, dtype=kind, requires_grad=True) for array in arrays]
    function = table.function_of(operator)
    found = function(operator, *tensors)
    found = found if isinstance(found, tuple) else (found,)
    found[0].backward(torch.tensor(g, dtype=kind))
    values = tuple(tensor.detach().numpy() for tensor in found)
    gradients = tuple(None if t.grad is None else t.grad.numpy() for t in tensors)
    return (outputs, wanted), (values, gradients)


def compare(ours, theirs, **tolerance):
    for expected, found in zip(ours[0], theirs[0], strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, **tolerance)
    for expected, found in zip(ours[1], theirs[1], strict=True):
        if expected is not None:
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, **tolerance)


MORE = [
    (ops.Clip(-0.5, np.inf), DATA),
    (ops.ReduceMean((2, 3)), DATA),
    (ops.AveragePool((2, 2), (1, 2), (2, 1), (1, 0, 1, 1), True), DATA),
    (ops.AveragePool((2,), (3,), (1,), (1, 1), True), (2, 3, 8)),
    (ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 1, 1), True), (1, 2, 5, 3)),
    (ops.ConvTranspose((2,), (1,), (1, 1), (1,)), (2, 3, 5), (3, 2, 4), (2,)),
    (ops.TanhClamp(), (2, 3)),
]


@pytest.mark.parametrize("case", CASES + MORE, ids=name)
def test_values_and_gradients_are_ours(case):
    arrays, _ = draw(case)
    compare(*both(case[0], arrays), **TOLERANCE)


def quantizers():
    """Yield operators with their further inputs."""
    for step in (0.25, 1.0, 0.37, 1.5):
        for bounds in ((-8, 7), (0, 15), (-2, 1), (0, 255)):
            yield ops.LSQ(bounds), (step,)
            yield ops.LSQ(bounds, power_of_two=True), (step,)
    yield ops.LSQ((-8, 7)), (-0.5,)
    yield ops.LSQ((-8, 7), power_of_two=True), (-0.5,)
    for alpha in (1.0, 2.5, 0.3, -1.25, 0.0):
        yield ops.CGPACT(15), (alpha,)
    for unsigned in (False, True):
        yield ops.FixedQ(4, 4.0, unsigned), ()
        yield ops.FixedQ(8, 0.7, unsigned), ()
        yield ops.FixedQ(4, 4.0, unsigned, half_up=True), ()
    for mode in DoReFaMode:
        yield ops.DoReFa(15, mode), ()
        yield ops.DoReFa(1, mode), ()
    yield ops.BiasQuantizer(), (0.3, 0.05)
    yield ops.BiasQuantizer(power_of_two=True), (0.3, 0.05)


def values():
    rng = np.random.default_rng(3)
    special = np.arange(-40, 41) / 8
    return np.concatenate([rng.normal(0, 2, 10_000), special, [np.nextafter(0.5, 0)]])


@pytest.mark.parametrize(("operator", "more"), list(quantizers()), ids=str)
def test_quantizers_round_as_ours_do(operator, more):
    """Equal values and gradients of data, to the bit; sums but for their order."""
    arrays = [values(), *(np.array([value]) for value in more)]
    ours, theirs = both(operator, arrays)
    np.testing.assert_array_equal(theirs[0][0], ours[0][0])
    np.testing.assert_array_equal(theirs[1][0], ours[1][0])
    compare(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(("operator", "more"), list(quantizers()), ids=str)
def test_quantizers_round_float32_as_ours_do(operator, more):
    arrays = [values().astype(np.float32), *(np.float32([value]) for value in more)]
    ours, theirs = both(operator, arrays, torch.float32)
    np.testing.assert_array_equal(theirs[0][0], ours[0][0])
    np.testing.assert_array_equal(theirs[1][0], ours[1][0])
    compare(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("operator", [ops.TanhClamp(), ops.ScaleAdjust()])
@pytest.mark.parametrize("shape", [(3, 2), (1,)])
def test_constant_weights_do_not_divide_by_zero(operator, shape):
    compare(*both(operator, [np.zeros(shape)]), rtol=0)


def test_equal_maxima_pass_one_gradient():
    pool = ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0))
    for operator in (pool, ops.GlobalMaxPool()):
        compare(*both(operator, [np.zeros((1, 2, 4, 4))]), rtol=0)


def test_powers_of_two_are_exact():
    values = np.concatenate([2.0 ** np.arange(-60, 60), [3e-5, 0.7071, 0.7072, 1.4142, 1.4143]])
    from aidge_quant.interop.torch.quantizers import nearest_power_of_two
    from aidge_quant.ops.learned_quantization import nearest_power_of_two as ours

    found = nearest_power_of_two(torch.tensor(values)).numpy()
    np.testing.assert_array_equal(found, [ours(value) for value in values])


def test_all_operators_with_a_gradient_of_ours_are_there():
    base = ops.Operator.backward
    trained = {name for name, cls in ops.registered().items() if cls.backward is not base}
    assert {*trained, *table.ENDS} == set(table.supported())


def test_what_does_not_run_in_torch_is_refused():
    with pytest.raises(UnsupportedError, match="ArgMax does not run in torch, expected one of Add"):
        table.function_of(ops.ArgMax())


def test_wrong_inputs_are_refused():
    x, steps = torch.ones(2, 3), torch.ones(3)
    lsq, cgpact = table.function_of(ops.LSQ()), table.function_of(ops.CGPACT())
    with pytest.raises(ShapeError, match="the step has shape"):
        lsq(ops.LSQ(), x, steps)
    with pytest.raises(ShapeError, match="alpha has shape"):
        cgpact(ops.CGPACT(), x, steps)
    with pytest.raises(DtypeError, match="expected floats"):
        lsq(ops.LSQ(), x.to(torch.int8), torch.ones(()))
