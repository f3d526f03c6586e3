"""The golden model against the oracle, layer by layer, on random integer networks."""

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain import oracle_run
from random_layers import RANDOM
from random_networks import inputs_for, integer_networks, single_layer_networks

from aidge_quant.integer.check import RULES
from aidge_quant.integer.layers import LAYERS
from aidge_quant.integer.run import FUNCTIONS

quick = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def expect_equal(network, q):
    """Compare every tensor; the first layer that differs is named."""
    outputs, tensors = network.run(q, intermediates=True)
    expected = oracle_run(network, q)
    writers = {layer.output: str(layer) for layer in network.layers}
    assert list(tensors) == list(expected)
    for name, array in tensors.items():
        assert array.dtype == network.tensor(name).dtype.numpy
        assert array.shape == expected[name].shape
        assert (array == expected[name]).all(), writers.get(name, "input")
    outputs = outputs if isinstance(outputs, dict) else {network.output_names[0]: outputs}
    assert list(outputs) == list(network.output_names)
    for name, tensor in zip(network.output_names, network.outputs, strict=True):
        assert (outputs[name] == tensors[tensor]).all()
    again = network.run(q)
    again = again if isinstance(again, dict) else {network.output_names[0]: again}
    assert all((again[name] == outputs[name]).all() for name in outputs)


def test_every_layer_is_checked_run_judged_and_drawn():
    assert set(RULES) == set(FUNCTIONS) == set(RANDOM) == set(LAYERS)
    assert set(oracle.LAYERS) == {kind.__name__ for kind in LAYERS}


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_a_layer_equals_the_oracle(kind):
    @settings(quick, max_examples=40)
    @given(single_layer_networks(kind), st.integers(0, 1000))
    def check(network, seed):
        expect_equal(network, inputs_for(network, 3, seed))

    check()


@settings(quick, max_examples=80)
@given(integer_networks(max_layers=6), st.integers(0, 1000))
def test_a_network_equals_the_oracle(network, seed):
    expect_equal(network, inputs_for(network, 3, seed))


@pytest.mark.slow
@settings(quick, max_examples=2000)
@given(integer_networks(max_layers=10), st.integers(0, 1000))
def test_many_networks_equal_the_oracle(network, seed):
    expect_equal(network, inputs_for(network, 3, seed))


@settings(quick, max_examples=30)
@given(integer_networks(max_layers=4))
def test_the_elements_of_a_batch_do_not_meet(network):
    q = inputs_for(network, 4, 7)
    pick = (
        (lambda i: {name: a[i : i + 1] for name, a in q.items()})
        if isinstance(q, dict)
        else (lambda i: q[i : i + 1])
    )
    _, together = network.run(q, intermediates=True)
    for i in range(4):
        _, alone = network.run(pick(i), intermediates=True)
        for name in together:
            assert np.array_equal(together[name][i : i + 1], alone[name])
