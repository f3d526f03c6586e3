"""Float convolutions by unfolded windows: each way that they take, against loops."""

import functools

import numpy as np
import pytest
from op_formulas import conv, plain_conv

from aidge_quant.ops import unfolding

#: Attributes, shape of the data, shape of the weight.
CASES = {
    "a sample has its own product": (conv(padding=(1, 1, 1, 1)), (5, 2, 12, 13), (3, 2, 3, 3)),
    "samples share a product": (conv(padding=(1, 1, 1, 1)), (5, 2, 5, 6), (3, 2, 3, 3)),
    "groups": (conv(groups=2), (3, 4, 12, 14), (2, 2, 2, 3)),
    "groups that share": (conv(groups=2), (3, 4, 6, 5), (4, 2, 3, 2)),
    "one value": (conv(), (3, 2, 12, 12), (3, 2, 1, 1)),
    "one value, every second": (conv((2, 2)), (3, 2, 24, 25), (3, 2, 1, 1)),
    "windows side by side": (conv((2, 2)), (3, 2, 24, 24), (2, 2, 2, 2)),
    "a signal": (conv((2,), (2,), (1, 3)), (3, 2, 300), (3, 2, 5)),
}


@functools.cache
def inputs_and_output(case):
    """Return data and weight, whole numbers so that all sums are exact, and what they give."""
    operator, *shapes = CASES[case]
    rng = np.random.default_rng(len(case))
    x, weight = (rng.integers(-3, 4, shape).astype(np.float64) for shape in shapes)
    return x, weight, plain_conv(operator)(x, weight)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("held", [1, 3000, 2**22])
@pytest.mark.parametrize("case", CASES)
def test_convolutions_are_those_of_the_formula(case, held, kind, monkeypatch):
    monkeypatch.setattr(unfolding, "COLUMN_VALUES", held)
    monkeypatch.setattr(unfolding, "JOINED_VALUES", held)
    x, weight, expected = inputs_and_output(case)
    found = CASES[case][0].forward(x.astype(kind), weight.astype(kind))
    assert found.dtype == kind
    np.testing.assert_array_equal(found, expected)
