import dataclasses
import logging

import numpy as np
import pytest
from float_networks import NETWORKS, Net, chain, concat, depthwise, functions, residual, samples

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, GraphError
from aidge_quant.executor import run
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import Add, MatMul, Quantizer, ReLU, Softmax
from aidge_quant.ptq import (
    Clipping,
    adjust_ranges,
    auto_assign_node_precision,
    cast_quantized_network,
    check_architecture,
    compute_ranges,
    cross_layer_equalization,
    fold_producer_quantizers,
    insert_compensation_nodes,
    insert_scaling_nodes,
    normalize_activations,
    normalize_parameters,
    perform_single_shift_approximation,
    prepare_network,
    quantizability_report,
    quantize_network,
    quantize_normalized_network,
)
from aidge_quant.ptq.clipping import BINS, _divergence, _power_loss, best_clipping
from aidge_quant.ptq.equalization import equalization_pairs


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max())


def annotated(graph: GraphView) -> GraphView:
    auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    return graph


def normalized(graph: GraphView, x: np.ndarray, channel_wise: bool = False) -> GraphView:
    prepare_network(annotated(graph))
    insert_scaling_nodes(graph, channel_wise)
    normalize_parameters(graph, channel_wise)
    normalize_activations(graph, compute_ranges(graph, x, True))
    return graph


# -- precision -----------------------------------------------------------------------------------


def test_precision_depends_on_the_role():
    graph = residual()
    auto_assign_node_precision(graph, dtype.int16, dtype.int4, dtype.int32)
    notes = {node.name: node.annotations for node in graph.nodes}
    assert notes["conv1_w"][Annotation.PRECISION] is dtype.int4
    assert notes["conv1_b"][Annotation.PRECISION] is dtype.int32
    for name in ("conv1", "add1"):
        assert notes[name][Annotation.PRECISION] is dtype.int16
        assert notes[name][Annotation.ACCUMULATION_PRECISION] is dtype.int32
    assert notes["add1"][Annotation.IS_MERGING]
    assert notes["gap"] == {Annotation.PRECISION: dtype.int16}


def test_precision_that_was_set_by_hand_stays():
    graph = chain()
    graph.node("conv1_w").annotations[Annotation.PRECISION] = dtype.int4
    annotated(graph)
    assert graph.node("conv1_w").annotations[Annotation.PRECISION] is dtype.int4


def test_precision_must_be_a_dtype():
    with pytest.raises(DtypeError, match="'int8'"):
        auto_assign_node_precision(chain(), "int8", dtype.int8, dtype.int32)


# -- architecture --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_supported_architecture_is_accepted_and_not_changed(name):
    graph = NETWORKS[name]()
    before = str(graph)
    assert check_architecture(graph)
    assert str(graph) == before


def test_report_prints_and_returns_a_row_for_each_node(capsys):
    net = Net((4, 4))
    net.fc("fc", (4, 4))
    net.add(MatMul(), "attention", net.last, net.last)
    net.add(Softmax(-1), "softmax")
    graph = net.done()
    rows = {row.node: row for row in quantizability_report(graph)}
    text = capsys.readouterr().out
    assert rows["fc"].status == "supported"
    assert rows["attention"].status == "not supported"
    assert rows["attention"].remedy
    assert rows["softmax"].status == "stays in float"
    assert all(name in text for name in rows)
    assert not check_architecture(graph)


# -- equalization --------------------------------------------------------------------------------


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


# -- scaling and normalization -------------------------------------------------------------------


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


# -- ranges and clipping -------------------------------------------------------------------------


def test_ranges_are_taken_before_the_relu():
    net = Net((2,))
    net.fc("fc", (2, 1))
    net.add(ReLU(), "relu")
    graph = net.done()
    graph.node("fc_w").operator.value[:] = [[-1, 0]]
    graph.node("fc_b").operator.value[:] = 0
    insert_scaling_nodes(graph)
    ranges = compute_ranges(graph, np.float32([[0.5, 0], [0.75, 1]]), True)
    assert {node.name: r for node, r in ranges.items()} == {"fc_Scaling": 0.75}


