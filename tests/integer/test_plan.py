"""The plan that a network runs by: every instruction set, any batch and number of threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import inputs_for, integer_networks, single_layer_networks
from tile_networks import FORMS, WEIGHTS, around_tiles, convolution, sums

from aidge_quant.errors import DataError
from aidge_quant.integer import plan, steps
from aidge_quant.integer.run import plan_of
from aidge_quant.integer.steps import STEPS
from aidge_quant.kernels.instruction_sets import ISA_VARIABLE, available_isas

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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
@pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.name)
def test_any_size_gives_the_same_bits(form, depthwise, kind, isa):
    for network, seed in around_tiles(form, depthwise, kind):
        expect_as_layer_by_layer(network, inputs_for(network, 4, seed), isa)


def test_sums_of_any_size_give_the_same_bits(isa):
    for network, seed in sums():
        expect_as_layer_by_layer(network, inputs_for(network, 3, seed), isa)


def test_images_beyond_the_offsets_of_the_engine_run_without_it(monkeypatch):
    network = small()
    q = inputs_for(network, 2, 0)
    expected = network.run(q)
    monkeypatch.setattr(steps, "MOST_VALUES", 100)
    other = small()
    np.testing.assert_array_equal(other.run(q), expected)
    assert len(plan_of(other)._engine) == 0


# -- Batches and threads


def small():
    return convolution(np.random.default_rng(1), (16, 24, 3, 1, "shift", False))


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
@pytest.mark.parametrize("batch", [1, 2, 16, 17, 45])
def test_threads_share_the_images_of_any_batch(threads, batch, monkeypatch):
    monkeypatch.setattr(plan, "_LEAST_PRODUCTS", 1)
    network = small()
    expect_as_layer_by_layer(network, inputs_for(network, batch, 3), ISAS[0], threads)


def test_threads_share_every_layer_of_few_images(isa, monkeypatch):
    monkeypatch.setattr(plan, "_LEAST_PRODUCTS", 1)
    for depthwise, form in ((False, "shift"), (True, "shift"), (True, "residual")):
        for kind in WEIGHTS:
            for index, (network, seed) in enumerate(around_tiles(form, depthwise, kind)):
                if index % 3 == 0:
                    q = inputs_for(network, 1, seed)
                    expect_as_layer_by_layer(network, q, isa, threads=2 + index % 2)


def test_threads_share_every_layer_of_networks(isa, monkeypatch):
    monkeypatch.setattr(plan, "_LEAST_PRODUCTS", 1)

    @quick
    @given(integer_networks(max_layers=8), st.integers(0, 1000), st.integers(1, 3))
    def check(network, seed, batch):
        expect_as_layer_by_layer(network, inputs_for(network, batch, seed), isa, threads=4)

    check()


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
