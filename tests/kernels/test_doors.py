"""The doors of the kernels refuse what a kernel must not see."""

import dataclasses

import numpy as np
import pytest

from aidge_quant import kernels
from aidge_quant.errors import DataError, DtypeError, ShapeError
from aidge_quant.integer.requantization import Requantization

STEP = Requantization(np.array([4], np.int8), None, 0, -128, 127)
IMAGE = np.zeros((1, 4, 4, 2), np.int8)
WEIGHT = np.ones((3, 2, 2, 2), np.int8)
BIAS = np.zeros(3, np.int32)
CONV = {
    "stride": (1, 1),
    "dilation": (1, 1),
    "padding": (0, 0, 0, 0),
    "groups": 1,
    "pad_value": 0,
    "dtype": np.int8,
}
POOL = {"window": (2, 2), "stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}


def conv(x=IMAGE, weight=WEIGHT, bias=BIAS, step=STEP, **changes):
    return kernels.conv_s8(x, weight, bias, step, **(CONV | changes))


def changed(**changes):
    return dataclasses.replace(STEP, **changes)


def row(*values):
    return np.array([values], np.int8)


REFUSED = {
    "type": (lambda: conv(IMAGE.astype(np.int16)), DtypeError, "conv_s8: input is int16"),
    "list": (lambda: conv([1, 2]), DtypeError, "input is list"),
    "axes": (lambda: conv(IMAGE[0]), ShapeError, "expected 4 axes"),
    "empty": (lambda: conv(IMAGE[:0]), DataError, "holds no value"),
    "groups": (lambda: conv(groups=3), ShapeError, "with 3 groups"),
    "channels": (lambda: conv(IMAGE[..., :1]), ShapeError, "came 1 channels"),
    "bias-shape": (lambda: conv(bias=BIAS[:2]), ShapeError, "bias has shape (2,)"),
    "bias-type": (lambda: conv(bias=BIAS.astype(np.int64)), DtypeError, "bias is int64"),
    "window": (lambda: conv(dilation=(4, 1)), ShapeError, "fewer than a window"),
    "stride": (lambda: conv(stride=(0, 1)), DataError, "stride 0"),
    "padding": (lambda: conv(padding=(-1, 0, 0, 0)), DataError, "padding at least 0"),
    "output-type": (lambda: conv(dtype=np.uint8), DtypeError, "the output is uint8"),
    "shift-shape": (lambda: conv(step=changed(shift=np.zeros(2, np.int8))), ShapeError, "(3,)"),
    "shift-type": (lambda: conv(step=changed(shift=np.zeros(1))), DtypeError, "expected integers"),
    "shift-range": (
        lambda: conv(step=changed(shift=np.array([31], np.int8))),
        DataError,
        "expected -30 to 30",
    ),
    "multiplier-range": (
        lambda: conv(step=changed(multiplier=np.array([5], np.int32))),
        DataError,
        "multipliers leave the range",
    ),
    "rounding": (lambda: conv(step=changed(rounding="even")), DataError, "rounding is 'even'"),
    "clip": (lambda: conv(step=changed(upper=128)), DataError, "clip bounds"),
    "depthwise-weight": (
        lambda: kernels.depthwise_conv_s8(
            IMAGE,
            np.ones((2, 2, 3), np.int8),
            BIAS,
            STEP,
            **{name: value for name, value in CONV.items() if name != "groups"},
        ),
        ShapeError,
        "expected (2, 2, 2)",
    ),
    "fc-depth": (
        lambda: kernels.fc_s8(
            row(1, 2, 3), np.ones((1, 2), np.int8), BIAS[:1], STEP, dtype=np.int8
        ),
        ShapeError,
        "expected (1, 3)",
    ),
    "add-shapes": (
        lambda: kernels.add_s8(row(1, 2), row(1), STEP, multipliers=(1, 1), bias=0, dtype=np.int8),
        ShapeError,
        "expected (1, 2)",
    ),
    "add-types": (
        lambda: kernels.add_s8(
            row(1), row(1).astype(np.int16), STEP, multipliers=(1, 1), bias=0, dtype=np.int8
        ),
        DtypeError,
        "second input is int16",
    ),
    "add-multiplier": (
        lambda: kernels.add_s8(row(1), row(1), STEP, multipliers=(1, 40000), bias=0, dtype=np.int8),
        DataError,
        "multiplier is 40000",
    ),
    "add-bias": (
        lambda: kernels.add_s8(
            row(1), row(1), STEP, multipliers=(1, 1), bias=1 << 31, dtype=np.int8
        ),
        DataError,
        "bias is 2147483648",
    ),
    "clamp": (lambda: kernels.clamp_s8(row(1), lower=3, upper=2), DataError, "lower is 3"),
    "lookup": (
        lambda: kernels.lookup_s8(row(1, 2), table=np.zeros((3, 256), np.int8)),
        ShapeError,
        "expected (1, 256) or (2, 256)",
    ),
    "pool-outside": (
        lambda: kernels.max_pool_s8(IMAGE, **(POOL | {"padding": (2, 0, 0, 0)})),
        DataError,
        "whole window outside",
    ),
    "slice": (
        lambda: kernels.slice_(row(1, 2), starts=(0,), steps=(1,), shape=(3,)),
        ShapeError,
        "positions 0 to 2 of axis 0, which has 2",
    ),
    "concat-types": (
        lambda: kernels.concat([row(1), row(1).astype(np.int32)], axis=0),
        DtypeError,
        "input 1 is int32",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_argument_that_does_not_fit_is_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error
    assert message in str(raised.value)


def test_arrays_of_any_stride_are_read():
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (2, 8, 8, 4)).astype(np.int8)
    weight = rng.integers(-127, 128, (3, 2, 2, 4)).astype(np.int8)
    strided, reversed_weight = x[:, ::2, ::-1, ::2], weight[:, ::-1, :, ::2]
    copied = strided.copy(), reversed_weight.copy()
    assert np.array_equal(conv(strided, reversed_weight), conv(*copied))


def test_one_tap_more_than_a_vector_counts():
    """Depths on both sides of the vector length; every product is at its largest."""
    for depth in (1, 15, 16, 17, 31, 32, 33, 64, 65):
        for rows, out in ((1, 1), (2, 4), (3, 5), (65, 9)):
            x = np.full((rows, depth), -128, np.int8)
            weight = np.full((out, depth), -127, np.int8)
            bias = np.arange(out, dtype=np.int32)
            step = dataclasses.replace(
                STEP, shift=np.zeros(1, np.int8), lower=-(1 << 31), upper=(1 << 31) - 1
            )
            y = kernels.fc_s8(x, weight, bias, step, dtype=np.int32)
            assert (y == depth * 128 * 127 + bias).all()


def test_the_extremes_of_int16_multiply_exactly():
    x = np.full((1, 2), -32768, np.int16)
    weight = np.array([[-32767, -32767]], np.int16)
    step = dataclasses.replace(
        STEP, shift=np.zeros(1, np.int8), lower=-(1 << 31), upper=(1 << 31) - 1
    )
    y = kernels.fc_s16(x, weight, np.zeros(1, np.int32), step, dtype=np.int32)
    assert y[0, 0] == 2 * 32768 * 32767
