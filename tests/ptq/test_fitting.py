"""16-bit activations give up some of their resolution, so that single shifts spare the weights."""

import numpy as np
import pytest
from float_networks import NETWORKS, Net, chain, concat, residual, samples

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation
from aidge_quant.ops import FC, Flatten
from aidge_quant.ptq.flow import activation_quantizers


def quantized(graph, x, activation=dtype.int16, weight=dtype.int8, **options):
    aq.auto_assign_node_precision(graph, activation, weight, dtype.int32)
    aq.quantize_network(graph, x, single_shift=True, **options)
    return graph


def weights(graph):
    return {n.name: n.operator.value.astype(int) for n in graph.nodes if n.name.endswith("_w")}


def test_weights_of_a_chain_keep_their_whole_range():
    graph = chain()
    for values in weights(quantized(graph, samples(graph))).values():
        assert np.abs(values).max() == 127


def test_weights_shrink_behind_eight_bit_activations_as_published():
    graph = chain()
    found = weights(quantized(graph, samples(graph), dtype.int8))
    assert min(np.abs(values).max() for values in found.values()) < 120


@pytest.mark.parametrize("make", [residual, concat])
def test_joined_tensors_keep_one_unit_that_suits_their_layers(make):
    graph = make()
    quantized(graph, samples(graph))
    shares = [np.abs(values).max() / 127 for values in weights(graph).values()]
    assert min(shares) > 0.5
    assert sum(share > 0.99 for share in shares) >= len(shares) - 1  # two layers may share a unit


@pytest.mark.parametrize("channel_wise", [False, True])
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"functions", "product"}))
def test_one_bit_of_resolution_is_the_most_that_is_given_up(name, channel_wise):
    graph, plain = NETWORKS[name](), NETWORKS[name]()
    x = samples(graph)
    quantized(graph, x, channel_wise=channel_wise)
    aq.auto_assign_node_precision(plain, dtype.int16, dtype.int8, dtype.int32)
    aq.quantize_network(plain, x, channel_wise=channel_wise)  # with multipliers
    for node in activation_quantizers(graph):
        unit, before = (g.node(node.name).annotations[Annotation.SCALE] for g in (graph, plain))
        assert before * 0.999 < unit <= before * 2.001


@pytest.mark.parametrize("channel_wise", [False, True])
def test_single_shifts_come_close_to_multipliers(channel_wise):
    x, test = samples(residual(), 64), samples(residual(), 256, seed=1)
    expected = aq.run(residual(), test)
    levels = []
    for single_shift in (False, True):
        graph = residual()
        aq.auto_assign_node_precision(graph, dtype.int16, dtype.int8, dtype.int32)
        options = {"channel_wise": channel_wise, "single_shift": single_shift}
        aq.quantize_network(graph, x, **options)
        network = aq.lower(graph)
        real = network.dequantize_output(network.run(network.quantize_input(test)))
        levels.append(-10 * np.log10(np.square(real - expected).sum()))
    assert levels[1] > levels[0] - 3


def test_layers_whose_sums_need_room_are_fitted_too():
    net = Net((4, 16, 16), 10)
    net.add(Flatten(), "flat")
    net.fc("fc", (1024, 3))
    graph = net.done()
    graph.node("fc_w").operator.value[:] = 1.0  # as large a sum as there can be
    quantized(graph, samples(graph), weight=dtype.int16)
    assert isinstance(graph.node("fc").operator, FC)
    operator = graph.node("fc_Scaling").operator
    weight = graph.node("fc_w").operator.value.astype(np.int64)
    reach = (np.abs(weight).sum(axis=1) * 2**15).max()
    assert 0.9 * 2**30 < reach <= 2**30  # of which the bias needs some
    assert operator.clip == (-(2**15), 2**15 - 1)
    assert aq.lower(graph).layers
