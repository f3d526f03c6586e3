"""``backward`` equals the finite differences of ``forward``, in float64."""

import zlib

import numpy as np
import pytest

from aidge_quant import ops
from aidge_quant.errors import UnsupportedError

_D = (2, 4, 6, 5)


def conv(stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), groups=1):
    return ops.Conv(stride, dilation, padding, groups)


CASES = [
    (conv(), _D, (3, 4, 3, 2), (3,)),
    (conv(padding=(1, 1, 1, 1)), _D, (3, 4, 3, 3)),
    (conv((2, 2), (1, 1), (0, 1, 1, 0)), _D, (3, 4, 3, 3), (3,)),
    (conv((2, 1), (2, 1), (1, 0, 2, 1)), _D, (3, 4, 2, 3), (3,)),
    (conv((2, 2)), _D, (5, 4, 1, 1), (5,)),
    (conv((2, 2), (1, 1), (1, 1, 1, 1), 2), _D, (6, 2, 3, 3), (6,)),
    (conv((1, 2), (1, 2), (1, 1, 1, 1), 4), _D, (4, 1, 3, 2), (4,)),
    (conv((1, 1), (1, 1), (1, 1, 0, 0), 4), _D, (8, 1, 2, 2), (8,)),
    (ops.Conv((2,), (1,), (1, 2), 1), (2, 3, 8), (4, 3, 3), (4,)),
    (ops.Conv((1,), (2,), (2, 0), 3), (2, 3, 8), (3, 1, 3), (3,)),
    (ops.ConvTranspose((2, 2), (1, 1), (1, 0, 0, 1), (1, 0), 1), _D, (4, 3, 3, 2), (3,)),
    (ops.ConvTranspose((2, 1), (1, 2), (0, 0, 1, 0), (0, 0), 2), _D, (4, 3, 3, 2), (6,)),
    (ops.FC(), (3, 5), (4, 5), (4,)),
    (ops.FC(), (2, 3, 5), (4, 5)),
    (ops.MatMul(), (2, 3, 4), (4, 5)),
    (ops.MatMul(), (3, 4), (2, 4, 5)),
    (ops.MatMul(), (4,), (2, 4, 5)),
    (ops.MatMul(), (2, 3, 4), (4,)),
    (ops.MatMul(), (4,), (4,)),
    (ops.Gemm(0.5, 2.0, True, True), (4, 3), (5, 4), (5,)),
    (ops.Gemm(), (3, 4), (4, 5), (3, 1)),
    (ops.Gemm(), (3, 4), (4, 5)),
    (ops.BatchNorm(), _D, (4,), (4,), (4,), (4,)),
    (ops.ReLU(), _D),
    (ops.Clip(-0.5, 0.7), _D),
    (ops.Clip(0.0, np.array([0.5, 1.0, 0.1, np.inf])), _D),
    (ops.LeakyReLU(0.1), _D),
    (ops.Sigmoid(), _D),
    (ops.Tanh(), _D),
    (ops.Softmax(-1), _D),
    (ops.Softmax(1, flatten=True), _D),
    (ops.Add(), _D, _D),
    (ops.Add(), _D, (4, 1, 1)),
    (ops.Sub(), (4, 1, 5), _D),
    (ops.Mul(), _D, (2, 4, 1, 1)),
    (ops.Div(), _D, (4, 1, 1)),
    (ops.Concat(1), _D, (2, 1, 6, 5), (2, 2, 6, 5)),
    (ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), _D),
    (ops.MaxPool((3, 3), (2, 1), (1, 2), (1, 1, 1, 1), True), _D),
    (ops.MaxPool((3,), (2,), (1,), (1, 0)), (2, 3, 8)),
    (ops.AveragePool((3, 2), (2, 2), (1, 1), (1, 1, 0, 0)), _D),
    (ops.AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True, True), _D),
    (ops.SumPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), _D),
    (ops.GlobalAveragePool(), _D),
    (ops.GlobalMaxPool(), _D),
    (ops.ReduceMean((2, 3), False), _D),
    (ops.ReduceMean((1,)), _D),
    (ops.Flatten(), _D),
    (ops.Reshape((0, -1, 5)), _D),
    (ops.Transpose((0, 2, 3, 1)), _D),
    (ops.Slice((5, -1), (-100, 100), (2, 1), (-2, 1)), _D),
    (ops.Pad((0, 0, 1, -1), (0, 2, 0, 1), 3.0), _D),
    (ops.Pad((0, 1, 0, 2), (0, 0, 0, 0)), _D),
    (ops.Identity(), _D),
    (ops.Squeeze((1, 3)), (2, 1, 3, 1)),
    (ops.Unsqueeze((1, 3)), (2, 5)),
    (ops.TanhClamp(), _D),
    (ops.ScaleAdjust(), _D),
]


def name(case):
    return f"{case[0].type}-" + "_".join("x".join(map(str, shape)) for shape in case[1:])


def draw(case):
    rng = np.random.default_rng(zlib.crc32(name(case).encode()))
    arrays = [rng.normal(size=shape) for shape in case[1:]]
    if isinstance(case[0], ops.BatchNorm):
        arrays[4] = np.abs(arrays[4]) + 0.5
    if isinstance(case[0], ops.Div):
        arrays[1] = np.abs(arrays[1]) + 0.5
    return arrays, rng


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
    (x, scale, bias, *_), rng = draw((ops.BatchNorm(), _D, (4,), (4,), (4,), (4,)))
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
