"""Scaling nodes, and parameters and activations in [-1, 1]."""

import numpy as np
import pytest
from float_networks import NETWORKS, chain, concat, depthwise, functions, residual, samples
from ptq_steps import annotated, close, normalized

from aidge_quant.errors import DataError, GraphError
from aidge_quant.executor import run
from aidge_quant.graph import Annotation
from aidge_quant.ops import Quantizer
from aidge_quant.ptq import (
    compute_ranges,
    insert_scaling_nodes,
    normalize_activations,
    normalize_parameters,
    prepare_network,
)


def test_scaling_nodes_stand_where_the_reference_has_them():
    graph = residual()
    insert_scaling_nodes(graph)
    names = [n.name for n in graph.topological() if isinstance(n.operator, Quantizer)]
    activations = [n for n in names if not n.endswith("_ProducerScaling")]
    assert sorted(activations) == sorted(
        [f"conv{i}_Scaling" for i in (1, 2, 3, 4)]
        + ["stem_Scaling", "shortcut_Scaling", "add1_Scaling", "add2_Scaling", "fc_Scaling"]
        + ["stem_relu_Res"]
    )
    assert {"conv1_w_ProducerScaling", "conv1_b_ProducerScaling"} <= set(names)


def test_concat_gets_a_residual_node_and_no_scaling_node():
    graph = concat()
    insert_scaling_nodes(graph)
    assert "relu_Res" in {node.name for node in graph.nodes}
    assert "concat_Scaling" not in {node.name for node in graph.nodes}


def test_functions_in_a_row_share_one_dequantizer_and_one_quantizer():
    graph = functions()
    insert_scaling_nodes(graph)
    names = {node.name for node in graph.nodes}
    assert {"sigmoid_Dequantizer", "tanh_Scaling"} <= names
    assert not {"tanh_Dequantizer", "sigmoid_Scaling"} & names


def test_scaling_nodes_are_inserted_once():
    graph = chain()
    insert_scaling_nodes(graph)
    with pytest.raises(GraphError, match="scaling nodes already"):
        insert_scaling_nodes(graph)


@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_normalized_parameters_fit_and_keep_the_output(name, channel_wise):
    graph = NETWORKS[name]()
    prepare_network(graph)
    x = samples(graph)
    before = run(graph, x)
    insert_scaling_nodes(graph, channel_wise)
    normalize_parameters(graph, channel_wise)
    assert close(run(graph, x), before)


def test_channel_wise_maxima_of_depthwise_weights_are_those_of_their_channels():
    graph = depthwise(imbalance=100)
    insert_scaling_nodes(graph, True)
    normalize_parameters(graph, True)
    weight = graph.node("depth_w").operator.value
    expected = 1 / np.abs(weight).reshape(6, -1).max(axis=1)
    assert np.allclose(graph.node("depth_w_ProducerScaling").operator.scale, expected)


@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_normalized_activations_fit_and_keep_the_output(name, channel_wise):
    graph = NETWORKS[name]()
    x = samples(graph)
    reference = graph.clone()
    prepare_network(reference)
    normalized(graph, x, channel_wise)
    unit = graph.outputs[0].port.node
    while Annotation.SCALE not in unit.annotations:
        unit = unit.input(0).node
    assert close(run(graph, x) * unit.annotations[Annotation.SCALE], run(reference, x))
    ranges = compute_ranges(graph, x, True)
    clipped = {n for n in ranges if any(c.type == "Clip" for c in graph.consumers(n))}
    assert max(r for n, r in ranges.items() if n not in clipped) <= 1 + 1e-5


def test_both_inputs_of_an_add_get_the_larger_range():
    graph = residual()
    x = samples(graph)
    insert_scaling_nodes(annotated(graph))
    normalize_parameters(graph, False)
    ranges = {node.name: r for node, r in compute_ranges(graph, x, True).items()}
    normalize_activations(graph, compute_ranges(graph, x, True))
    larger = max(ranges["conv2_Scaling"], ranges["stem_relu_Res"])
    for name in ("conv2_Scaling", "stem_relu_Res"):
        assert graph.node(name).annotations[Annotation.SCALE] == larger
    assert graph.node("add1_Scaling").operator.scale == pytest.approx(
        larger / ranges["add1_Scaling"]
    )
    assert graph.node("stem_relu_Res").operator.scale == pytest.approx(
        ranges["stem_Scaling"] / larger
    )


def test_activations_want_a_sane_range_for_every_scaling_node():
    graph = chain()
    insert_scaling_nodes(graph)
    ranges = dict.fromkeys(compute_ranges(graph, samples(graph), True), 1.0)
    with pytest.raises(DataError, match="finite"):
        normalize_activations(graph, dict.fromkeys(ranges, np.nan))
    ranges.popitem()
    with pytest.raises(GraphError, match="expected a range"):
        normalize_activations(graph, ranges)
