"""From normalized networks to integers, shifts and constants."""

import dataclasses

import numpy as np
import pytest
from float_networks import Net, chain, residual, samples
from ptq_steps import annotated, close, normalized

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.executor import run
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import Add, Quantizer
from aidge_quant.ptq import (
    auto_assign_node_precision,
    cast_quantized_network,
    compute_ranges,
    fold_producer_quantizers,
    insert_compensation_nodes,
    insert_scaling_nodes,
    normalize_activations,
    normalize_parameters,
    perform_single_shift_approximation,
    quantize_network,
    quantize_normalized_network,
)


def test_quantized_scales_follow_the_formulas():
    graph = annotated(chain())
    x = samples(graph)
    insert_scaling_nodes(graph)
    normalize_parameters(graph, False)
    ranges = {node.name: r for node, r in compute_ranges(graph, x, True).items()}
    normalize_activations(graph, compute_ranges(graph, x, True))
    quantize_normalized_network(graph)
    m = float(np.abs(graph.node("conv2_w").operator.value).max())
    r_in, r_out = ranges["conv1_Scaling"], ranges["conv2_Scaling"]
    scales = {n.name: n.operator.scale for n in graph.nodes if isinstance(n.operator, Quantizer)}
    assert scales["conv2_w_ProducerScaling"] == pytest.approx(127 / m)
    assert scales["conv2_b_ProducerScaling"] == pytest.approx(127**2 / (m * r_in))
    assert scales["conv2_Scaling"] == pytest.approx(m * r_in / (127 * r_out))
    assert graph.node("conv2_Scaling").operator.clip == (-128, 127)


def test_bias_scale_uses_the_bits_of_weight_and_input():
    graph = chain()
    auto_assign_node_precision(graph, dtype.int8, dtype.int4, dtype.int32)
    x = samples(graph)
    insert_scaling_nodes(graph)
    normalize_parameters(graph, False)
    normalize_activations(graph, compute_ranges(graph, x, True))
    quantize_normalized_network(graph)
    m = float(np.abs(graph.node("conv1_w").operator.value).max())
    assert graph.node("conv1_b_ProducerScaling").operator.scale == pytest.approx(7 * 127 / m)


def test_quantization_wants_normalized_activations():
    graph = annotated(chain())
    insert_scaling_nodes(graph)
    with pytest.raises(GraphError, match="normalize_activations first"):
        quantize_normalized_network(graph)


def test_channel_that_training_has_killed_leaves_the_accumulator_in_int32():
    graph = annotated(chain())
    graph.node("conv1_w").operator.value[0] *= 1e-12
    quantize_network(graph, samples(graph), channel_wise=True, single_shift=True)
    bias = graph.node("conv1_b").operator.value.astype(np.int64)
    assert np.abs(bias).max() < 2**30
    assert graph.node("conv1_Scaling").operator.shift.max() <= 31


def shifted(graph: GraphView, x: np.ndarray) -> GraphView:
    quantize_normalized_network(normalized(graph, x))
    insert_compensation_nodes(graph)
    perform_single_shift_approximation(graph)
    return graph


def test_scales_become_the_next_power_of_two_and_weights_shrink():
    graph, plain = residual(), residual()
    x = samples(graph)
    quantize_normalized_network(normalized(plain, x))
    shifted(graph, x)
    for name in ("conv1", "conv4", "fc"):
        exact = plain.node(f"{name}_Scaling").operator.scale
        power = graph.node(f"{name}_Scaling").operator.scale
        assert power == 2 ** np.ceil(np.log2(exact))
        for role in ("w", "b"):
            producer = f"{name}_{role}_ProducerScaling"
            ratio = graph.node(producer).operator.scale / plain.node(producer).operator.scale
            assert ratio == pytest.approx(exact / power)


def test_compensation_corrects_quantizers_without_weights():
    graph, plain = residual(), residual()
    x = samples(graph)
    quantize_normalized_network(normalized(plain, x))
    shifted(graph, x)
    for name in ("add1_Scaling", "stem_relu_Res"):
        quantizer = graph.node(name)
        factor = quantizer.input(0).node
        assert factor.annotations[Annotation.IS_COMPENSATION]
        coefficient = float(factor.input(1).node.operator.value)
        assert 64 <= coefficient <= 127
        found = coefficient * quantizer.operator.scale
        assert found == pytest.approx(plain.node(name).operator.scale, rel=1 / 127)


def test_compensation_changes_nothing_by_itself():
    graph = residual()
    x = samples(graph)
    quantize_normalized_network(normalized(graph, x), no_quant=True)
    before = run(graph, x)
    insert_compensation_nodes(graph)
    assert close(run(graph, x), before)


def test_single_shift_wants_compensation_nodes():
    graph = residual()
    quantize_normalized_network(normalized(graph, samples(graph)))
    with pytest.raises(GraphError, match="insert_compensation_nodes"):
        perform_single_shift_approximation(graph)


def test_cast_to_shifts_wants_powers_of_two():
    graph = chain()
    quantize_normalized_network(normalized(graph, samples(graph)))
    with pytest.raises(GraphError, match="no power of two"):
        cast_quantized_network(graph, True, False)


def test_cast_with_dequantize_wants_a_dequantizer():
    graph = chain()
    quantize_normalized_network(normalized(graph, samples(graph)))
    with pytest.raises(GraphError, match="perform_dequantization"):
        cast_quantized_network(graph, False, True)


def test_folding_keeps_every_integer():
    graph = chain()
    x = samples(graph)
    cast_quantized_network(shifted(graph, x), True, False)
    integers = np.floor(127 * x + np.float32(0.5))
    before = run(graph, integers)
    fold_producer_quantizers(graph)
    assert np.array_equal(run(graph, integers), before)
    weight = graph.node("conv1_w")
    assert weight.operator.constant
    assert weight.operator.value.dtype == np.int8


def test_folding_a_producer_of_two_quantizers_gives_each_its_own():
    net = Net((4,))
    first = net.fc("fc1", (4, 4))
    second = net.graph.add(first.operator, first.inputs, "fc2")
    net.add(Add(), "add", first, second)
    graph = net.done()
    insert_scaling_nodes(graph)
    quantizer = second.input(1).node
    quantizer.operator = dataclasses.replace(quantizer.operator, scale=2.0)
    x = samples(graph)
    before = run(graph, x)
    fold_producer_quantizers(graph)
    assert np.array_equal(run(graph, x), before)
