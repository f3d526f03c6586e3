"""What equalization notes about the channels that it rescales."""

import numpy as np
import pytest
from float_networks import chain, depthwise, residual, samples

from aidge_quant.executor import evaluate
from aidge_quant.graph import Annotation
from aidge_quant.ptq import cross_layer_equalization, prepare_network

NETWORKS = {"chain": chain, "residual": residual, "depthwise": lambda: depthwise(50)}


def node_values(graph, x):
    found = {}
    evaluate(graph, {"input": x}, observe=lambda n, outputs: found.update({n.name: outputs[0]}))
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("times", [1, 2])
def test_value_times_factor_is_the_value_of_the_original(name, times):
    graph = NETWORKS[name]()
    prepare_network(graph)
    before = node_values(graph, samples(graph))
    for target in (0.5, 1e-4)[:times]:
        cross_layer_equalization(graph, target)
    after = node_values(graph, samples(graph))
    rescaled = 0
    for node in graph.nodes:
        if node.type == "Producer":
            continue
        factor = node.annotations.get(Annotation.CHANNEL_FACTORS)
        if factor is not None:
            rescaled += not np.allclose(factor, 1)
            shape = (1, -1, *(1,) * (after[node.name].ndim - 2))
            after[node.name] = after[node.name] * factor.reshape(shape)
        # float32 arithmetic on rescaled operands
        assert np.allclose(after[node.name], before[node.name], rtol=1e-4, atol=1e-5), node.name
    assert rescaled > 1


def test_nodes_outside_of_pairs_carry_no_factors():
    graph = residual()
    cross_layer_equalization(graph)
    noted = {n.name for n in graph.nodes if Annotation.CHANNEL_FACTORS in n.annotations}
    assert noted == {"conv1", "relu1", "conv3", "relu3"}