def test_ranges_of_all_nodes_leave_out_producers_only():
    graph = chain()
    insert_scaling_nodes(graph)
    ranges = compute_ranges(graph, samples(graph), False)
    expected = [n for n in graph.topological() if n.type != "Producer"]
    expected = [n for n in expected if not n.name.endswith("_ProducerScaling")]
    assert list(ranges) == expected


def test_range_is_capped_by_the_clip_behind_it():
    graph = NETWORKS["relu6"]()
    insert_scaling_nodes(graph)
    x = 50 * samples(graph)
    ranges = {node.name: r for node, r in compute_ranges(graph, x, True).items()}
    assert ranges["conv0_Scaling"] == 6
    assert ranges["start_Scaling"] > 6


def test_clip_bounds_become_integers():
    graph = annotated(NETWORKS["relu6"]())
    quantize_network(graph, 50 * samples(graph))
    assert graph.node("clip0").operator.lower == 0
    assert graph.node("clip0").operator.upper == 127


@pytest.mark.parametrize("mode", [m for m in Clipping if m is not Clipping.MAX])
def test_clipping_of_heavy_tails_lies_inside_the_range(mode, caplog):
    graph = annotated(chain())
    insert_scaling_nodes(graph)
    x = samples(graph, 32) ** 9
    ranges = compute_ranges(graph, x, True)
    with caplog.at_level(logging.INFO, "aidge_quant"):
        found = adjust_ranges(mode, ranges, graph, x, True)
    assert list(found) == list(ranges)
    assert all(found[node] > 0 for node in found)
    assert "clipped at" in caplog.text


def test_max_returns_the_ranges_as_they_are():
    graph = chain()
    insert_scaling_nodes(graph)
    ranges = compute_ranges(graph, samples(graph), True)
    assert adjust_ranges(Clipping.MAX, ranges, graph, samples(graph)) == ranges


def test_sigma_is_a_multiple_of_the_root_mean_square():
    graph = annotated(chain())
    insert_scaling_nodes(graph)
    x = samples(graph)
    ranges = compute_ranges(graph, x, True)
    found = adjust_ranges(Clipping.SIGMA3, ranges, graph, x)
    node = graph.node("fc_Scaling")
    rms = float(np.sqrt(np.mean(run(graph, x).astype(np.float64) ** 2)))
    assert found[node] == pytest.approx(3 * rms, rel=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_clipping_finds_the_least_error_by_plain_search(power):
    histogram = np.random.default_rng(5).integers(0, 50, BINS) // (1 + np.arange(BINS) // 40)
    x = (np.arange(BINS) + 0.5) / BINS
    errors = []
    for step in range(1, 100):
        c = step / 100
        quantized = np.floor(np.minimum(x, c) * 127 / c + 0.5) * c / 127
        errors.append(np.sum(histogram * np.abs(x - quantized) ** power))
    assert best_clipping(histogram, 127, _power_loss(power)) == (np.argmin(errors) + 1) / 100


def test_divergence_is_zero_when_every_bin_has_a_level_of_its_own():
    histogram = np.zeros(BINS, np.int64)
    histogram[[100, 1000, 4000]] = 7, 5, 3
    assert _divergence(histogram, 1.0, 127) == pytest.approx(0)
    assert _divergence(histogram, 0.5, 127) > 0


def test_clipping_mode_must_be_of_the_enumeration():
    with pytest.raises(DataError, match="clipping_mode"):
        adjust_ranges("MAX", {}, chain(), samples(chain()))


# -- quantization --------------------------------------------------------------------------------


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


# -- single shift, cast, fold --------------------------------------------------------------------


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


def test_divergence_ignores_the_exact_zeros_behind_a_relu():
    histogram = np.maximum(1000 - np.arange(BINS) // 4, 1)
    spiked = histogram.copy()
    spiked[0] = 10 * histogram.sum()
    for c in (0.25, 0.5, 0.99):
        assert _divergence(spiked, c, 127) == _divergence(histogram, c, 127)
