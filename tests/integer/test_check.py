"""The checker refuses every kind of broken network, and its proof is sharp."""

import dataclasses

import numpy as np
import pytest
from tiny_network import image, network, step, with_layer, with_tensor

from aidge_quant.dtypes import dtype
from aidge_quant.errors import (
    DataError,
    DtypeError,
    GraphError,
    OverflowProofError,
    ShapeError,
)
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor

TINY = network()
CONV, ADD, POOL, FC = TINY.layers


def reordered(*order):
    return lambda: network(layers=tuple(TINY.layers[i] for i in order))


def channels(*shifts):
    return Requantization(np.array(shifts, np.int8), None, 0, -128, 127)


def changed_step(**changes):
    return dataclasses.replace(step(), **changes)


BROKEN = {
    # names and order
    "layers-out-of-order": (reordered(1, 0, 2, 3), GraphError, "add (Add): reads 'c'"),
    "layer-twice": (reordered(0, 0, 1, 2), GraphError, "two layers are named 'conv'"),
    "output-written-twice": (
        lambda: with_layer("add", output="c"),
        GraphError,
        "writes 'c', which is written before",
    ),
    "unknown-tensor": (lambda: with_layer("fc", output="z"), GraphError, "not among the tensors"),
    "tensor-order": (
        lambda: network(tensors=TINY.tensors[::-1]),
        GraphError,
        "expected inputs first",
    ),
    "unused-tensor": (
        lambda: network(tensors=(*TINY.tensors, image("z"))),
        GraphError,
        "expected inputs first",
    ),
    "unknown-output": (lambda: network(outputs=("z",)), GraphError, "output 'z'"),
    "names-missing": (lambda: network(output_names=()), GraphError, "expected one name each"),
    "no-outputs": (
        lambda: network(outputs=(), output_names=()),
        GraphError,
        "at least one",
    ),
    "input-count": (lambda: with_layer("add", inputs=("c",)), GraphError, "reads 1 tensors"),
    # tensors
    "scale": (lambda: with_tensor("a", scale=0.0), DataError, "finite and above 0"),
    "scale-nan": (lambda: with_tensor("a", scale=float("nan")), DataError, "above 0"),
    "input-scale": (
        lambda: with_tensor("x", scale=np.ones(3)),
        ShapeError,
        "a scale a channel",
    ),
    "zero-point": (lambda: with_tensor("a", zero_point=128), DataError, "zero point 128"),
    "zero-point-int32": (lambda: with_tensor("y", zero_point=1), DataError, "zero point 1"),
    "tensor-type": (lambda: with_tensor("a", dtype=dtype.uint8), DtypeError, "uint8"),
    "layout": (lambda: with_tensor("a", layout=(0, 0, 1)), ShapeError, "each axis"),
    "onnx-shape": (lambda: with_tensor("a", onnx_shape=(3, 4, 4)), ShapeError, "as many"),
    "output-shape": (
        lambda: with_tensor("c", shape=(5, 4, 3), onnx_shape=(3, 5, 4)),
        ShapeError,
        "output c has shape (5, 4, 3), expected (4, 5, 3)",
    ),
    # layers
    "weight-shape": (
        lambda: with_layer("conv", weight=CONV.weight[:, :, :, :2].copy()),
        ShapeError,
        "weight has shape (3, 3, 3, 2)",
    ),
    "weight-type": (
        lambda: with_layer("conv", weight=CONV.weight.astype(np.int16)),
        DtypeError,
        "weight is int16, expected int8",
    ),
    "weight-range": (
        lambda: with_layer("fc", weight=np.full((2, 3), -128, np.int8)),
        DataError,
        "weight holds -128",
    ),
    "weight-range-int4": (
        lambda: with_layer("fc", weight=np.full((2, 3), 8, np.int8), weight_dtype=dtype.int4),
        DataError,
        "expected -7 to 7",
    ),
    "bias-shape": (
        lambda: with_layer("fc", bias=np.zeros(3, np.int32)),
        ShapeError,
        "bias has shape (3,), expected (2,)",
    ),
    "bias-type": (lambda: with_layer("fc", bias=np.zeros(2)), DtypeError, "float64"),
    "shift-shape": (
        lambda: with_layer("conv", requantization=channels(6, 6)),
        ShapeError,
        "expected (1,) or (3,)",
    ),
    "shift-per-channel-of-add": (
        lambda: with_layer("add", requantization=channels(1, 1, 1)),
        ShapeError,
        "shift has shape (3,)",
    ),
    "shift-range": (
        lambda: with_layer("add", requantization=step(31)),
        DataError,
        "expected -30 to 30",
    ),
    "multiplier-range": (
        lambda: with_layer("add", requantization=changed_step(multiplier=np.array([1], np.int32))),
        DataError,
        "multiplier holds 1",
    ),
    "rounding": (
        lambda: with_layer("add", requantization=changed_step(rounding="up")),
        GraphError,
        "rounding is 'up'",
    ),
    "clip-order": (
        lambda: with_layer("add", requantization=step(1, 5, 4)),
        DataError,
        "lower is 5",
    ),
    "clip-range": (
        lambda: with_layer("add", requantization=step(1, -128, 128)),
        DataError,
        "upper is 128",
    ),
    "multiplier-zero": (
        lambda: with_layer("add", multipliers=(1, 0)),
        DataError,
        "two that are not 0",
    ),
    "pad-value": (
        lambda: with_layer("conv", pad_value=1),
        GraphError,
        "pad_value is 1, expected 0, the zero point of x",
    ),
    "stride": (lambda: with_layer("conv", stride=(0, 1)), GraphError, "stride is (0, 1)"),
    "padding": (lambda: with_layer("conv", padding=(-1, 1, 1, 1)), GraphError, "padding"),
    "groups": (lambda: with_layer("conv", groups=2), ShapeError, "2 groups do not divide"),
    "window": (
        lambda: with_layer("pool", window=(5, 5)),
        ShapeError,
        "fewer than a window of 5",
    ),
    "window-outside": (
        lambda: with_layer("pool", window=(1, 1), padding=(1, 0, 0, 0)),
        ShapeError,
        "whole window outside",
    ),
    "operand-types": (
        lambda: with_tensor("c", dtype=dtype.int16),
        DtypeError,
        "expected int16",
    ),
    "input-type": (lambda: with_tensor("x", dtype=dtype.int32), DtypeError, "int8 or int16"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_network_is_refused(case):
    make, error, message = BROKEN[case]
    with pytest.raises(error) as raised:
        make()
    assert type(raised.value) is error
    assert message in str(raised.value)


def test_a_class_that_is_no_layer_of_the_contract_is_refused():
    foreign = Layer("odd", ("x",), "c", ())
    with pytest.raises(GraphError, match="odd .Layer.: not a layer of the integer contract"):
        network(layers=(foreign, *TINY.layers[1:]))


# -- the proof -----------------------------------------------------------------------------


def of_one(layer: Layer, kind=dtype.int8, zero=0, shape=(4,), output=dtype.int32, out_shape=(1,)):
    """Return a network of one layer over inputs of one type."""
    size = tuple(range(len(shape)))
    tensors = [
        IntegerTensor(name, shape, kind, 1.0, zero, shape, size)
        for name in dict.fromkeys(layer.inputs)
    ]
    axes = tuple(range(len(out_shape)))
    tensors.append(IntegerTensor("y", out_shape, output, 1.0, 0, out_shape, axes))
    names = tuple(tensor.name for tensor in tensors[:-1])
    return IntegerNetwork("one", tuple(tensors), (layer,), names, ("y",), names, ("y",))


WIDE = step(0, dtype.int32.min, dtype.int32.max)
LIMIT = 1 << 31


def fc(weight, bias, requantization=WIDE):
    constants = (np.array([weight], np.int16), dtype.int16, np.array([bias], np.int32))
    return layers.FullyConnected("fc", ("x",), "y", (), *constants, requantization)


def test_the_proof_accepts_the_last_bias_that_fits_and_refuses_the_next():
    weight = [32767, -32767, 1, 0]
    most = LIMIT - 1 - 128 * 65535
    q = np.array([[127, -128, 127, 5]], np.int8)
    network = of_one(fc(weight, most))
    assert network.run(q)[0, 0] == most + 127 * 32767 + 128 * 32767 + 127
    assert of_one(fc(weight, -most)).run(-q)[0, 0] < 0
    with pytest.raises(OverflowProofError) as raised:
        of_one(fc(weight, most + 1))
    assert str(raised.value) == (
        "fc (FullyConnected): the accumulator of the output can reach 2147483648, expected less "
        "than 2147483648; use fewer bits for its input or its weights, or split the layer"
    )


def test_the_proof_names_the_channel():
    weight = np.array([[1, 1], [32767, 32767]], np.int16)
    bias = np.array([0, LIMIT - 2], np.int32)
    layer = layers.FullyConnected("fc", ("x",), "y", (), weight, dtype.int16, bias, WIDE)
    with pytest.raises(OverflowProofError, match="channel 1"):
        of_one(layer, shape=(2,), out_shape=(2,))


def test_the_proof_covers_left_shifts():
    weight = [127, 0, 0, 0]  # 127 * 128 << 17 is just below 2**31
    for shift, fits in ((-17, True), (-18, False)):
        layer = fc(weight, 0, dataclasses.replace(WIDE, shift=np.array([shift], np.int8)))
        if fits:
            q = np.array([[-128, 0, 0, 0]], np.int8)
            assert of_one(layer).run(q)[0, 0] == -128 * 127 * 2**17
        else:
            with pytest.raises(OverflowProofError, match="the shifted accumulator"):
                of_one(layer)


def test_the_proof_covers_the_offset():
    layer = fc([1, 0, 0, 0], 0, dataclasses.replace(WIDE, offset=LIMIT - 128))
    with pytest.raises(OverflowProofError, match="smaller offset"):
        of_one(layer)


ELEMENTWISE = {
    "add": layers.Add("l", ("x", "z"), "y", (), (32767, 32767), LIMIT - 1, WIDE),
    "multiply": layers.Multiply("l", ("x", "z"), "y", (), 2, (0, 0), 0, WIDE),
    "rescale": layers.Rescale("l", ("x",), "y", (), 32767, LIMIT - 1, WIDE),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_proof_covers_layers_without_weights(name):
    layer = ELEMENTWISE[name]
    with pytest.raises(OverflowProofError, match="the accumulator of the output can reach"):
        of_one(layer, dtype.int16, out_shape=(4,))


@pytest.mark.parametrize("divides", [True, False])
def test_the_proof_covers_average_pools(divides):
    window = ((300, 300), (1, 1), (0, 0, 0, 0), False, 0, 0, -32768, 32767)
    layer = layers.AveragePool("l", ("x",), "y", (), *window, None if divides else WIDE)
    output = dtype.int16 if divides else dtype.int32
    with pytest.raises(OverflowProofError):
        of_one(layer, dtype.int16, 0, (300, 300, 1), output, (1, 1, 1))
