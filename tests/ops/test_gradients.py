"""``backward`` equals the finite differences of ``forward``, in float64."""

import numpy as np
import pytest
from gradient_cases import CASES, DATA, conv, draw, name

from aidge_quant import ops
from aidge_quant.errors import UnsupportedError


def differences(function, x, step=1e-6):
    """Return the gradient of a function of one array, by central differences."""
    result = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        result[place] = (function(above) - function(below)) / (2 * step)
    return result


def first(result):
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("case", CASES, ids=name)
def test_backward_is_the_gradient(case):
    arrays, rng = draw(case)
    operator = case[0]
    outputs = operator.forward(*arrays)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    g = np.asarray(rng.normal(size=outputs[0].shape))
    kept = [array.copy() for array in (*arrays, g)]
    found = operator.backward(g, tuple(arrays), outputs)
    assert len(found) == len(arrays)
    for array, copy in zip((*arrays, g), kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    if isinstance(operator, ops.TanhClamp | ops.ScaleAdjust):
        divisor = outputs[1]  # a constant of the gradient
        plain = np.tanh if isinstance(operator, ops.TanhClamp) else np.asarray
        compare(found[0], differences(lambda v: (g * plain(v) / divisor).sum(), arrays[0]))
        return
    for slot, part in enumerate(found):
        if isinstance(operator, ops.BatchNorm) and slot > 2:
            assert part is None
            continue

        def loss(v, slot=slot):
            return (g * first(operator.forward(*arrays[:slot], v, *arrays[slot + 1 :]))).sum()

        compare(part, differences(loss, arrays[slot]))


def compare(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_batch_statistics_are_part_of_the_gradient():
    (x, scale, bias, *_), rng = draw((ops.BatchNorm(), DATA, (4,), (4,), (4,), (4,)))
    operator = ops.BatchNorm()
    y, mean, variance = operator.batch_forward(x, scale, bias)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var(axis=(0, 2, 3)), rtol=1e-12)
    g = rng.normal(size=y.shape)
    found = operator.batch_backward(g, (x, scale, bias), mean, variance)

    def loss(*arrays):
        return (g * operator.batch_forward(*arrays)[0]).sum()

    compare(found[0], differences(lambda v: loss(v, scale, bias), x))
    compare(found[1], differences(lambda v: loss(x, v, bias), scale))
    compare(found[2], differences(lambda v: loss(x, scale, v), bias))
    assert found[3:] == (None, None)


def test_equal_maxima_pass_one_gradient():
    x = np.zeros((1, 1, 4, 4))
    pool = ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0))
    (found,) = pool.backward(np.ones((1, 1, 2, 2)), (x,), (pool.forward(x),))
    assert found.sum() == 4
    assert found[0, 0, ::2, ::2].sum() == 4


def test_gradients_in_portions_are_the_same(monkeypatch):
    (x, weight), rng = draw((conv(), (7, 4, 6, 5), (3, 4, 3, 2)))
    g = rng.normal(size=conv().forward(x, weight).shape)
    whole = conv().backward(g, (x, weight), ())
    monkeypatch.setattr("aidge_quant.ops.unfolding.COLUMN_VALUES", 1500)
    for found, expected in zip(conv().backward(g, (x, weight), ()), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_an_operator_without_backward_says_so():
    x = np.ones(3)
    with pytest.raises(UnsupportedError, match="ArgMax has no backward"):
        ops.ArgMax().backward(x, (x,), (x,))
