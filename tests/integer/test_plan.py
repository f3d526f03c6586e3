"""The plan that a network runs by: every instruction set, any batch and number of threads."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import inputs_for, integer_networks, single_layer_networks

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError
from aidge_quant.integer import layers, plan
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.plan import STEPS
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.run import plan_of
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.kernels.engine import ISA_VARIABLE, available_isas

ISAS = available_isas()
quick = settings(
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, request.param)
    return request.param


def as_mapping(network, outputs):
    return outputs if isinstance(outputs, dict) else {network.output_names[0]: outputs}


def expect_as_layer_by_layer(network, q, isa, threads=1):
    """Compare with the layers one by one, which test_golden.py compares with the oracle."""
    found = as_mapping(network, network.run(q, threads=threads))
    expected = as_mapping(network, network.run(q, intermediates=True)[0])
    assert plan_of(network).isa == isa
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
def test_a_layer_gives_the_same_bits(kind, isa):
    @quick
    @given(single_layer_networks(kind), st.integers(0, 1000))
    def check(network, seed):
        expect_as_layer_by_layer(network, inputs_for(network, 3, seed), isa)

    check()


def test_a_network_gives_the_same_bits(isa):
    @quick
    @given(integer_networks(max_layers=8), st.integers(0, 1000), st.integers(1, 20))
    def check(network, seed, batch):
        expect_as_layer_by_layer(network, inputs_for(network, batch, seed), isa)

    check()


# -- Sizes on both sides of every tile and block


def image(name, shape, kind=dtype.int8, zero_point=0):
    height, width, channels = shape
    onnx_shape = (channels, height, width)
    return IntegerTensor(name, shape, kind, 0.5, zero_point, onnx_shape, (1, 2, 0))


def requantization(rng, channels, form):
    if form == "multiplier":
        multiplier = rng.integers(1 << 30, (1 << 31) - 1, channels, dtype=np.int32)
        shift = rng.integers(38, 42, channels).astype(np.int8)
        return Requantization(shift, multiplier, 3, -128, 127)
    shift = rng.integers(6, 12, channels).astype(np.int8)
    upper = 127 if form == "shift" else rng.integers(0, 128, channels, dtype=np.int32)
    return Requantization(shift, None, 0, -100, upper)


def convolution(rng, case):
    """Return a network of one layer with weights, its data and weights often at their extremes."""
    channels, out, kernel, stride, form, depthwise = case
    shape = (rng.integers(kernel, 14), rng.integers(kernel, 14), channels)
    shape = tuple(int(size) for size in shape)
    before, after = (int(p) for p in rng.integers(0, kernel, 2))
    size = [(s + before + after - kernel) // stride + 1 for s in shape[:2]]
    pad_value = int(rng.integers(-128, 128))
    source = image("x", shape, zero_point=pad_value)
    target = image("y", (*size, out))
    taps = (kernel, kernel, channels) if depthwise else (out, kernel, kernel, channels)
    weight = rng.choice([-127, 127, 1, 0, 64, -5], taps).astype(np.int8)
    bias = rng.integers(-(1 << 16), 1 << 16, out, dtype=np.int32)
    step, padding = requantization(rng, out, form), (before, before, after, after)
    begin = (weight, dtype.int8, bias, step, (stride, stride), (1, 1), padding)
    tensors, inputs, factor = [source], ("x",), None
    if form == "residual":
        tensors.append(image("r", (*size, out), zero_point=2))
        inputs, factor = ("x", "r"), rng.choice([-300, -1, 7, 300], out).astype(np.int32)
    if depthwise:
        layer = layers.DepthwiseConvolution(
            "l", inputs, "y", (), *begin, pad_value, residual=factor
        )
    else:
        layer = layers.Convolution("l", inputs, "y", (), *begin, 1, pad_value, residual=factor)
    return IntegerNetwork("one", (*tensors, target), (layer,), inputs, ("y",), inputs, ("y",))


FORMS = ("shift", "capped", "multiplier", "residual")
SIZES = (1, 3, 4, 15, 16, 17, 32, 40, 64, 65, 96, 130)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
def test_any_size_gives_the_same_bits(form, depthwise, isa):
    rng = np.random.default_rng(5)
    kernels = itertools.cycle([(1, 1), (3, 1), (3, 2), (5, 1), (2, 2), (4, 3)])
    for index, channels in enumerate(SIZES):
        out = channels if depthwise else SIZES[-1 - index]
        for _ in range(3):
            network = convolution(rng, (channels, out, *next(kernels), form, depthwise))
            expect_as_layer_by_layer(network, inputs_for(network, 4, index), isa)


# -- Batches and threads


def small():
    return convolution(np.random.default_rng(1), (16, 24, 3, 1, "shift", False))


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
@pytest.mark.parametrize("batch", [1, 2, 16, 17, 45])
def test_threads_share_the_images_of_any_batch(threads, batch, monkeypatch):
    monkeypatch.setattr(plan, "_LEAST_PRODUCTS", 1)
    network = small()
    expect_as_layer_by_layer(network, inputs_for(network, batch, 3), ISAS[0], threads)


def test_several_threads_may_run_one_network():
    network = small()
    batches = [inputs_for(network, count, count) for count in range(1, 20)]
    expected = [network.run(q, intermediates=True)[0] for q in batches]
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(network.run, batches * 5))
    for result, right in zip(found, expected * 5, strict=True):
        np.testing.assert_array_equal(result, right)


def test_workspaces_are_used_again():
    network = small()
    q = inputs_for(network, 40, 0)
    first = network.run(q)
    kept = list(plan_of(network)._free)
    assert len(kept) == 1
    np.testing.assert_array_equal(network.run(q), first)
    again = list(plan_of(network)._free)
    assert all(a is b for a, b in zip(kept[0], again[0], strict=True))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_a_number_of_threads_that_cannot_be_is_refused(threads):
    network = small()
    with pytest.raises(DataError, match="threads is"):
        network.run(inputs_for(network, 1, 0), threads=threads)


def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, "mmx")
    network = small()
    with pytest.raises(DataError, match=r"AIDGE_QUANT_ISA is 'mmx', expected one of .*portable"):
        network.run(inputs_for(network, 1, 0))
