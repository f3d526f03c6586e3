"""Layers with weights that add a residual, or have an upper bound for every channel."""

import dataclasses

import numpy as np
import pytest
from plain import oracle_run
from tiny_network import image, network, step, with_layer

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, GraphError, OverflowProofError, ShapeError
from aidge_quant.integer.requantization import Requantization
from aidge_quant.memory import plan_memory

CONV = network().layers[0]
FACTORS = np.array([64, 128, 256], np.int32)


def fused(factors=FACTORS, inputs=("x", "x"), **changes):
    """Return the tiny network with the Add in the accumulator of its convolution."""
    tiny = network()
    conv = dataclasses.replace(CONV, inputs=inputs, residual=factors, **changes)
    pool = dataclasses.replace(tiny.layers[2], inputs=("c",))
    tensors = tuple(tensor for tensor in tiny.tensors if tensor.name != "a")
    return dataclasses.replace(tiny, tensors=tensors, layers=(conv, pool, tiny.layers[3]))


def capped(upper):
    shifts = CONV.requantization.shift
    return with_layer("conv", requantization=Requantization(shifts, None, 0, -128, upper))


def samples(count=6):
    return np.random.default_rng(7).integers(-128, 128, (count, 3, 4, 5)).astype(np.int8)


@pytest.mark.parametrize("factors", [FACTORS, np.array([-77], np.int32)], ids=["channels", "one"])
def test_the_residual_is_added_before_the_shift(factors):
    wide = fused(factors)
    _, tensors = wide.run(samples(), intermediates=True)
    plain = dataclasses.replace(
        CONV, requantization=step(0, dtype.int32.min, dtype.int32.max), bias=CONV.bias
    )
    conv = network().tensors[1]
    accumulator = dataclasses.replace(conv, dtype=dtype.int32)
    alone = dataclasses.replace(
        wide, tensors=(image("x"), accumulator), layers=(plain,), outputs=("c",)
    )
    sums = alone.run(samples()) + factors.reshape(-1, 1, 1) * samples().astype(np.int32)
    shifts = CONV.requantization.shift.astype(np.int32).reshape(3, 1, 1)
    assert np.array_equal(tensors["c"], np.clip(sums >> shifts, -128, 127))


@pytest.mark.parametrize(
    "made",
    [fused, lambda: capped(np.array([-3, 5, 60], np.int32))],
    ids=["residual", "caps"],
)
def test_golden_model_oracle_file_and_c_agree(made, tmp_path):
    net = made()
    q = samples()
    _, tensors = net.run(q, intermediates=True)
    for name, values in oracle_run(net, q).items():
        assert np.array_equal(values, tensors[name]), name
    net.save(tmp_path / "net.aqn")
    assert aq.load_network(tmp_path / "net.aqn").digest == net.digest
    aq.export_c(net, tmp_path / "c", name="net", test_inputs=q[:2])
    check = aq.verify_c(tmp_path / "c", net, q)
    assert check.identical == check.total


def test_caps_hold_each_channel():
    upper = np.array([-3, 5, 60], np.int32)
    _, tensors = capped(upper).run(samples(), intermediates=True)
    assert np.array_equal(tensors["c"].max(axis=(0, 2, 3)), upper)


def test_the_output_may_take_the_place_of_the_residual_but_not_of_the_input():
    assert ("a", "x") not in overlapping(fused())
    tiny = network()
    first = dataclasses.replace(tiny.layers[0], name="first", output="c")
    second = dataclasses.replace(
        CONV, name="second", inputs=("c", "x"), output="a", residual=FACTORS
    )
    pool = tiny.layers[2]
    made = dataclasses.replace(tiny, layers=(first, second, pool, tiny.layers[3]))
    assert overlapping(made)["a", "x"] == 0
    assert ("a", "c") not in overlapping(made)


def overlapping(network):
    """Return which tensors may overlap, by what distance."""
    plan = plan_memory(network, input_in_arena=True)
    names = [next(iter(value.tensors)) for value in plan.values]
    return {(names[a], names[b]): d for (a, b), d in plan.overlaps.distances.items()}


FAULTS = {
    "no second input": (lambda: fused(inputs=("x",)), GraphError, "reads 1 tensors with residual"),
    "second input": (
        lambda: with_layer("conv", inputs=("x", "x")),
        GraphError,
        "reads 2 tensors without residual",
    ),
    "zero": (lambda: fused(np.zeros(1, np.int32)), DataError, "residual holds 0"),
    "type": (lambda: fused(FACTORS.astype(np.int64)), DtypeError, "residual is int64"),
    "shape": (lambda: fused(FACTORS[:2].copy()), ShapeError, "residual has shape"),
    "overflow": (
        lambda: fused(np.array([2**24], np.int32)),
        OverflowProofError,
        "conv .Convolution.: the accumulator of channel 0",
    ),
    "cap above the type": (
        lambda: capped(np.array([0, 0, 128], np.int32)),
        DataError,
        "upper holds 0 to 128, expected -128 to 127",
    ),
    "caps of an Add": (
        lambda: with_layer(
            "add", requantization=dataclasses.replace(step(1), upper=np.zeros(3, np.int32))
        ),
        DataError,
        "upper is an array, expected one bound",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_refused(name):
    make, error, text = FAULTS[name]
    with pytest.raises(error, match=text):
        make()
