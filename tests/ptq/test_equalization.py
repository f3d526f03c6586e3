"""Cross-layer equalization keeps the function and evens out the weights."""

import numpy as np
import pytest
from float_networks import NETWORKS, chain, depthwise, residual, samples
from ptq_steps import close

from aidge_quant.executor import run
from aidge_quant.ptq import (
    cross_layer_equalization,
    prepare_network,
)
from aidge_quant.ptq.equalization import equalization_pairs


@pytest.mark.parametrize("name", NETWORKS)
def test_equalization_keeps_the_output(name):
    graph = NETWORKS[name]()
    prepare_network(graph)
    x = samples(graph)
    before = run(graph, x)
    cross_layer_equalization(graph)
    assert close(run(graph, x), before)


def test_equalization_evens_out_a_depthwise_chain():
    graph = depthwise(imbalance=50)
    cross_layer_equalization(graph)
    first, second = (graph.node(n).operator.value for n in ("point1_w", "depth_w"))
    r1 = np.abs(first).reshape(6, -1).max(axis=1)
    r2 = np.abs(second).reshape(6, -1).max(axis=1)
    assert np.abs(r1 - r2).max() < 0.01


def test_equalization_pairs_end_at_an_add_and_at_a_fork():
    names = [(a.name, b.name) for a, b in equalization_pairs(residual())]
    assert names == [("conv1", "conv2"), ("conv3", "conv4")]


def test_equalization_goes_through_flatten():
    names = [(a.name, b.name) for a, b in equalization_pairs(chain())]
    assert names == [("conv1", "conv2"), ("conv2", "fc")]


def test_dead_channels_do_not_stop_the_equalization():
    graph = chain()
    graph.node("conv1_w").operator.value[1] = 0
    x = samples(graph)
    before = run(graph, x)
    cross_layer_equalization(graph)
    assert np.isfinite(graph.node("conv2_w").operator.value).all()
    assert close(run(graph, x), before)


def test_equalization_wants_a_positive_delta():
    with pytest.raises(ValueError, match="target_delta"):
        cross_layer_equalization(chain(), 0)
