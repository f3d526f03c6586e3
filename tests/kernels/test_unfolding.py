"""Windows as columns, and back."""

import numpy as np
import pytest

from aidge_quant.errors import DtypeError, ShapeError
from aidge_quant.kernels import fold, unfold

GEOMETRIES = [
    ((1, 1), (1, 1), (1, 1), (7, 9)),
    ((3, 2), (1, 1), (1, 1), (5, 8)),
    ((3, 3), (2, 3), (1, 2), (3, 2)),
    ((2, 5), (3, 1), (4, 1), (1, 5)),
    ((1, 4), (1, 2), (1, 2), (7, 2)),
]


def named(geometry):
    return dict(zip(("window", "stride", "dilation", "outputs"), geometry, strict=True))


def places(window, stride, dilation, outputs, channels):
    """Yield row, column, and the place (channel, y, x) that they stand for."""
    taps = list(np.ndindex(channels, *window))
    for row, (c, ky, kx) in enumerate(taps):
        for column, (oy, ox) in enumerate(np.ndindex(*outputs)):
            yield (
                row,
                column,
                (
                    c,
                    oy * stride[0] + ky * dilation[0],
                    ox * stride[1] + kx * dilation[1],
                ),
            )


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_columns_hold_what_windows_see(geometry, kind):
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(kind)
    found = unfold(x, **named(geometry))
    back = np.zeros_like(x)
    expected = np.zeros_like(x)
    for row, column, place in places(*geometry, 3):
        np.testing.assert_array_equal(found[:, row, column], x[(slice(None), *place)])
        expected[(slice(None), *place)] += found[:, row, column]
    fold(found, back, **named(geometry))
    np.testing.assert_allclose(back, expected, rtol=1e-6)
    assert (found.dtype, back.dtype) == (kind, kind)


def test_wrong_arguments_are_refused():
    x = np.zeros((1, 2, 4, 4), np.float32)
    good = named(((2, 2), (1, 1), (1, 1), (3, 3)))
    with pytest.raises(ShapeError, match="reach beyond 4 positions"):
        unfold(x, **{**good, "outputs": (3, 4)})
    with pytest.raises(ShapeError, match="at least 1"):
        unfold(x, **{**good, "stride": (0, 1)})
    with pytest.raises(DtypeError, match="expected float32 or float64"):
        unfold(x.astype(np.int8), **good)
    columns = unfold(x, **good)
    with pytest.raises(ShapeError, match="columns has shape"):
        fold(columns[:, :4], x, **good)
    with pytest.raises(ShapeError, match="not contiguous"):
        fold(columns, np.zeros((1, 2, 4, 8), np.float32)[..., ::2], **good)
    with pytest.raises(DtypeError, match="expected float32"):
        fold(columns, x.astype(np.float64), **good)
